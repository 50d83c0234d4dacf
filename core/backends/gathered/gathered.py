"""Attention over listed pairs, neighbours and edges, at the cost of the pairs: no L x L tensor, no padded rows.

The pairs are sorted by query, each once; what belongs to a pair p = (i, j) is held as (H, P), in ragged rows:

    S_p = factor * q_i . k_j + bias_p,  P_p = exp(S_p - lse_i),  out_i = sum_p P_p v_j
    dS_p = P_p (dP_p - delta_i),  dP_p = dO_i . v_j + dw_p,  delta_i = sum_p P_p dP_p - dlse_i
    entropy: dS_p -= dH_i P_p (ln P_p + H_i)

where dw is the gradient of pair_weights. Dot products at the pairs are sampled products of sparse matrices, sums over
them weighted bags of rows: neither makes a (pairs x features) tensor. Memory is linear in the pairs, backward included.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...engine import AttentionOutput, Backend, Cost, Problem, dropout, features, nan_where
from ...masks import Listing
from ...symbols import Pairs, Symbolic
from .ragged import Ragged


class Gathered(Backend):
    """Neighbours and edges at the cost of their pairs."""

    name = "gathered"

    def not_supported_reasons(self, problem: Problem) -> list[str]:
        """Say why this problem cannot be served; empty if it can."""
        p, reasons = problem, []
        if not p.pair_masks() or _listing(p) is None:
            reasons.append(
                "the mask lists no pairs: expected Neighbours or Edges, under | only with others that list pairs "
                "(windows, global positions)"
            )
        if "weights" in p.need:
            reasons.append("weights: only listed pairs are computed; pair_weights answers those")
        if p.q.device.type not in ("cpu", "cuda", "meta"):
            reasons.append(f"device {p.q.device.type}: sparse products run on the CPU and on CUDA")
        if torch.compiler.is_compiling():
            reasons.append("torch.compile and torch.export: how many pairs there are depends on values")
        return reasons

    def cost(self, problem: Problem) -> Cost:
        """Estimate a training step: six products over the listed pairs.

        What does not look listed pairs up one by one is computed at all pairs, and each of those counts as a logit.
        """
        p = problem
        listing = _listing(p)
        pairs = p.B * p.Lq * p.Lk if listing is None else listing.count
        width, size = p.q.shape[3] + p.v.shape[3], p.compute_dtype.itemsize
        rows = p.B * (p.H * p.Lq + p.H // p.groups * p.Lk)
        copies = 2 if p.B > 1 or p.q.dtype != p.compute_dtype else 1  # tables of q, k and v, heads first
        held = 8 + 3 * (p.dropout_p > 0) + 2 * ("pair_weights" in p.need)  # numbers for each head and pair
        places = 32 + 24 * (p.bias is not None)  # bytes for each pair
        slow = sum(not node.goes_pair_by_pair() for node in _looked_up(p, listing))
        return Cost(
            flops=6 * pairs * p.H * width,
            peak_bytes=copies * size * rows * width + pairs * (held * size * p.H + places),
            memory="O(L d)" if listing is not None else "O(L^2): every pair is listed",
            cells=pairs * p.H + slow * p.B * p.Lq * p.Lk,
            route=self.name,
        )

    def run(self, problem: Problem, seed: Tensor | None) -> AttentionOutput:
        """Compute attention over the listed pairs."""
        p = problem
        numbers, pairs, allowed = _pairs(p)
        ragged = Ragged(pairs, p.groups)
        bias = None if p.bias is None else p.bias.at(pairs)
        q, k, v = p.q, p.k, p.v
        strange = (
            None if all(map(_is_finite, (q, k, v) if bias is None else (q, k, v, bias))) else _Strange.of(p, ragged)
        )
        if strange is not None:
            q, k, v = (torch.where(x.isfinite(), x, 0.0) for x in (q, k, v))
            if bias is not None:
                allowed, bias = strange.clean(allowed, bias)
            allowed = torch.ones(1, ragged.P, dtype=torch.bool, device=q.device) if allowed is None else allowed
        factor, q_table, k_table = features(p, _by_head_first(q, p), _by_head_first(k, p))
        if isinstance(factor, Tensor):
            factor, q_table = 1.0, q_table * factor
        drop = None if seed is None else _Dropout(seed, p.dropout_p, pairs)
        call = _Call(ragged, factor, allowed, drop, "entropy" in p.need)
        v_table = _by_head_first(v, p).flatten(0, 1)
        if bias is not None:
            bias = bias.to(p.compute_dtype) / _by_row(p.temperature)
        out, lse, entropy, weights = _Gathered.apply(call, q_table.flatten(0, 1), k_table.flatten(0, 1), v_table, bias)
        if strange is not None and allowed is not None:
            # Rows that see what is not finite answer NaN. Adding it passes gradients on unchanged.
            poisoned, v_poisoned = strange.rows(allowed)
            out = out + nan_where(poisoned | v_poisoned).expand(p.H, -1).reshape(-1, 1)
            lse, entropy = lse + nan_where(poisoned), entropy + nan_where(poisoned)
            weights = weights + nan_where(allowed & ragged.spread(poisoned))
        sizes, Dv = (p.H, p.B, p.Lq), p.v.shape[3]
        return AttentionOutput(
            out=out.view(*sizes, Dv).transpose(0, 1).to(p.q.dtype),
            lse=lse.view(sizes).transpose(0, 1) if "lse" in p.need else None,
            entropy=entropy.view(sizes).transpose(0, 1) if "entropy" in p.need else None,
            pair_weights=_listed(p, weights, numbers) if "pair_weights" in p.need else None,
        )


def _listing(p: Problem) -> Listing | None:
    return None if p.pattern is None else p.pattern.listing(p.B, p.Lq, p.Lk)


def _looked_up(p: Problem, listing: Listing | None) -> list[Symbolic]:
    """Answer the masks and biases whose values at the listed pairs are asked for."""
    nodes = () if listing is None else listing.rest
    return [node for node in (*nodes, p.padding, p.bias) if node is not None]


def _listed(p: Problem, weights: Tensor, numbers: Tensor) -> Tensor:
    return p.pair_mask().gather_listed(weights, numbers, p.B, p.Lq, p.Lk).to(p.q.dtype)


def _pairs(p: Problem) -> tuple[Tensor, Pairs, Tensor | None]:
    """List the allowed pairs, by number; where heads differ, answer too which of them each head may see, (H, P)."""
    listing = _listing(p)
    assert listing is not None
    numbers = listing.numbers(p.B, p.Lq, p.Lk, p.q.device)
    pairs = Pairs.of_numbers(numbers, p.B, p.H, p.Lq, p.Lk)
    conditions: list[Symbolic] = [*listing.rest, *(() if p.padding is None else (p.padding,))]
    allowed = None
    for mask in conditions:
        holds = mask.at(pairs)
        allowed = holds if allowed is None else allowed & holds
    if allowed is None or allowed.shape[0] > 1:
        return numbers, pairs, allowed
    numbers = numbers[allowed.expand(1, numbers.numel())[0]]
    return numbers, Pairs.of_numbers(numbers, p.B, p.H, p.Lq, p.Lk), None


def _is_finite(x: Tensor) -> bool:
    """Whether no number is NaN or infinite: then neither is the sum. A sum that overflows is looked at more closely."""
    x = x.detach()
    return bool(x.sum().isfinite()) or bool(x.isfinite().all())


def _by_row(value: float | Tensor) -> float | Tensor:
    return value[:, None] if isinstance(value, Tensor) and value.ndim else value


def _by_head_first(x: Tensor, p: Problem) -> Tensor:
    """Answer (B, H, L, d) as (H, B * L, d), in the dtype of the logits."""
    return x.transpose(0, 1).reshape(x.shape[1], x.shape[0] * x.shape[2], x.shape[3]).to(p.compute_dtype)


class _Strange(NamedTuple):
    """What is not finite, by pair: in the logits, (H or 1, P), and in the values."""

    ragged: Ragged
    logits: Tensor
    values: Tensor

    @classmethod
    def of(cls, p: Problem, ragged: Ragged) -> _Strange:
        bad = [~x.isfinite().all(dim=-1).transpose(0, 1).flatten(1) for x in (p.q, p.k, p.v)]
        q_bad, k_bad, v_bad = bad[0], *(x.repeat_interleave(p.groups, dim=0) for x in bad[1:])
        logits = k_bad.index_select(1, ragged.col) | ragged.spread(q_bad)
        return cls(ragged, logits, v_bad.index_select(1, ragged.col))

    def clean(self, allowed: Tensor | None, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Rule out the pairs whose bias is -inf; note where it is not finite, and put 0 there."""
        finite, ruled_out = bias.isfinite(), torch.isneginf(bias)
        self.logits.logical_or_(~finite)
        allowed = ~ruled_out if allowed is None else allowed & ~ruled_out
        return allowed, torch.where(finite & allowed, bias, 0.0)

    def rows(self, allowed: Tensor) -> tuple[Tensor, Tensor]:
        """Say which queries see what is not finite, in the logits and in the values."""
        return self.ragged.any(allowed & self.logits), self.ragged.any(allowed & self.values)


class _Dropout(NamedTuple):
    """The weights that dropout keeps, computed anew each time."""

    seed: Tensor
    p: float
    pairs: Pairs

    def __call__(self, numbers: Tensor) -> Tensor:
        """Drop, and divide what stays by 1 - p; in place."""
        pairs = self.pairs
        heads = torch.arange(pairs.H, device=numbers.device)[:, None]
        keep = torch.empty_like(numbers)
        dropout.keep(self.seed, self.p, pairs.item, heads, pairs.query, pairs.key, pairs.H, out=keep)
        return numbers.mul_(keep.div_(1.0 - self.p))


class _Call(NamedTuple):
    """What one call of `_Gathered` needs beside tensors that carry gradients."""

    ragged: Ragged
    factor: float
    allowed: Tensor | None
    drop: _Dropout | None
    wants_entropy: bool


class _Gathered(torch.autograd.Function):
    """(q, k, v, bias) -> (out, lse, entropy, weights), all in ragged form."""

    @staticmethod
    def forward(
        ctx: Any, call: _Call, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        ragged = call.ragged
        logits = ragged.dots(q, k, call.factor)
        if bias is not None:
            logits.add_(bias)
        if call.allowed is not None:
            logits.masked_fill_(~call.allowed, -torch.inf)
        peak = ragged.amax(logits)
        base = torch.where(peak == -torch.inf, 0.0, peak)
        weights = logits.sub_(ragged.spread(base)).exp_()
        total = ragged.sum(weights)
        safe = torch.where(total > 0, total, 1.0)
        weights.mul_(ragged.spread(safe.reciprocal()))
        lse = peak + safe.log()
        entropy = ragged.sum(torch.xlogy(weights, weights)).neg_() if call.wants_entropy else torch.zeros_like(lse)
        kept = weights if call.drop is None else call.drop(weights.clone())
        ctx.call, ctx.bias_shape = call, None if bias is None else bias.shape
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(q, k, v, weights, lse, entropy)
        return ragged.mix(kept, v), lse, entropy, weights

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "backend: expected 'reference' for second derivatives (create_graph=True), got 'gathered', "
                "which has none"
            )
        call: _Call = ctx.call
        ragged = call.ragged
        q, k, v, weights, lse, entropy = ctx.saved_tensors
        d_out, d_lse, d_entropy, d_pair = gradients
        _, wants_q, wants_k, wants_v, wants_bias = ctx.needs_input_grad
        dq = dk = dv = d_bias = None
        dead = lse == -torch.inf
        d_out = None if d_out is None else d_out.contiguous()
        d_weights = torch.zeros_like(weights) if d_out is None else ragged.dots(d_out, v)
        if call.drop is not None:
            call.drop(d_weights)
        if d_pair is not None:
            d_weights += d_pair
        if wants_v and d_out is not None:
            dv = ragged.mix_back(weights if call.drop is None else call.drop(weights.clone()), d_out)
        delta = ragged.sum(weights * d_weights)
        if d_lse is not None:
            delta -= d_lse.masked_fill(dead, 0.0)
        d_logits = d_weights.sub_(ragged.spread(delta)).mul_(weights)
        if d_entropy is not None:
            surprise = torch.xlogy(weights, weights).addcmul_(weights, ragged.spread(entropy))
            d_logits.sub_(surprise.mul_(ragged.spread(d_entropy.masked_fill(dead, 0.0))))
        if wants_bias:
            d_bias = d_logits.sum_to_size(ctx.bias_shape)
        if wants_q:
            dq = ragged.mix(d_logits, k).mul_(call.factor)
        if wants_k:
            dk = ragged.mix_back(d_logits, q).mul_(call.factor)
        return None, dq, dk, dv, d_bias
