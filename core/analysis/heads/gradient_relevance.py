"""Gradient-weighted relevance: attention rolled out with only those weights counted that raise a score."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from ...engine.problem import Problem
from ..capture.adapters import Call
from ..capture.cut import cut, full_precision, row_blocks, solve
from ..capture.watch import CaptureError, watching

CELLS = 1 << 20  # weights held at a time where they are not held whole


class _Layer(NamedTuple):
    """A call of attention and the gradient of the score in its heads' outputs, (B, H, L, Dv)."""

    name: str
    problem: Problem
    gradient: Tensor


def relevance(
    model: nn.Module,
    score: Callable[[], Tensor],
    *,
    rows: Sequence[int] | None = None,
    layers: str | Sequence[str] | None = None,
    hold: Literal["rows", "weights"] = "rows",
) -> Tensor:
    """How relevant each input token is to a score, by attention weights and their gradients.

        R <- R + A_l R from the first layer on, R_0 = I,   A_l = mean_h max(0, W_lh * dscore / dW_lh)
        dscore / dw_hij = (dscore / dout_hi) . v_hj

    A row of R is taken from the top down, r <- r + r A_l. The positive part stands between the product and the sum, so
    that r A_l is no gradient of attention and no fused pass gives it: the weights are needed one by one. With
    hold="rows" they are computed for some queries at a time, in memory that grows with L and not with L^2, and queries
    with r_i = 0 are left out (so the last layer costs one row where one row is asked for). hold="weights" computes each
    layer's weights whole; both give the same numbers. Parameters' gradients are not touched.

    Args:
        model: A model in evaluation mode, without reentrant activation checkpointing.
        score: Runs the model once and answers the score of each item, such as a class's logit.
        rows: Output tokens. None: all of them, an L x L answer.
        layers: Names or patterns of the attention modules, as in `capture`; they must be self-attention over one
            sequence.
        hold: How much of the weights is in memory at a time.

    Shapes:
        score(): (B,).
        Answer: (B, n, L), over the input tokens.

    Raises:
        CaptureError: No attention was seen, or the score's gradient does not reach one.
        ValueError: The score has another shape, a layer is no self-attention over the sequence, or a row does not
            exist.

    References:
        Chefer, Gur, Wolf: Generic attention-model explainability. ICCV 2021, section 3, self-attention.
    """
    if hold not in ("rows", "weights"):
        raise ValueError(f"hold: expected 'rows' or 'weights', got {hold!r}")
    found = _gradients(model, score, layers)
    B, _, L, _ = found[0].gradient.shape
    for layer in found:
        if (layer.problem.B, layer.problem.Lq, layer.problem.Lk) != (B, L, L):
            p = layer.problem
            raise ValueError(
                f"layers: expected self-attention over {L} tokens in every layer, got (B, Lq, Lk) = "
                f"({p.B}, {p.Lq}, {p.Lk}) in {layer.name!r}; choose layers by layers="
            )
    chosen = list(range(L)) if rows is None else list(rows)
    if any(not -L <= row < L for row in chosen):
        raise ValueError(f"rows: expected indices of {L} tokens, got {chosen}")
    like = found[0].gradient.to(found[0].problem.compute_dtype)
    units = torch.eye(L, dtype=like.dtype, device=like.device)
    r = units[[row % L for row in chosen]].expand(B, -1, -1)
    with torch.no_grad(), full_precision(r.device):
        for layer in reversed(found):
            r = r + (_whole(layer, r) if hold == "weights" else _by_rows(layer, r))
    return r


def _gradients(model: nn.Module, score: Callable[[], Tensor], layers: str | Sequence[str] | None) -> list[_Layer]:
    """Run the model and answer each call of attention with the gradient of the score in its heads' outputs."""
    calls: list[tuple[str, Call]] = []

    def on_call(name: str, forward: int | None, call: Call) -> None:
        if call.attended is None or not call.attended.requires_grad:
            raise CaptureError(
                "model: expected parameters or an input that require grad, and no reentrant checkpoint around them, "
                f"got no gradient in the attention of {name or 'the model itself'}"
            )
        calls.append((name, call))

    with torch.enable_grad():
        with watching(model, layers, on_call):
            value = score()
        if not isinstance(value, Tensor) or value.ndim != 1:
            got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise ValueError(f"score: expected the score of each item, (B,), got {got}")
        attended = [call.attended for _, call in calls if call.attended is not None]
        gradients = torch.autograd.grad(value.sum(), attended, allow_unused=True)
    found = []
    for (name, call), gradient in zip(calls, gradients, strict=True):
        if gradient is None:
            raise CaptureError(
                "score: expected a score that depends on every chosen layer, got one whose gradient does not reach "
                f"{name or 'the model itself'}"
            )
        found.append(_Layer(name, call.problem, call.to_heads(gradient)))
    return found


def _positive(layer: _Layer, rows: Sequence[int] | None) -> Tensor:
    """Compute the mean over heads of max(0, w * dscore / dw) for some rows, (B, rows, L)."""
    p = cut(layer.problem, rows=rows)
    weights = solve(p, ("weights",)).weights
    assert weights is not None
    gradient = layer.gradient if rows is None else layer.gradient[:, :, list(rows)]
    values = p.v if p.groups == 1 else p.v.repeat_interleave(p.groups, dim=1)
    slope = gradient.to(p.compute_dtype) @ values.to(p.compute_dtype).mT
    # Values that no query may see can hold anything, NaN included: where a weight is 0, so is the product.
    return torch.where(weights > 0, weights.to(slope.dtype) * slope, 0.0).clamp_min(0.0).mean(dim=1)


def _whole(layer: _Layer, r: Tensor) -> Tensor:
    return r @ _positive(layer, None)


def _by_rows(layer: _Layer, r: Tensor) -> Tensor:
    needed = (r != 0).any(dim=0).any(dim=0).nonzero().flatten().tolist()
    step = len(row_blocks(layer.problem, CELLS)[0]) if layer.problem.Lq else 1
    total = torch.zeros_like(r)
    for start in range(0, len(needed), step):
        rows = needed[start : start + step]
        total = total + r[:, :, rows] @ _positive(layer, rows)
    return total
