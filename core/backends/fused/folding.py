"""Biases that separate into a part of the query and a part of the key become extra features of q and k.

    bias_ij = row_i + f_i . g_j   =>   softmax_j(q_i . k_j + bias_ij) = softmax_j([q_i, f_i] . [k_j, g_j])

The row's own part drops out of the softmax, and no L x L tensor is ever made, learnable or not:

    key bias b_j                                     f = 1            g = b_j
    Gaussian decay -r |x_i - x_j|^2                  f = r [2 x_i, -1]  g = [x_j, |x_j|^2]
    exponential decay -r |t_i - t_j|, t_j <= t_i     f = r            g = t_j
    ALiBi -s |i - j|, j <= i                         f = s            g = j
    Gaussian score -|q_i - k_j|^2 / 2                f = 1            g = -scale |k_j|^2 / 2

A feature rounds: a logit errs by about eps |f . g|. So times and positions are centred per item, and a bias whose
features are larger than `limit` is left alone. Values may be looked at only on the CPU outside torch.compile; where
it is not, only what needs no look is folded.

References:
    Wu et al.: FlashBias: Fast Computation of Attention with Bias. NeurIPS 2025, arXiv 2505.12044, section 3.
"""

from __future__ import annotations

from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor

from ...biases import Bias, Form, LinearFall, OffsetFall, PerKey, SquaredFall, Sum
from ...engine import Problem
from ...symbols import at_least_float32, per_head, values_are_visible


class Fold(NamedTuple):
    """What is folded and what is left.

    Shapes:
        query: (B, H, Lq, c), the features f of the queries, before scale and temperature.
        key: (B, Hk, Lk, c), the features g of the keys.
        row: broadcastable to (B, H, Lq), the row's own part, which the softmax does not see but lse does.
    """

    query: Tensor
    key: Tensor
    row: Tensor
    rest: Bias | None


class Columns(NamedTuple):
    """Features of one bias, broadcastable to (B, H, Lq, c), (B, Hk, Lk, c) and, the row's part, (B, H, Lq, 1)."""

    query: Tensor
    key: Tensor
    row: Tensor


def fold(p: Problem) -> Fold | None:
    """Fold what can be folded of the bias, and the score's own part of queries and keys.

    Returns:
        None if there is nothing to fold, or if what is left would still need a mask that requires grad: then folding
        saves nothing.
    """
    if p.q.dtype.itemsize < 4 or p.q.numel() == 0 or p.k.numel() == 0:
        return None  # features in half precision would round the bias, and nothing needs none
    folded: list[Columns] = []
    rest: list[Bias] = []
    for part in p.bias.leaves() if p.bias is not None else ():
        columns = _columns(p, part.form())
        folded.append(columns) if columns is not None else rest.append(part)
    if p.score.has_offset:
        columns = _offset(p)
        if columns is None:
            return None
        folded.append(columns)
    left = None if not rest else rest[0] if len(rest) == 1 else Sum(tuple(rest))
    if not folded or (left is not None and left.requires_grad()):
        return None
    sizes = (p.B, p.H, p.Lq), (p.B, p.k.shape[1], p.Lk)
    query = torch.cat([c.query.to(p.q.dtype).expand(*sizes[0], -1) for c in folded], dim=-1)
    key = torch.cat([c.key.to(p.q.dtype).expand(*sizes[1], -1) for c in folded], dim=-1)
    row = reduce(torch.add, (c.row for c in folded))[..., 0]
    return Fold(query, key, row, left)


def limit(dtype: torch.dtype) -> float:
    """Answer the largest |f . g| for which a logit's rounding stays well under the contract (1e-5, 1e-10)."""
    return {torch.float32: 64.0, torch.float64: 1e5}[dtype]


def _columns(p: Problem, form: Form | None) -> Columns | None:
    match form:
        case PerKey():
            return _per_key(p, form)
        case SquaredFall():
            return _gaussian(p, form)
        case LinearFall():
            return _exponential(p, form)
        case OffsetFall():
            return _by_offset(p, form)
    return None


def _per_key(p: Problem, form: PerKey) -> Columns | None:
    value = at_least_float32(form.value)
    if value.ndim == 3 and p.groups > 1:
        return None  # query heads that share a key would need several features of it
    if not values_are_visible(value) or not _within(value, p):
        return None
    one = value.new_ones(1, 1, 1, 1)
    return Columns(one, (value if value.ndim == 3 else value[:, None])[..., None], one - 1)


def _gaussian(p: Problem, form: SquaredFall) -> Columns | None:
    x, y, rate = form
    if not values_are_visible(x):
        return None
    cleaned = _centred(p, x, x if y is None else y)
    if cleaned is None:
        return None
    x, y = (z[:, None].to(p.q.dtype) for z in cleaned)
    squared = y.square().sum(dim=-1, keepdim=True)
    if not _within(_largest(rate) * max(float(squared.max()), float(x.square().sum(-1).max())) * 4, p):
        return None
    r = _per_query(rate, p)
    query = torch.cat([2 * r * x, -r * torch.ones_like(x[..., :1])], dim=-1)
    return Columns(query, torch.cat([y, squared], dim=-1), -r * x.square().sum(dim=-1, keepdim=True))


def _exponential(p: Problem, form: LinearFall) -> Columns | None:
    """Fold where every visible key is at most as late as its query: |t_i - t_j| = t_i - t_j."""
    if not _is_causal(p) or not values_are_visible(form.times):
        return None
    cleaned = _centred(p, form.times[..., None], form.times[..., None])
    if cleaned is None or not _is_sorted(p, cleaned[0][..., 0]):
        return None
    times = cleaned[0][:, None].to(p.q.dtype)
    if not _within(_largest(form.rate) * float(times.abs().max()), p):
        return None
    rate = _per_query(form.rate, p)
    return Columns(rate, times, -rate * times)


def _by_offset(p: Problem, form: OffsetFall) -> Columns | None:
    if not _is_causal(p):
        return None
    slopes = form.slopes
    if isinstance(slopes, Tensor) and not values_are_visible(slopes):
        return None
    if not _within(_largest(slopes) * p.Lk / 2, p):
        return None
    j = torch.arange(p.Lk, device=p.q.device, dtype=p.q.dtype) - (p.Lk - 1) / 2
    i = torch.arange(p.Lk - p.Lq, p.Lk, device=p.q.device, dtype=p.q.dtype) - (p.Lk - 1) / 2
    slope = _per_query(slopes, p)
    return Columns(slope, j[:, None], -slope * i[:, None])


def _offset(p: Problem) -> Columns | None:
    """Fold the score's own parts, scale * (a(q_i) + b(k_j)), b centred; what padding hides is not looked at."""
    if p.groups > 1 and isinstance(p.scale, Tensor) and p.scale.ndim:
        return None  # query heads that share a key would need several features of it
    keys, queries = _real(p)
    a = p.score.offset(p.q if queries is None else p.q.masked_fill(~queries[:, None, :, None], 0.0))
    b = p.score.offset(p.k if keys is None else p.k.masked_fill(~keys[:, None, :, None], 0.0))
    if a is None or b is None or not values_are_visible(b):
        return None
    middle = (b.detach().amin() + b.detach().amax()) / 2
    if not _within(_largest(p.scale) * float((b.detach() - middle).abs().amax()), p):
        return None
    scale = per_head(p.scale)
    return Columns(b.new_ones(1, 1, 1, 1), scale * (b - middle)[..., None], scale * (a + middle)[..., None])


def _is_causal(p: Problem) -> bool:
    return p.pattern is not None and any(part.is_causal for part in p.pattern.conjuncts())


def _is_sorted(p: Problem, times: Tensor) -> bool:
    """Whether no real key before a real query is later than it. Shapes: times (B, L)."""
    keys, queries = _real(p)
    seen = times if keys is None else times.masked_fill(~keys, -torch.inf)
    late = times < seen.cummax(dim=-1).values
    return not bool((late if queries is None else late & queries).any())


def _centred(p: Problem, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor] | None:
    """Answer positions of queries and keys around the middle of each item, 0 in the padding.

    None if one that is real is not finite. Centred in float64, where integers of time stamps are exact.
    """
    keys, queries = _real(p)
    x = x.double() if queries is None else x.double().masked_fill(~queries[..., None], torch.nan)
    y = y.double() if keys is None else y.double().masked_fill(~keys[..., None], torch.nan)
    for z, keep in ((x, queries), (y, keys)):
        finite = z.isfinite().all(dim=-1)
        if not bool((finite if keep is None else finite | ~keep).all()):
            return None
    both = torch.cat([x, y], dim=1)
    low = both.nan_to_num(nan=torch.inf).amin(dim=1, keepdim=True) if both.shape[1] else both.sum(dim=1, keepdim=True)
    high = both.nan_to_num(nan=-torch.inf).amax(dim=1, keepdim=True) if both.shape[1] else low
    middle = torch.where(low <= high, (low + high) / 2, 0.0)
    return (x - middle).nan_to_num(nan=0.0), (y - middle).nan_to_num(nan=0.0)


def _real(p: Problem) -> tuple[Tensor | None, Tensor | None]:
    if p.padding is None:
        return None, None
    return p.padding.keep_keys(p.Lk), p.padding.keep_queries(p.Lq)


def _per_query(rate: float | Tensor, p: Problem) -> Tensor:
    """Shape a number or one per head as a feature of the queries, (1, H or 1, 1, 1)."""
    if not isinstance(rate, Tensor):
        return torch.full((1, 1, 1, 1), float(rate), dtype=p.q.dtype, device=p.q.device)
    return at_least_float32(rate).reshape(1, -1, 1, 1)


def _largest(rate: float | Tensor) -> float:
    return float(rate.detach().abs().max()) if isinstance(rate, Tensor) else abs(rate)


def _within(size: float | Tensor, p: Problem) -> bool:
    if isinstance(size, Tensor):
        size = float(size.detach().abs().max()) if size.numel() else 0.0
    numbers = p.temperature.detach().min() if isinstance(p.temperature, Tensor) else p.temperature
    return size / float(numbers) <= limit(p.q.dtype)  # False for NaN
