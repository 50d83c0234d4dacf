"""Exact attention for every mask, bias and score in memory linear in length: see `core.tiles`.

Tiles in which the mask allows nothing are not visited.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ...engine import AttentionOutput, Backend, Cost, Problem
from ...symbols import Part
from ...tiles import Grid, attend_by_tiles


class Tiled(Backend):
    """Tiles of queries and keys, recomputed in backward."""

    name = "tiled"

    def not_supported_reasons(self, problem: Problem) -> list[str]:
        """Say why this problem cannot be served; empty if it can."""
        reasons = []
        held = sorted(problem.need & {"weights", "pair_weights"})
        if held:
            reasons.append(f"{', '.join(held)}: a tile is gone once it has been used")
        if torch.compiler.is_compiling():
            reasons.append("torch.compile and torch.export: which tiles are visited depends on values")
        return reasons

    def cost(self, problem: Problem) -> Cost:
        """Estimate a training step: seven matrix products, as if no tile were empty."""
        p = problem
        width = p.q.shape[3] + p.v.shape[3]
        size = p.compute_dtype.itemsize
        linear = 3 * size * p.B * p.H * (p.Lq + p.Lk) * width // 2
        items, rows, cols = Grid().size(Part.whole(p.B, p.H, p.Lq, p.Lk, p.q.device))
        buffers = 3 + 2 * (p.dropout_p > 0) + 2 * ("entropy" in p.need)
        peak = linear + buffers * items * p.H * rows * cols * size
        pairs = p.B * p.H * p.Lq * p.Lk
        return Cost(flops=7 * pairs * width, peak_bytes=peak, memory="O(L d)", cells=pairs, route=self.name)

    def run(self, problem: Problem, seed: Tensor | None) -> AttentionOutput:
        """Compute attention tile by tile."""
        return attend_by_tiles(problem, seed, Grid())
