"""The mask of a graph's edges."""

from __future__ import annotations

import torch
from torch import Tensor

from ..symbols import (
    Pairs,
    Part,
    check_edge_range,
    check_edges,
    check_range,
    edge_places,
    expect_tensor,
    look_up,
    node,
)
from .listing import Listing
from .pairs import PairMask, at_numbers


@node
class Edges(PairMask):
    """allowed(b, h, i, j) = there is an edge from key j to query i: a message flows from row 0 to row 1.

    Args:
        edge_index: Row 0 the key (PyG's source), row 1 the query (PyG's target). An edge listed twice allows its pair
            as one listed once does.
        batch: The item that each edge belongs to; None puts every edge in every item.
        head: The query head that each edge belongs to; None gives every edge to every head.

    Shapes:
        edge_index: (2, E) integer.
        batch: (E,) integer.
        head: (E,) integer.
        pair_weights: (B, H, E), or (H, E) where `batch` is given; 0 where the edge belongs to another head.

    Raises:
        TypeError: A field is not an integer tensor.
        ValueError: A shape or an index does not fit.
    """

    edge_index: Tensor
    batch: Tensor | None = None
    head: Tensor | None = None

    def __post_init__(self) -> None:
        expect_tensor("Edges.edge_index", self.edge_index, integer=True)
        check_edges("Edges", self.edge_index, batch=self.batch, head=self.head)

    def check_sizes(self, B: int, H: int, Lq: int, Lk: int) -> None:
        check_edge_range("Edges", self.edge_index, self.batch, B, Lq, Lk)
        if self.head is not None:
            check_range("Edges.head", self.head, 0, H, "heads")

    def spread(self, part: Part) -> tuple[int, int]:
        items = 1 if self.batch is None else part.items.stop - part.items.start
        return items, 1 if self.head is None else part.H

    def block(self, part: Part) -> Tensor:
        place, inside, shape = edge_places(self.edge_index, self.batch, part)
        head = torch.zeros_like(place[0]) if self.head is None else self.head
        block = torch.zeros(
            shape[0], 1 if self.head is None else part.H, *shape[1:], dtype=torch.bool, device=part.device
        )
        item, query, key = place
        return block.index_put((item, head, query, key), inside)[:, :, :-1, :-1]

    def at(self, pairs: Pairs) -> Tensor:
        edges, own = pairs.codes(self.edge_index, self.batch)
        if self.head is not None:
            heads = torch.arange(pairs.H, device=own.device).reshape(-1, *[1] * own.ndim)
            edges, own = edges * pairs.H + self.head, own * pairs.H + heads
        else:
            own = own[None]
        _, hit = look_up(torch.unique(edges), own)
        return hit

    def listing(self, B: int, Lq: int, Lk: int) -> Listing:
        """List the edges; which of them a head may see is a condition."""
        count = self.edge_index.shape[1] * (1 if self.per_item else B)
        return Listing((self,), () if self.head is None else (self,), count)

    @property
    def per_item(self) -> bool:
        """Whether the items of the batch have lists of their own; else one list holds for all of them."""
        return self.batch is not None

    def pair_numbers(self, B: int, Lq: int, Lk: int) -> Tensor:
        """Answer the number of each edge, (B, E), or (E,) where `batch` is given."""
        key, query = self.edge_index.long()
        item = torch.arange(B, device=key.device)[:, None] if self.batch is None else self.batch.long()
        numbers: Tensor = (item * Lq + query) * Lk + key
        return numbers

    def gather_listed(self, values: Tensor, numbers: Tensor, B: int, Lq: int, Lk: int) -> Tensor:
        """Pick the edges out of (H, P); the answer is (B, H, E), or (H, E) where `batch` is given."""
        picked = at_numbers(values, numbers, self.pair_numbers(B, Lq, Lk))
        return self._of_own_head(picked if self.batch is not None else picked.transpose(0, 1))

    def gather_pairs(self, dense: Tensor) -> Tensor:
        """Pick the edges out of (B, H, Lq, Lk); the answer is (B, H, E), or (H, E) where `batch` is given."""
        key, query = self.edge_index
        return self._of_own_head(dense[:, :, query, key] if self.batch is None else dense[self.batch, :, query, key].T)

    def _of_own_head(self, picked: Tensor) -> Tensor:
        """Put 0 where an edge belongs to another head, in (..., H, E)."""
        if self.head is None:
            return picked
        own = self.head == torch.arange(picked.shape[-2], device=picked.device)[:, None]
        return torch.where(own, picked, 0.0)
