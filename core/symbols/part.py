"""Parts of one attention problem: a rectangle of queries and keys, or a list of pairs."""

from __future__ import annotations

from typing import NamedTuple, Self

import torch
from torch import Tensor


class Part(NamedTuple):
    """The pairs (b, h, i, j) with b in `items`, i in `rows` and j in `cols`, of a problem of size (B, H, Lq, Lk).

    Masks and biases are evaluated part by part, so that a backend never needs more of them than the tile at hand.
    `rows` and `cols` may go in steps, both in the same.
    """

    B: int
    H: int
    Lq: int
    Lk: int
    device: torch.device
    items: slice
    rows: slice
    cols: slice

    @classmethod
    def whole(cls, B: int, H: int, Lq: int, Lk: int, device: torch.device) -> Self:
        """Answer the part that is everything."""
        return cls(B, H, Lq, Lk, device, slice(0, B), slice(0, Lq), slice(0, Lk))

    @property
    def n_rows(self) -> int:
        """Number of queries in the part."""
        return len(range(self.rows.start, self.rows.stop, self.step))

    @property
    def n_cols(self) -> int:
        """Number of keys in the part."""
        return len(range(self.cols.start, self.cols.stop, self.step))

    @property
    def step(self) -> int:
        """Positions from one query to the next, and from one key to the next."""
        return int(self.rows.step or 1)

    def row_positions(self) -> Tensor:
        """Answer where the queries stand among the keys, i + Lk - Lq: the last query is aligned with the last key.

        Shapes:
            Answer: (rows,) int64.
        """
        shift = self.Lk - self.Lq
        return torch.arange(self.rows.start + shift, self.rows.stop + shift, self.step, device=self.device)

    def col_positions(self) -> Tensor:
        """Answer where the keys stand, j.

        Shapes:
            Answer: (cols,) int64.
        """
        return torch.arange(self.cols.start, self.cols.stop, self.step, device=self.device)

    def offsets(self) -> Tensor:
        """Answer j - (i + Lk - Lq), the offset of each key from each query.

        Shapes:
            Answer: (rows, cols) int64.
        """
        return self.col_positions() - self.row_positions()[:, None]

    def offset_range(self) -> tuple[int, int]:
        """Answer the least and the greatest offset of the part, which must not be empty."""
        shift = self.Lk - self.Lq
        least = self.cols.start - (self.rows.start + (self.n_rows - 1) * self.step + shift)
        return least, least + (self.n_rows + self.n_cols - 2) * self.step

    def crop(self, tensor: Tensor) -> Tensor:
        """Cut a 4-D tensor that broadcasts to (B, H, Lq, Lk) down to this part; axes of size 1 stay.

        Shapes:
            tensor: (B or 1, H or 1, Lq or 1, Lk or 1).
        """
        all_of_it = slice(None)
        cuts = (self.items, all_of_it, self.rows, self.cols)
        return tensor[tuple(c if size > 1 else all_of_it for c, size in zip(cuts, tensor.shape, strict=True))]

    def of_items(self, tensor: Tensor) -> Tensor:
        """Cut the first axis, of size B or 1, down to the items of this part."""
        return tensor[self.items] if tensor.shape[0] == self.B else tensor


class Pairs(NamedTuple):
    """Listed pairs (b, i, j), for all heads, of a problem of size (B, H, Lq, Lk).

    Shapes:
        item, query, key: int64, of one number of axes, broadcastable against each other to the shape S of the list.
    """

    B: int
    H: int
    Lq: int
    Lk: int
    item: Tensor
    query: Tensor
    key: Tensor

    @classmethod
    def at(cls, B: int, H: int, Lq: int, Lk: int, item: Tensor, query: Tensor, key: Tensor) -> Self:
        """List pairs by index tensors that broadcast against each other."""
        axes = max(item.ndim, query.ndim, key.ndim)
        return cls(B, H, Lq, Lk, *(x.reshape(*[1] * (axes - x.ndim), *x.shape) for x in (item, query, key)))

    @classmethod
    def of_numbers(cls, numbers: Tensor, B: int, H: int, Lq: int, Lk: int) -> Self:
        """List the pairs whose numbers, (b * Lq + i) * Lk + j, are given."""
        row = numbers // Lk
        item = row // Lq
        return cls(B, H, Lq, Lk, item, row - item * Lq, numbers - row * Lk)

    def offsets(self) -> Tensor:
        """Answer j - (i + Lk - Lq), the offset of each key from its query, broadcastable to S."""
        return self.key - self.query - (self.Lk - self.Lq)

    def pick(self, tensor: Tensor) -> Tensor:
        """Pick out of a 4-D tensor that broadcasts to (B, H, Lq, Lk).

        Shapes:
            tensor: (B or 1, H or 1, Lq or 1, Lk or 1).
            Answer: (H or 1, *S).
        """
        b, _, i, j = tensor.shape
        item, query, key = self.item * (b > 1), self.query * (i > 1), self.key * (j > 1)
        return tensor.movedim(1, 0)[:, item, query, key]

    def of_items(self, tensor: Tensor, place: Tensor) -> Tensor:
        """Pick tensor[item, place], where the first axis has size B or 1; the answer broadcasts to S."""
        return tensor[self.item * (tensor.shape[0] > 1), place]

    def codes(self, edge_index: Tensor, batch: Tensor | None) -> tuple[Tensor, Tensor]:
        """Number the pairs of an edge list and those listed here alike: equal numbers are equal pairs.

        Without `batch` the item does not count.

        Shapes:
            edge_index: (2, E), keys and queries.
            batch: (E,).
            Answer: (E,), and one broadcastable to S.
        """
        edges, own = edge_index[1].long(), self.query
        if batch is not None:
            edges, own = batch * self.Lq + edges, self.item * self.Lq + own
        return edges * self.Lk + edge_index[0], own * self.Lk + self.key
