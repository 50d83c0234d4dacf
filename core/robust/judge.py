"""What one key takes in one call of attention, and the most that the layer's defences let it take."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..engine.problem import Problem
from ..scores import Cosine
from .bounds import capture_bound, logit_width
from .injection import View
from .weights import log_weights, seen_keys, structure


@dataclass(frozen=True)
class Call:
    """One call of attention, with one key in view.

    Attributes:
        layer: Name of the layer that called.
        log_captured: Logarithm of the weights on the key, -inf where it is not seen, (B, H, Lq), with its graph.
        bound: The most that they can be, 0 where it is not seen, (B, H, Lq); None where nothing bounds them.
        assumes_queries: Whether the bound takes the queries' norms as they were found.
        view: Which key, and who sees it.
    """

    layer: str
    log_captured: Tensor
    bound: Tensor | None
    assumes_queries: bool
    view: View

    def captured(self) -> Tensor:
        """The weights on the key, (B, H, Lq), float64; one that is NaN has spoilt its query and counts as 1."""
        return self.log_captured.detach().double().exp().nan_to_num(1.0)

    def mean(self) -> Tensor:
        """Mean over items and the queries that see the key: (H,)."""
        return self.captured().sum(dim=(0, 2)) / self.view.seeing.sum(dim=(0, 2)).clamp(min=1)

    def appeal(self) -> Tensor:
        """Mean logarithm of the weights, of the head where it is largest: what a gradient can follow; a scalar."""
        logs = self.log_captured.masked_fill(~self.view.seeing, 0)
        return (logs.sum(dim=(0, 2)) / self.view.seeing.sum(dim=(0, 2)).clamp(min=1)).max()


def judge(name: str, problem: Problem, layer: nn.Module | None, key: int | None) -> Call:
    """Look at one key of a call of `attend`.

    Args:
        name: of the calling layer.
        problem: as it was posed.
        layer: whose limits hold: core's, or one of timm's, whose names of norms they have; None for no known layer.
        key: its position; None for the first of those that most queries see.

    Raises:
        ValueError: there is no such key.
    """
    p = problem
    allowed, bias = structure(p)
    position = key
    if position is None:
        position = int(allowed.sum(dim=(0, 1, 2)).argmax()) if p.Lk else 0
    if not 0 <= position < p.Lk:
        raise ValueError(f"key: expected a position among the {p.Lk} keys of {name or 'the model'}, got {position}")
    view = View(position, allowed[..., position], seen_keys(p, allowed))
    query_norm, assumed = _query_norm(p, layer)
    key_norm = _key_norm(p, layer)
    bound = None
    if key_norm is not None:
        width = logit_width(
            p.score,
            scale=_by_row(p.scale),
            query_norm=query_norm,
            key_norm=key_norm,
            temperature=_by_row(p.temperature),
            bias_range=0.0 if bias is None else _range(bias, allowed),
        )
        bound = capture_bound(allowed.sum(dim=3).clamp(min=1), width).masked_fill(~view.seeing, 0)
    return Call(name, log_weights(p, allowed, bias)[..., position], bound, assumed, view)


def _query_norm(problem: Problem, layer: nn.Module | None) -> tuple[Tensor | float, bool]:
    """Q, and whether it was measured, for each query apart."""
    if isinstance(problem.score, Cosine):
        return 1.0, False
    limit = _limit(layer, "query_norm_limit", "q_norm", problem.q.dtype)
    return (problem.q.detach().double().norm(dim=-1), True) if limit is None else (limit, False)


def _key_norm(problem: Problem, layer: nn.Module | None) -> float | None:
    """c, or None where no key is too long."""
    if isinstance(problem.score, Cosine):
        return 1.0
    return _limit(layer, "key_norm_limit", "k_norm", problem.k.dtype)


def _limit(layer: nn.Module | None, limit: str, norm: str, dtype: torch.dtype) -> float | None:
    """The longest vector that can come out of a layer's limit and norm, rounding included; None where any can."""
    if layer is None:
        return None
    known = [x for x in (getattr(layer, limit, None), _longest(getattr(layer, norm, None))) if x is not None]
    return min(known) * (1 + 2 * torch.finfo(dtype).eps) if known else None


def _longest(norm: nn.Module | None) -> float | None:
    """The longest vector that a LayerNorm answers: |gamma * z + beta| <= sqrt(D) max|gamma| + |beta|, as |z|^2 <= D."""
    if not isinstance(norm, nn.LayerNorm):
        return None
    factor = 1.0 if norm.weight is None else float(norm.weight.detach().abs().max())
    return math.sqrt(math.prod(norm.normalized_shape)) * factor + (
        0.0 if norm.bias is None else float(norm.bias.detach().norm())
    )


def _by_row(value: float | Tensor) -> float | Tensor:
    """One number per head, (H,), so that it broadcasts over (B, H, L); others stay as they are."""
    value = value.detach().double() if isinstance(value, Tensor) else value
    return value[:, None] if isinstance(value, Tensor) and value.ndim else value


def _range(bias: Tensor, allowed: Tensor) -> Tensor:
    """The largest difference of two biases of a query, (B, H, Lq); 0 where it sees nothing."""
    wide = bias.detach().double()
    most = wide.masked_fill(~allowed, -torch.inf).amax(dim=-1)
    least = wide.masked_fill(~allowed, torch.inf).amin(dim=-1)
    return (most - least).masked_fill(~allowed.any(dim=-1), 0)
