"""Several sequences packed into one row."""

from __future__ import annotations

import torch
from torch import Tensor

from ..symbols import Mod, Pairs, Part, Sizes, expect_shape, expect_tensor, node, read, values_are_visible
from .base import Extent, Mask


@node
class Segments(Mask):
    """allowed(b, i, j) = ids[b, i] == ids[b, j]: packed sequences do not see each other.

    Args:
        ids: Which sequence each key belongs to. With fewer queries than keys the queries are the last ones.

    Shapes:
        ids: (B, Lk) integer.

    Raises:
        TypeError: ids is not an integer tensor.
        ValueError: The shape does not fit, or there are more queries than keys.
    """

    ids: Tensor

    def __post_init__(self) -> None:
        expect_tensor("Segments.ids", self.ids, integer=True)

    def check_sizes(self, B: int, H: int, Lq: int, Lk: int) -> None:
        expect_shape("Segments.ids", self.ids, tuple(self.ids.shape) == (B, Lk), f"(B, Lk) = ({B}, {Lk})")
        if Lq > Lk:
            raise ValueError(f"Segments: expected Lq <= Lk, as queries are the last keys, got Lq={Lq}, Lk={Lk}")

    def block(self, part: Part) -> Tensor:
        queries = self.ids[part.items, part.Lk - part.Lq :][:, part.rows]
        return (queries[:, :, None] == self.ids[part.items, None, part.cols])[:, None]

    def extent(self, part: Part) -> Extent:
        """Compare the ranges of ids: disjoint ones share no segment, one id on both sides is one segment."""
        if not values_are_visible(self.ids):
            return Extent.SOME
        queries = self.ids[part.items, part.Lk - part.Lq :][:, part.rows]
        keys = self.ids[part.items, part.cols]
        if not queries.numel() or not keys.numel():
            return Extent.NOTHING
        (low, high), (least, most) = (torch.aminmax(x, dim=1) for x in (queries, keys))
        apart = (high < least) | (most < low)
        same = (low == high) & (low == least) & (low == most)
        return Extent.of(bool(apart.all()), bool(same.all()))

    def at(self, pairs: Pairs) -> Tensor:
        queries = self.ids[pairs.item, pairs.query + (pairs.Lk - pairs.Lq)]
        return (queries == self.ids[pairs.item, pairs.key])[None]

    def elementwise(self, sizes: Sizes) -> Mod:
        own, other = read(self.ids[:, sizes.Lk - sizes.Lq :], "bi", sizes), read(self.ids, "bj", sizes)
        return lambda b, h, i, j: own(b, h, i, j) == other(b, h, i, j)
