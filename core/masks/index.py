"""Masks by position in the sequence: causal, window, dilated, global."""

from __future__ import annotations

import torch
from torch import Tensor

from ..symbols.part import Pairs, Part
from ..symbols.symbolic import check_range, expect_shape, expect_tensor, node
from .base import Extent, Mask


@node
class Causal(Mask):
    """allowed(i, j) = j <= i: by index, so events that share a time still see only those listed before them."""

    def _block(self, part: Part) -> Tensor:
        return (part.offsets() <= 0)[None, None]

    def _at(self, pairs: Pairs) -> Tensor:
        return (pairs.offsets() <= 0)[None]

    def _extent(self, part: Part) -> Extent:
        least, most = part.offset_range()
        return Extent.of(least > 0, most <= 0)


@node
class Window(Mask):
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

    def _block(self, part: Part) -> Tensor:
        return self._sees(part.offsets())[None, None]

    def _at(self, pairs: Pairs) -> Tensor:
        return self._sees(pairs.offsets())[None]

    def _sees(self, offset: Tensor) -> Tensor:
        return (offset >= -self.left) & (offset <= self.right)

    def _extent(self, part: Part) -> Extent:
        least, most = part.offset_range()
        return Extent.of(least > self.right or most < -self.left, least >= -self.left and most <= self.right)


@node
class Dilated(Mask):
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
            raise ValueError(f"Dilated.dilation is {self.dilation}, expected at least 1")

    def _block(self, part: Part) -> Tensor:
        return self._sees(part.offsets())[None, None]

    def _at(self, pairs: Pairs) -> Tensor:
        return self._sees(pairs.offsets())[None]

    def _sees(self, offset: Tensor) -> Tensor:
        inside = (offset >= -self.left * self.dilation) & (offset <= self.right * self.dilation)
        return inside & (offset % self.dilation == 0)

    def _extent(self, part: Part) -> Extent:
        least, most = part.offset_range()
        low, high = -self.left * self.dilation, self.right * self.dilation
        in_step = part.step % self.dilation == 0
        nothing = least > high or most < low or (in_step and least % self.dilation != 0)
        return Extent.of(nothing, in_step and least >= low and most <= high)


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

    def _validate(self, B: int, H: int, Lq: int, Lk: int) -> None:
        expect_shape("Global.index", self.index, self.index.ndim == 1 or self.index.shape[0] == B, f"(n,) or ({B}, n)")
        check_range("Global.index", self.index, -1, Lk, "positions (or -1, unused)")

    def _block(self, part: Part) -> Tensor:
        chosen = self.chosen(part.Lk)
        chosen = part.of_items(chosen) if self.index.ndim == 2 else chosen
        position = part.row_positions()
        queries = chosen[:, position.clamp_min(0)] & (position >= 0)
        return (queries[:, :, None] | chosen[:, None, part.cols])[:, None]

    def _at(self, pairs: Pairs) -> Tensor:
        chosen, position = self.chosen(pairs.Lk), pairs.query + (pairs.Lk - pairs.Lq)
        queries = pairs.of_items(chosen, position.clamp_min(0)) & (position >= 0)
        return (queries | pairs.of_items(chosen, pairs.key))[None]

    def chosen(self, Lk: int) -> Tensor:
        """Answer which positions are global, (B or 1, Lk) bool."""
        index = self.index if self.index.ndim == 2 else self.index[None]
        chosen = torch.zeros(index.shape[0], Lk + 1, dtype=torch.bool, device=index.device)
        return chosen.scatter(1, torch.where(index < 0, Lk, index).long(), True)[:, :Lk]


def _check_counts(mask: str, **counts: int) -> None:
    for name, count in counts.items():
        if count < 0:
            raise ValueError(f"{mask}.{name} is {count}, expected 0 or more")
