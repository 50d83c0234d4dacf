"""The definition of attention: every L x L tensor in the open, float32 or wider, differentiable twice.

Each other backend is held against this one. It isolates values that are not finite pair by pair: a query that may not
see a NaN or an infinity is exactly as if it stood in a finite world, in the output and in every gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..engine import AttentionOutput, Backend, Cost, Problem, by_head, dropout, nan_where


class Reference(Backend):
    """The definition: every weight in the open."""

    name = "reference"

    def not_supported_reasons(self, problem: Problem) -> list[str]:
        """Say why this problem cannot be served: it always can."""
        return []

    def cost(self, problem: Problem) -> Cost:
        """Estimate a training step: six matrix products; six to nine L x L tensors at the peak."""
        p = problem
        pairs = p.B * p.H * p.Lq * p.Lk
        size = p.compute_dtype.itemsize
        linear = p.B * p.H * (p.Lq + p.Lk) * (p.q.shape[3] + p.v.shape[3])
        held = 6 + (p.bias is not None) + 2 * ("entropy" in p.need)
        return Cost(
            flops=6 * pairs * (p.q.shape[3] + p.v.shape[3]),
            peak_bytes=pairs * held * size + 3 * linear * size,
            memory="O(L^2): every weight is held",
            cells=pairs,
            route=self.name,
        )

    def run(self, problem: Problem, seed: Tensor | None) -> AttentionOutput:
        """Compute attention as the contract defines it."""
        p, dtype = problem, problem.compute_dtype
        q, q_bad = _finite(p.q.to(dtype))
        k, k_bad = _finite(_repeat(p.k, p.groups).to(dtype))
        v, v_bad = _finite(_repeat(p.v, p.groups).to(dtype))

        allowed, bias, bias_bad = _structure(p)
        logits = p.score.prepare(q) @ p.score.prepare(k).mT
        q_offset, k_offset = p.score.offset(q), p.score.offset(k)
        if q_offset is not None and k_offset is not None:
            logits = logits + q_offset[..., :, None] + k_offset[..., None, :]
        logits = logits * by_head(p.scale)
        if bias is not None:
            logits = logits + bias.to(dtype)
        logits = torch.where(allowed, logits / by_head(p.temperature), -torch.inf)

        alive = allowed.any(dim=-1)
        peak = logits.detach().amax(dim=-1) if p.Lk else logits.new_zeros(logits.shape[:-1])
        peak = torch.where(alive, peak, 0.0)
        exponentials = (logits - peak[..., None]).exp()
        total = torch.where(alive, exponentials.sum(dim=-1), 1.0)
        weights = exponentials / total[..., None]
        lse = peak + total.log()
        entropy = None
        if "entropy" in p.need:
            entropy = lse - (weights * torch.where(allowed, logits, 0.0)).sum(dim=-1)
        kept = weights if seed is None else _drop(weights, seed, p.dropout_p)

        # Rows that see what is not finite answer NaN. Adding, not selecting, it passes gradients on unchanged.
        poisoned = (allowed & (q_bad[..., :, None] | k_bad[..., None, :] | bias_bad)).any(dim=-1)
        out = kept @ v + nan_where(poisoned | (allowed & v_bad[..., None, :]).any(dim=-1))[..., None]
        weights = weights + nan_where(allowed & poisoned[..., None])
        return AttentionOutput(
            out=out.to(p.q.dtype),
            lse=torch.where(alive, lse + nan_where(poisoned), -torch.inf) if "lse" in p.need else None,
            entropy=None if entropy is None else torch.where(alive, entropy + nan_where(poisoned), 0.0),
            weights=weights.to(p.q.dtype) if "weights" in p.need else None,
            pair_weights=p.pair_mask().gather_pairs(weights).to(p.q.dtype) if "pair_weights" in p.need else None,
        )


def _structure(p: Problem) -> tuple[Tensor, Tensor | None, Tensor]:
    """Answer the allowed pairs, expanded to (B, H, Lq, Lk), the finite part of the bias, and where it is not finite."""
    sizes = (p.B, p.H, p.Lq, p.Lk)
    allowed = torch.ones((), dtype=torch.bool, device=p.q.device)
    for mask in (p.pattern, p.padding):
        if mask is not None:
            allowed = allowed & mask.materialize(*sizes, device=p.q.device)
    if p.bias is None:
        return allowed.expand(sizes), None, torch.zeros_like(allowed)
    bias = p.bias.materialize(*sizes, device=p.q.device)
    allowed, finite = allowed & ~torch.isneginf(bias), bias.isfinite()
    return allowed.expand(sizes), torch.where(allowed & finite, bias, 0.0), ~finite


def _finite(x: Tensor) -> tuple[Tensor, Tensor]:
    """Answer x with 0 in the place of what is not finite, and which vectors that touched."""
    finite = x.isfinite()
    return torch.where(finite, x, 0.0), ~finite.all(dim=-1)


def _repeat(x: Tensor, groups: int) -> Tensor:
    return x if groups == 1 else x.repeat_interleave(groups, dim=1)


def _drop(weights: Tensor, seed: Tensor, p: float) -> Tensor:
    B, H, Lq, Lk = weights.shape
    place = weights.device
    b = torch.arange(B, device=place)[:, None, None, None]
    h = torch.arange(H, device=place)[:, None, None]
    i = torch.arange(Lq, device=place)[:, None]
    j = torch.arange(Lk, device=place)
    return torch.where(dropout.keep(seed, p, b, h, i, j, H), weights / (1.0 - p), 0.0)
