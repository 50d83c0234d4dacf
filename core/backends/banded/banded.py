"""Windows, dilation and global positions in time and memory linear in length.

A mask stays in a band where its structure bounds j - i (`core.band`); only what lies in the band is computed. On the
CPU torch's flash kernel runs over blocks of queries and their windows of keys (`core.band_kernel`); what it cannot do
(a learned bias, dropout, entropy, numbers that are not finite), and other devices, go tile by tile (`core.tiling`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from ...engine.cost import Cost
from ...engine.problem import AttentionOutput, Problem, features
from ...tiles.tiling import attend_by_tiles
from .band import TILE, Band, BandCut, band_of, global_positions
from .blocks import CELLS, ROWS, Blocks
from .kernel import attend_by_blocks

NAME = "banded"


def not_supported_reasons(problem: Problem) -> list[str]:
    """Say why this problem cannot be served; empty if it can."""
    reasons = []
    if band_of(problem.pattern) is None:
        reasons.append("the mask has no band: expected a Window, Dilated or Global that bounds j - i on both sides")
    held = sorted(problem.need & {"weights", "pair_weights"})
    if held:
        reasons.append(f"{', '.join(held)}: a block is gone once it has been used")
    if torch.compiler.is_compiling():
        reasons.append("torch.compile and torch.export: which blocks are alike depends on values")
    return reasons


def cost(problem: Problem) -> Cost:
    """Estimate a training step: seven matrix products over the band, with what the blocks add at its sides."""
    p = problem
    band = band_of(p.pattern) or Band(-p.Lk, p.Lk)
    chosen = sum(mask.index.shape[-1] for mask in band.everywhere)
    by_kernel = kernel_can(p)
    rows = ROWS if by_kernel else TILE.rows
    pairs = p.B * p.H * (p.Lq * min(p.Lk, band.width + rows - 1 + chosen) + min(chosen, p.Lq) * p.Lk)
    width, size = p.q.shape[3] + p.v.shape[3], p.compute_dtype.itemsize
    linear = size * p.B * p.H * (p.Lq + p.Lk) * width
    if by_kernel:
        peak = 5 * linear // 2 + 4 * size * min(CELLS, pairs)
    else:
        buffers = 3 + 2 * (p.dropout_p > 0) + 2 * ("entropy" in p.need)
        peak = 3 * linear // 2 + buffers * size * min(TILE.cells, pairs)
    return Cost(
        flops=7 * pairs * width,
        peak_bytes=peak,
        memory="O(L d)",
        cells=pairs,
        route=NAME if by_kernel else f"{NAME} by tiles",
    )


def run(problem: Problem, seed: Tensor | None) -> AttentionOutput:
    """Compute what lies in the band."""
    p, band = problem, band_of(problem.pattern)
    assert band is not None
    assert p.pattern is not None
    everywhere = global_positions(band, p.B)
    if not (kernel_can(p) and _is_finite(p)):
        return attend_by_tiles(p, seed, BandCut(band, everywhere))
    mask = p.pattern if p.padding is None else p.pattern & p.padding
    factor, q, k = features(p, p.q.to(p.compute_dtype), p.k.to(p.compute_dtype))
    scale = 1.0
    if isinstance(factor, Tensor):
        q = q * factor
    else:
        scale = factor  # into the kernel, which saves copies of q and of its gradient
    out, lse = attend_by_blocks(Blocks(p, mask, band, everywhere), scale, q, k, p.v.to(p.compute_dtype))
    return AttentionOutput(out.to(p.q.dtype), lse=lse if "lse" in p.need else None)


def kernel_can(p: Problem) -> bool:
    """Whether torch's flash kernel computes this: it learns no bias, drops nothing and answers no entropy."""
    learns = p.bias is not None and (
        p.bias.requires_grad() or (isinstance(p.temperature, Tensor) and p.temperature.requires_grad)
    )
    return (
        p.q.device.type in ("cpu", "meta")  # a plan on the meta device is one for the CPU
        and not learns
        and p.dropout_p == 0
        and "entropy" not in p.need
        and min(p.q.numel(), p.k.numel(), p.v.numel()) > 0
    )


def _is_finite(p: Problem) -> bool:
    """Whether all numbers are finite, as their sums tell; a sum that overflows counts as not."""
    tensors = [p.q, p.k, p.v] if p.bias is None else [p.q, p.k, p.v, *(t for _, t in p.bias.tensors())]
    return all(bool(t.detach().sum(dtype=_wide(t)).isfinite()) for t in tensors)


def _wide(t: Tensor) -> torch.dtype:
    return torch.float32 if t.dtype.itemsize < 4 else t.dtype
