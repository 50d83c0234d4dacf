"""A rectangular part of one attention problem: some items, all heads, some queries, some keys."""

from __future__ import annotations

from typing import NamedTuple, Self

import torch
from torch import Tensor


class Part(NamedTuple):
    """The pairs (b, h, i, j) with b in `items`, i in `rows` and j in `cols`, of a problem of size (B, H, Lq, Lk).

    Masks and biases are evaluated part by part, so that a backend never needs more of them than the tile at hand.
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
        return int(self.rows.stop - self.rows.start)

    @property
    def n_cols(self) -> int:
        """Number of keys in the part."""
        return int(self.cols.stop - self.cols.start)

    def row_positions(self) -> Tensor:
        """Answer where the queries stand among the keys, i + Lk - Lq: the last query is aligned with the last key.

        Shapes:
            Answer: (rows,) int64.
        """
        shift = self.Lk - self.Lq
        return torch.arange(self.rows.start + shift, self.rows.stop + shift, device=self.device)

    def col_positions(self) -> Tensor:
        """Answer where the keys stand, j.

        Shapes:
            Answer: (cols,) int64.
        """
        return torch.arange(self.cols.start, self.cols.stop, device=self.device)

    def offsets(self) -> Tensor:
        """Answer j - (i + Lk - Lq), the offset of each key from each query.

        Shapes:
            Answer: (rows, cols) int64.
        """
        return self.col_positions() - self.row_positions()[:, None]

    def offset_range(self) -> tuple[int, int]:
        """Answer the least and the greatest offset of the part, which must not be empty."""
        shift = self.Lk - self.Lq
        least = self.cols.start - (self.rows.stop - 1 + shift)
        return least, least + self.n_rows + self.n_cols - 2

    def crop(self, tensor: Tensor) -> Tensor:
        """Cut a 4-D tensor that broadcasts to (B, H, Lq, Lk) down to this part; axes of size 1 stay.

        Shapes:
            tensor: (B or 1, H or 1, Lq or 1, Lk or 1).
        """
        for axis, cut in ((0, self.items), (2, self.rows), (3, self.cols)):
            if tensor.shape[axis] > 1:
                tensor = tensor.narrow(axis, cut.start, cut.stop - cut.start)
        return tensor

    def of_items(self, tensor: Tensor) -> Tensor:
        """Cut the first axis, of size B or 1, down to the items of this part."""
        return tensor[self.items] if tensor.shape[0] == self.B else tensor
