"""Biases by the distance in the sequence, j - i, with the last query aligned with the last key."""

from __future__ import annotations

import torch
from torch import Tensor

from ..part import Part
from ..symbolic import expect_shape, expect_tensor, node
from .base import Bias, at_least_float32, check_per_head, per_head


@node
class Alibi(Bias):
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

    def _validate(self, B: int, H: int, Lq: int, Lk: int) -> None:
        check_per_head("Alibi.slopes", self.slopes, H)

    def _block(self, part: Part) -> Tensor:
        distance = part.offsets().abs()
        slopes = per_head(self.slopes)
        dtype = slopes.dtype if isinstance(slopes, Tensor) else torch.float32
        return (-slopes * distance.to(dtype))[(None,) * (4 - max(2, getattr(slopes, "ndim", 0)))]


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

    def __post_init__(self) -> None:
        expect_tensor("Relative.table", self.table)
        expect_shape("Relative.table", self.table, self.table.ndim == 2 and self.table.shape[1] % 2 == 1, "(H, 2m + 1)")

    def _validate(self, B: int, H: int, Lq: int, Lk: int) -> None:
        expect_shape("Relative.table", self.table, self.table.shape[0] == H, f"(H, 2m + 1) with H={H}")

    def _block(self, part: Part) -> Tensor:
        m = self.table.shape[1] // 2
        return at_least_float32(self.table)[:, part.offsets().clamp(-m, m) + m][None]
