"""Masks by position in the sequence: causal, window, dilated, global."""

from __future__ import annotations

import math
from operator import or_

import torch
from torch import Tensor

from ..symbols import Mod, Pairs, Part, Sizes, check_range, combine, expect_shape, expect_tensor, node, read
from .base import Extent, Mask
from .bounds import Bounds
from .listing import Listing, chosen


@node
class Causal(Mask):
    """allowed(i, j) = j <= i: by index, so events that share a time still see only those listed before them."""

    by_offset = True
    is_causal = True

    def block(self, part: Part) -> Tensor:
        return (part.offsets() <= 0)[None, None]

    def at(self, pairs: Pairs) -> Tensor:
        return (pairs.offsets() <= 0)[None]

    def extent(self, part: Part) -> Extent:
        least, most = part.offset_range()
        return Extent.of(least > 0, most <= 0)

    def bounds(self) -> Bounds:
        return Bounds(high=0)

    def outside(self) -> Bounds:
        return Bounds(low=1)

    def share(self, Lk: int, block: int) -> float:
        return min(1.0, 0.5 + 0.5 * block / max(Lk, 1))

    def elementwise(self, sizes: Sizes) -> Mod:
        shift = sizes.Lk - sizes.Lq
        return lambda b, h, i, j: j <= i + shift


class Band(Mask):
    """A mask of all offsets j - i of a range, which lists its pairs: -left to right, in steps."""

    left: int
    right: int

    by_offset = True
    per_item = False

    @property
    def step(self) -> int:
        """Positions from one offset to the next."""
        return 1

    def bounds(self) -> Bounds:
        return Bounds(-self.left * self.step, self.right * self.step, self.step)

    def listing(self, B: int, Lq: int, Lk: int) -> Listing:
        return Listing((self,), (), B * Lq * len(self._steps(Lq, Lk)))

    def listed(self, Lq: int, Lk: int, device: torch.device) -> Tensor:
        """Answer the numbers of the pairs, the same for every item."""
        queries, steps = torch.arange(Lq, device=device), self._steps(Lq, Lk)
        keys = queries[:, None] + (torch.arange(steps.start, steps.stop, steps.step, device=device) + (Lk - Lq))
        return chosen(queries[:, None] * Lk + keys, (keys >= 0) & (keys < Lk))

    def _steps(self, Lq: int, Lk: int) -> range:
        """Answer the offsets j - (i + Lk - Lq) that are allowed and that occur."""
        step = self.step
        left, right = min(self.left, max(0, Lk - 1) // step), min(self.right, max(0, Lq - 1) // step)
        return range(-left * step, right * step + 1, step)


@node
class Window(Band):
    """allowed(i, j) = -left <= j - i <= right, both ends included.

    Args:
        left: How many positions before the query are visible.
        right: How many positions after the query are visible.

    Raises:
        ValueError: left or right is negative.
    """

    left: int
    right: int

    def __post_init__(self) -> None:
        _check_counts("Window", left=self.left, right=self.right)

    def block(self, part: Part) -> Tensor:
        return self._sees(part.offsets())[None, None]

    def at(self, pairs: Pairs) -> Tensor:
        return self._sees(pairs.offsets())[None]

    def _sees(self, offset: Tensor) -> Tensor:
        return (offset >= -self.left) & (offset <= self.right)

    def extent(self, part: Part) -> Extent:
        least, most = part.offset_range()
        return Extent.of(least > self.right or most < -self.left, least >= -self.left and most <= self.right)

    def share(self, Lk: int, block: int) -> float:
        return min(1.0, (self.left + self.right + 2 * block) / max(Lk, 1))

    def elementwise(self, sizes: Sizes) -> Mod:
        low, high = sizes.Lk - sizes.Lq - self.left, sizes.Lk - sizes.Lq + self.right
        return lambda b, h, i, j: (j >= i + low) & (j <= i + high)


@node
class Dilated(Band):
    """allowed(i, j) = j - i is s * dilation with -left <= s <= right.

    Args:
        left: How many steps before the query are visible; a step is `dilation` positions.
        right: How many steps after the query are visible.
        dilation: Positions in a step; 1 makes this a Window.

    Raises:
        ValueError: left or right is negative, or dilation is below 1.
    """

    left: int
    right: int
    dilation: int

    def __post_init__(self) -> None:
        _check_counts("Dilated", left=self.left, right=self.right)
        if self.dilation < 1:
            raise ValueError(f"Dilated.dilation: expected at least 1, got {self.dilation}")

    @property
    def step(self) -> int:
        return self.dilation

    def block(self, part: Part) -> Tensor:
        return self._sees(part.offsets())[None, None]

    def at(self, pairs: Pairs) -> Tensor:
        return self._sees(pairs.offsets())[None]

    def _sees(self, offset: Tensor) -> Tensor:
        inside = (offset >= -self.left * self.dilation) & (offset <= self.right * self.dilation)
        return inside & (offset % self.dilation == 0)

    def extent(self, part: Part) -> Extent:
        least, most = part.offset_range()
        low, high = -self.left * self.dilation, self.right * self.dilation
        in_step = part.step % self.dilation == 0
        nothing = least > high or most < low or (in_step and least % self.dilation != 0)
        return Extent.of(nothing, in_step and least >= low and most <= high)

    def elementwise(self, sizes: Sizes) -> Mod:
        step, last = self.dilation, (self.left + self.right) * self.dilation
        first = sizes.Lk - sizes.Lq - self.left * step

        def mod(b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
            place = j - i - first  # from the first visible key on
            return (place >= 0) & (place <= last) & (place % step == 0)

        return mod


@node
class Global(Mask):
    """allowed(i, j) = i or j is a global position: those see all and are seen by all.

    Args:
        index: The global positions, counted over the keys; -1 is an unused place in a ragged batch.

    Shapes:
        index: (n,) or (B, n) integer.

    Raises:
        TypeError: index is not an integer tensor.
        ValueError: A shape or a position does not fit.
    """

    index: Tensor

    def __post_init__(self) -> None:
        expect_tensor("Global.index", self.index, integer=True)
        expect_shape("Global.index", self.index, self.index.ndim in (1, 2), "(n,) or (B, n)")

    def check_sizes(self, B: int, H: int, Lq: int, Lk: int) -> None:
        expect_shape("Global.index", self.index, self.index.ndim == 1 or self.index.shape[0] == B, f"(n,) or ({B}, n)")
        check_range("Global.index", self.index, -1, Lk, "positions (or -1, unused)")

    def block(self, part: Part) -> Tensor:
        places = self.chosen(part.Lk)
        places = part.of_items(places) if self.index.ndim == 2 else places
        position = part.row_positions()
        queries = places[:, position.clamp_min(0)] & (position >= 0)
        return (queries[:, :, None] | places[:, None, part.cols])[:, None]

    def at(self, pairs: Pairs) -> Tensor:
        places, position = self.chosen(pairs.Lk), pairs.query + (pairs.Lk - pairs.Lq)
        queries = pairs.of_items(places, position.clamp_min(0)) & (position >= 0)
        return (queries | pairs.of_items(places, pairs.key))[None]

    def bounds(self) -> Bounds:
        return Bounds(math.inf, -math.inf, 0, (self.index,))

    @property
    def per_item(self) -> bool:
        """Whether the items of the batch have global positions of their own."""
        return self.index.ndim == 2

    def listing(self, B: int, Lq: int, Lk: int) -> Listing:
        return Listing((self,), (), B * self.index.shape[-1] * (Lq + Lk))

    def listed(self, Lq: int, Lk: int, device: torch.device) -> Tensor:
        """Answer the numbers of the pairs: who sees a global position, and whom it sees."""
        place = self.index.long().view(-1, self.index.shape[-1], 1)
        query, first = place - (Lk - Lq), Lq * torch.arange(place.shape[0], device=device)[:, None, None]
        seen = chosen((first + torch.arange(Lq, device=device)) * Lk + place, place >= 0)
        seeing = chosen((first + query) * Lk + torch.arange(Lk, device=device), (place >= 0) & (query >= 0))
        return torch.cat([seen, seeing])

    def elementwise(self, sizes: Sizes) -> Mod:
        places = self.chosen(sizes.Lk)
        position = torch.arange(sizes.Lk - sizes.Lq, sizes.Lk, device=sizes.device)
        rows = places[:, position.clamp_min(0)] & (position >= 0)
        return combine(or_, [read(rows, "bi", sizes), read(places, "bj", sizes)])

    def chosen(self, Lk: int) -> Tensor:
        """Answer which positions are global, (B or 1, Lk) bool."""
        index = self.index if self.index.ndim == 2 else self.index[None]
        places = torch.zeros(index.shape[0], Lk + 1, dtype=torch.bool, device=index.device)
        return places.scatter(1, torch.where(index < 0, Lk, index).long(), True)[:, :Lk]


def _check_counts(mask: str, **counts: int) -> None:
    for name, count in counts.items():
        if count < 0:
            raise ValueError(f"{mask}.{name}: expected 0 or more, got {count}")
