"""Biases by the distance in the sequence, j - i, with the last query aligned with the last key."""

from __future__ import annotations

import torch
from torch import Tensor

from ..symbols import (
    Mod,
    Pairs,
    Part,
    Sizes,
    at_least_float32,
    check_per_head,
    expect_shape,
    expect_tensor,
    node,
    own,
)
from .base import Bias, DistanceBias, fall_mod
from .forms import Form, OffsetFall


@node
class Alibi(DistanceBias):
    """bias(h, i, j) = -slopes[h] * |i - j|.

    Args:
        slopes: Fall of the logit per position; a number, or a tensor that may require grad.

    Shapes:
        slopes: scalar or (H,).

    Raises:
        ValueError: The shape does not fit.

    References:
        Press, Smith, Lewis: Train Short, Test Long. ICLR 2022, section 3 (there for causal attention, where
        |i - j| = i - j).
    """

    slopes: float | Tensor

    by_offset = True

    def check_sizes(self, B: int, H: int, Lq: int, Lk: int) -> None:
        check_per_head("Alibi.slopes", self.slopes, H)

    def rates(self) -> float | Tensor:
        return self.slopes

    def distance(self, part: Part) -> Tensor:
        return self._width(part.offsets())[None]

    def distance_at(self, pairs: Pairs) -> Tensor:
        return self._width(pairs.offsets())

    def form(self) -> Form:
        return OffsetFall(self.slopes)

    def elementwise(self, sizes: Sizes) -> Mod:
        shift = sizes.Lk - sizes.Lq
        return fall_mod(lambda b, h, i, j: (j - i - shift).abs().float(), "exponential", self.slopes, sizes)

    def _width(self, offset: Tensor) -> Tensor:
        wide = isinstance(self.slopes, Tensor) and self.slopes.dtype == torch.float64
        return offset.abs().to(torch.float64 if wide else torch.float32)


@node
class Relative(Bias):
    """bias(h, i, j) = table[h, clip(j - i, -m, m) + m]: one learned number per head and offset.

    Args:
        table: The numbers, from offset -m (far before the query) to m (far after it); may require grad.

    Shapes:
        table: (H, 2m + 1).

    Raises:
        TypeError: table is not a tensor.
        ValueError: The table has another number of heads or an even number of offsets.

    References:
        Shaw, Uszkoreit, Vaswani: Self-Attention with Relative Position Representations. NAACL 2018, section 3.2, for
        the clipping; Raffel et al., JMLR 2020, section 2.1, for a scalar added to the logit.
    """

    table: Tensor

    by_offset = True

    def __post_init__(self) -> None:
        expect_tensor("Relative.table", self.table)
        expect_shape("Relative.table", self.table, self.table.ndim == 2 and self.table.shape[1] % 2 == 1, "(H, 2m + 1)")

    def check_sizes(self, B: int, H: int, Lq: int, Lk: int) -> None:
        expect_shape("Relative.table", self.table, self.table.shape[0] == H, f"(H, 2m + 1) with H={H}")

    def block(self, part: Part) -> Tensor:
        m = self.table.shape[1] // 2
        return at_least_float32(self.table)[:, part.offsets().clamp(-m, m) + m][None]

    def at(self, pairs: Pairs) -> Tensor:
        m = self.table.shape[1] // 2
        return at_least_float32(self.table)[:, pairs.offsets().clamp(-m, m) + m]

    def evaluate(self, part: Part, differentiable: bool) -> Tensor:
        return at_least_float32(self.table.detach())[:, self._places(part)]

    def add_to(self, logits: Tensor, evaluated: Tensor, factor: float) -> None:
        # Row i reads the offsets from rows - 1 - i on: a view that steps on by one a row, its rows turned about.
        width = evaluated.shape[1]
        skewed = (evaluated * factor)[:, :, None]
        if width > 1:
            skewed = skewed.as_strided((logits.shape[1], *logits.shape[2:]), (width, 1, 1)).flip(1)
        logits.add_(skewed)

    def write(self, logits: Tensor, evaluated: Tensor, factor: float, start: Tensor | None) -> None:
        if evaluated.shape[1] > 1:
            super().write(logits, evaluated, factor, start)
            return
        same = (evaluated * factor)[:, :, None]
        logits.copy_(same if start is None else start + same)

    def pull(self, d_logits: Tensor, part: Part, evaluated: Tensor, factor: float) -> list[Tensor | None]:
        if not self.table.requires_grad:
            return []
        if evaluated.shape[1] == 1:
            by_offset = d_logits.sum(dim=(0, 2, 3))[:, None] * factor
        else:
            by_offset = _sum_diagonals(d_logits[0] if d_logits.shape[0] == 1 else d_logits.sum(dim=0)) * factor
        total = torch.zeros(self.table.shape, dtype=by_offset.dtype, device=by_offset.device)
        return [total.index_add_(1, self._places(part), by_offset).to(self.table.dtype)]

    def elementwise(self, sizes: Sizes) -> Mod:
        m, shift = self.table.shape[1] // 2, sizes.Lk - sizes.Lq
        table = own(self.table)
        return lambda b, h, i, j: table[h, (j - i - shift).clamp(-m, m) + m]

    def _places(self, part: Part) -> Tensor:
        """Answer the column of the table for each offset in a part, from its lower left to its upper right corner.

        Shapes:
            Answer: (rows + cols - 1,) int64; (1,) where it is the same for all of the part.
        """
        m = self.table.shape[1] // 2
        first, last = part.offset_range()
        if first >= m or last <= -m:
            return torch.tensor([2 * m if first >= m else 0], device=part.device)
        return torch.arange(first, last + 1, part.step, device=part.device).clamp(-m, m) + m


def _sum_diagonals(x: Tensor) -> Tensor:
    """Sum each diagonal, from the lower left to the upper right: (H, rows, cols) to (H, rows + cols - 1)."""
    H, rows, cols = x.shape
    width = rows + cols
    skewed = x.new_zeros(H, rows, width)
    # Row i starts rows - 1 - i later than its place: consecutive rows lie width - 1 apart.
    skewed.as_strided((H, rows, cols), (rows * width, width - 1, 1), rows - 1).copy_(x)
    return skewed.sum(dim=1)[:, :-1]
