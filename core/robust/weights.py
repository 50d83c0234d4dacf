"""The weights of one call of attention in the open, differentiable: what is measured and attacked.

The backend `reference` writes the same equation so that no NaN passes; here the logarithm of the weights is asked for.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..engine.problem import Problem, by_head


def structure(problem: Problem) -> tuple[Tensor, Tensor | None]:
    """The allowed pairs and the bias, in the open.

    Shapes:
        allowed: (B, H, Lq, Lk), bool; bias: the same, float, or None.
    """
    p, sizes = problem, (problem.B, problem.H, problem.Lq, problem.Lk)
    allowed = torch.ones((), dtype=torch.bool, device=p.q.device)
    for mask in (p.pattern, p.padding):
        if mask is not None:
            allowed = allowed & mask.materialize(*sizes, device=p.q.device)
    if p.bias is None:
        return allowed.expand(sizes), None
    bias = p.bias.materialize(*sizes, device=p.q.device)
    return (allowed & ~bias.isneginf()).expand(sizes), bias.expand(sizes)


def seen_keys(problem: Problem, allowed: Tensor) -> Tensor:
    """The keys that any query of their item sees, (B, Hk, Lk)."""
    p = problem
    return allowed.any(dim=2).reshape(p.B, p.k.shape[1], p.groups, p.Lk).any(dim=2)


def log_weights(problem: Problem, allowed: Tensor, bias: Tensor | None) -> Tensor:
    """Logarithm of the weights that `attend` gives, differentiable; -inf where a pair is not allowed.

    Args:
        problem: as it was posed.
        allowed: from `structure`.
        bias: from `structure`.

    Shapes:
        out: (B, H, Lq, Lk), float32 or wider.
    """
    p = problem
    q, k = p.q.to(p.compute_dtype), p.k.to(p.compute_dtype).repeat_interleave(p.groups, dim=1)
    logits = p.score.prepare(q) @ p.score.prepare(k).mT
    q_offset, k_offset = p.score.offset(q), p.score.offset(k)
    if q_offset is not None and k_offset is not None:
        logits = logits + q_offset[..., :, None] + k_offset[..., None, :]
    logits = logits * by_head(p.scale)
    if bias is not None:
        logits = logits + bias.masked_fill(~allowed, 0).to(logits.dtype)
    logits = logits / by_head(p.temperature)
    lse = logits.masked_fill(~allowed, -torch.inf).logsumexp(dim=-1, keepdim=True)
    lse = lse.masked_fill(~allowed.any(dim=-1, keepdim=True), 0)
    return (logits - lse).masked_fill(~allowed, -torch.inf)
