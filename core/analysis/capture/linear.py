"""Statistics that are linear in the weights, without the weights: E_i = sum_j w_ij f_ij in memory linear in length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict, Unpack

import torch
from torch import Tensor

from ...attend import attend
from ...backends.banded.band import BandCut, band_of, global_positions
from ...backends.gathered.pair_list import Listing
from ...biases import Alibi, Bias, KeyBias
from ...engine.problem import AttentionOutput, Problem, by_head, features, pose
from ...masks import Mask
from ...scores import Dot, Score
from ...symbols.part import Pairs
from ...tiles.tiles import Cut, Grid
from ...tiles.tiling import expect_by_tiles
from .cut import altered, solve

PAIRS = 1 << 16  # listed pairs that are looked at in one go


class Arguments(TypedDict, total=False):
    """What `linear_statistic` takes by keyword."""

    mask: Mask | None
    bias: Bias | None
    score: Score
    scale: float | Tensor | None
    temperature: float | Tensor
    backend: str


@torch.no_grad()
def linear_statistic(
    q: Tensor,
    k: Tensor,
    statistic: Bias | Mask,
    *,
    mask: Mask | None = None,
    bias: Bias | None = None,
    score: Score = Dot(),  # noqa: B008  # frozen, without state
    scale: float | Tensor | None = None,
    temperature: float | Tensor = 1.0,
    backend: str = "auto",
) -> Tensor:
    """Answer the mean of a statistic of pairs under each query's weights, without holding the weights.

        E_bhi = sum_j w_bhij f_bhij,   w = softmax over the allowed j of the logits

    The log-sum-exp comes from `attend`; then one more pass over just the pairs that can be allowed adds up
    exp(logit - lse) f: the listed pairs of neighbours and edges, the band of a window, tiles for the rest. A statistic
    of the key alone is the output of `attend` with that statistic as the value. No gradient is recorded.

    Args:
        q: Queries.
        k: Keys.
        statistic: f. A bias of `core.biases` stands for its number at each pair (`Alibi(-1.0)` is the distance in
            positions, `TimeDecay(times, -1.0)` that in time, `EdgeBias` what stands on the edges); a mask of
            `core.masks` counts 1 where it allows, so that the answer is the weight on it.
        mask: As in `attend`.
        bias: As in `attend`.
        score: As in `attend`.
        scale: As in `attend`.
        temperature: As in `attend`.
        backend: Which backend computes the log-sum-exp.

    Shapes:
        q: (B, H, Lq, D).
        k: (B, Hk, Lk, D).
        Answer: (B, H, Lq), float32 or wider; 0 in a dead row.

    Raises:
        TypeError: An argument is of the wrong kind.
        ValueError: As `attend`; or the statistic does not fit the sizes.
    """
    p = pose(
        q,
        k,
        k,
        mask=mask,
        bias=bias,
        score=score,
        scale=scale,
        temperature=temperature,
        dropout_p=0.0,
        need=("lse",),
    )
    if not isinstance(statistic, (Bias, Mask)):
        raise TypeError(f"statistic: expected a core.biases.Bias or core.masks.Mask, got a {type(statistic).__name__}")
    again: dict[str, Any] = {"mask": mask, "bias": bias, "score": score, "scale": scale, "temperature": temperature}
    if isinstance(statistic, KeyBias) and p.groups == 1:
        statistic.validate(p.B, p.H, p.Lq, p.Lk, q.device)
        v = statistic.value.to(p.compute_dtype)
        v = (v if v.ndim == 3 else v[:, None].expand(-1, p.H, -1))[..., None]
        mean: Tensor = attend(q.to(v.dtype), k.to(v.dtype), v, backend=backend, **again)
        return mean[..., 0]
    answer: AttentionOutput = attend(q, k, k, need=("lse",), backend=backend, **again)
    assert answer.lse is not None
    return _expect(p, answer.lse, statistic)


@torch.no_grad()
def expectation(problem: Problem, statistic: Bias | Mask) -> Tensor:
    """Answer `linear_statistic` for a problem as an observer of `core.engine.observe` receives it.

    Args:
        problem: The problem; its values and its dropout do not matter.
        statistic: f, as in `linear_statistic`.

    Shapes:
        Answer: (B, H, Lq).

    Raises:
        ValueError: The statistic does not fit the sizes.
    """
    p = altered(problem, v=problem.k)
    lse = solve(p, ("lse",)).lse
    assert lse is not None
    return _expect(p, lse, statistic)


def _expect(p: Problem, lse: Tensor, statistic: Bias | Mask) -> Tensor:
    statistic.validate(p.B, p.H, p.Lq, p.Lk, p.q.device)
    listing = None if p.pattern is None else Listing.of(p.pattern, p.B, p.Lq, p.Lk)
    if listing is not None and listing.count * 4 < p.B * p.Lq * p.Lk:
        return _over_pairs(p, listing, lse, statistic)
    return expect_by_tiles(p, lse, statistic, _cut(p))


def mean_distance(q: Tensor, k: Tensor, **arguments: Unpack[Arguments]) -> Tensor:
    """Answer how far each query looks on average, sum_j w_ij |j - i|, in positions.

    The last query stands at the last key. For other distances see `linear_statistic`.

    Args:
        q: Queries.
        k: Keys.
        **arguments: As in `linear_statistic`.

    Shapes:
        q: (B, H, Lq, D).
        k: (B, Hk, Lk, D).
        Answer: (B, H, Lq).
    """
    return linear_statistic(q, k, Alibi(-1.0), **arguments)


def mass(q: Tensor, k: Tensor, on: Mask, **arguments: Unpack[Arguments]) -> Tensor:
    """Answer the weight that each query puts on the pairs of a mask, sum_j w_ij [on allows (i, j)].

    Args:
        q: Queries.
        k: Keys.
        on: The pairs that count, such as `masks.Edges(...)` or `masks.Window(8, 8)`.
        **arguments: As in `linear_statistic`.

    Shapes:
        q: (B, H, Lq, D).
        k: (B, Hk, Lk, D).
        Answer: (B, H, Lq), from 0 to 1.
    """
    if not isinstance(on, Mask):
        raise TypeError(f"on: expected a core.masks.Mask, got a {type(on).__name__}")
    return linear_statistic(q, k, on, **arguments)


def _cut(p: Problem) -> Cut:
    band = band_of(p.pattern)
    return Grid() if band is None else BandCut(band, global_positions(band, p.B))


def _over_pairs(p: Problem, listing: Listing, lse: Tensor, statistic: Bias | Mask) -> Tensor:
    """Add up over listed pairs, some at a time."""
    numbers = listing.numbers(p.B, p.Lq, p.Lk, p.q.device)
    answer = torch.zeros_like(lse)
    rows = answer.movedim(1, 0).reshape(p.H, -1)  # a copy, (H, B * Lq), which is put back below
    for chunk in torch.split(numbers, PAIRS):
        pairs = Pairs(p.B, p.H, p.Lq, p.Lk, chunk // (p.Lq * p.Lk), chunk // p.Lk % p.Lq, chunk % p.Lk)
        allowed, logits = _at_pairs(p, listing, pairs)
        base = lse.movedim(1, 0)[:, pairs.item, pairs.query]
        weights = torch.where(allowed, (logits - base).exp(), 0.0)
        value = statistic._at(pairs).to(weights.dtype)
        rows.index_add_(1, chunk // p.Lk, weights * torch.where(weights == 0, 0.0, value))
    return rows.view(p.H, p.B, p.Lq).movedim(0, 1)


def _at_pairs(p: Problem, listing: Listing, pairs: Pairs) -> tuple[Tensor, Tensor]:
    """Answer which listed pairs are allowed, and their logits, (H or 1, n) and (H, n)."""
    dtype = p.compute_dtype
    q = p.q.movedim(1, 0)[:, pairs.item, pairs.query].to(dtype)
    k = p.k.movedim(1, 0)[:, pairs.item, pairs.key].to(dtype)
    factor, q, k = features(p, q, k)
    factor = factor[..., 0] if isinstance(factor, Tensor) and factor.ndim else factor
    logits = factor * (q * k.repeat_interleave(p.groups, dim=0)).sum(dim=-1)
    allowed = torch.ones((1, 1), dtype=torch.bool, device=logits.device)
    parts: Sequence[Mask | None] = (listing.rest, p.padding)
    for part in parts:
        if part is not None:
            allowed = allowed & part._at(pairs)
    if p.bias is not None:
        logits = logits + p.bias._at(pairs).to(dtype) / by_head(p.temperature, 1)
        allowed = allowed & ~torch.isneginf(logits)
    return allowed, logits
