"""Attention rollout: how much of each input token reaches an output token through all layers, weights alone counted."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...engine.problem import Problem
from ..capture.cut import altered, full_precision, solve
from ..capture.records import Capture, Record


def rollout(
    seen: Capture, *, rows: Sequence[int] | None = None, residual: float = 0.5, start: Tensor | None = None
) -> Tensor:
    """Roll attention out over the layers of one forward pass.

        R = A_n ... A_2 A_1,   A_l = residual * I + (1 - residual) * mean_h W_lh

    A row of R starts from a unit vector at the top and is multiplied by one layer after the other, r <- r A_l. Where
    the weights were captured, that is a product with them; where only the inputs were, r W is the gradient of r . (W v)
    with respect to v, which the backends compute in memory linear in length, and no L x L tensor is made. Both give the
    same numbers. The rows of R sum to 1 unless a query on the way saw no key.

    Args:
        seen: A capture, of one forward pass, of "inputs" or of the "weights" of all heads and rows. The layers must be
            self-attention over one sequence, in their order; choose them by `layers=` where the model has others.
        rows: Output tokens, negative ones from the end. None: all of them, an L x L answer.
        residual: Share of the residual branch.
        start: In the place of rows, distributions over the output tokens, such as the weights of a pooling layer.

    Shapes:
        start: (B, n, L).
        Answer: (B, n, L), over the input tokens.

    Raises:
        ValueError: Not one forward pass, layers that are no self-attention over one sequence, or both rows and start.

    References:
        Abnar, Zuidema: Quantifying attention flow in transformers. ACL 2020, section 3, equation 1, where the residual
        share is 0.5.
    """
    records = chain(seen)
    if not 0.0 <= residual <= 1.0:
        raise ValueError(f"residual: expected a number from 0 to 1, got {residual}")
    r = first_rows(records[-1], rows, start)
    with full_precision(r.device):
        for record in reversed(records):
            r = residual * r + (1.0 - residual) * _pulled(record, r)
    return r


def pull(problem: Problem, r: Tensor) -> Tensor:
    """Multiply rows by the mean weights of the heads from the right, without the weights.

        (r W)_j = sum_i r_i (1 / H) sum_h w_hij,  the gradient of sum_i r_i . (1 / H) sum_h (W_h v)_i in v

    Args:
        problem: One call of attention.
        r: The rows.

    Shapes:
        r: (B, n, Lq).
        Answer: (B, n, Lk).
    """
    step = max(problem.q.shape[3], 32)  # rows are features of the values: more than the head size cost the kernel more
    pieces = [_pull(problem, r[:, start : start + step]) for start in range(0, r.shape[1], step)]
    return torch.cat(pieces, dim=1) if pieces else r.new_zeros(problem.B, 0, problem.Lk)


def _pull(problem: Problem, r: Tensor) -> Tensor:
    p = problem
    with torch.inference_mode(False), torch.enable_grad():
        shape = (p.B, p.k.shape[1], p.Lk, r.shape[1])
        v = torch.zeros(shape, dtype=p.compute_dtype, device=p.q.device, requires_grad=True)
        q, k = (x.clone() if x.is_inference() else x for x in (p.q.to(v.dtype), p.k.to(v.dtype)))
        out = solve(altered(p, q=q, k=k, v=v)).out
        gradient = (r.mT.clone() / p.H)[:, None].expand(out.shape).to(out.dtype)
        (pulled,) = torch.autograd.grad(out, v, gradient.contiguous())
    return pulled.sum(dim=1).mT


def chain(seen: Capture) -> tuple[Record, ...]:
    """Answer the records of one forward pass through self-attention layers over one sequence.

    Raises:
        ValueError: It is not that; the message says which record is not.
    """
    if len(seen.passes) != 1:
        raise ValueError(f"seen: expected one forward pass, got {len(seen.passes)}")
    (records,) = seen.passes
    B, _, _, L = records[0].sizes
    for record in records:
        if record.sizes[0] != B or record.sizes[2:] != (L, L):
            raise ValueError(
                f"seen: expected self-attention over {L} tokens in every layer, got (B, H, Lq, Lk) = {record.sizes} in "
                f"{record.layer!r}; choose layers by layers="
            )
        record.require_weights()
    return records


def first_rows(record: Record, rows: Sequence[int] | None, start: Tensor | None) -> Tensor:
    """Answer the rows that begin at the top: unit vectors, or what was given."""
    B, _, L, _ = record.sizes
    held = record.weights if record.inputs is None else record.inputs.q
    assert held is not None
    dtype = torch.float64 if held.dtype == torch.float64 else torch.float32
    if start is not None:
        if rows is not None:
            raise ValueError("start: expected None where rows are given, got a tensor")
        if start.ndim != 3 or start.shape[0] != B or start.shape[2] != L:
            raise ValueError(f"start: expected (B, n, L) = ({B}, n, {L}), got {tuple(start.shape)}")
        return start.detach().to(device=held.device, dtype=dtype)
    chosen = list(range(L)) if rows is None else list(rows)
    if any(not -L <= row < L for row in chosen):
        raise ValueError(f"rows: expected indices of {L} tokens, got {chosen}")
    units = torch.eye(L, dtype=dtype, device=held.device)[[row % L for row in chosen]]
    return units.expand(B, -1, -1)


def _pulled(record: Record, r: Tensor) -> Tensor:
    if record.has_all_weights and record.weights is not None:
        return r @ record.weights.to(r.dtype).mean(dim=1)
    assert record.inputs is not None
    return pull(record.inputs, r)
