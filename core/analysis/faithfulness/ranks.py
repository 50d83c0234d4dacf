"""Do two rankings of an item's units agree? Kendall's tau, Spearman's rho, bootstrap and permutation, in batches.

scipy ranks one pair of vectors a call; a permutation test of many items needs a hundred thousand such calls. These
functions take all items at once and are tested against scipy.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Estimate(NamedTuple):
    """A mean over items with a bootstrap confidence interval (95%, percentile)."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def kendall(a: Tensor, b: Tensor, valid: Tensor) -> Tensor:
    """Kendall's tau-b of every item: (concordant - discordant pairs) / sqrt(pairs not tied in a * same in b).

    A constant `a` ranks nothing: 0. NaN where b is constant or fewer than two units are valid.

    Args:
        a: one ranking, (B, n).
        b: the other, (B, n).
        valid: the units that exist, (B, n).
    """
    left, right = _signs(a, valid), _signs(b, valid)
    ties = (left.square().sum((1, 2)) * right.square().sum((1, 2))).sqrt()
    tau = (left * right).sum((1, 2)) / ties.clamp(min=1)
    return torch.where(right.any(-1).any(-1), tau, torch.nan)


def spearman(a: Tensor, b: Tensor, valid: Tensor) -> Tensor:
    """Spearman's rho of every item: the correlation of the ranks, ties at their mean rank. Else as `kendall`."""
    left, right = (_standard(_ranks(x, valid), valid) for x in (a, b))
    return torch.where(right.any(-1), (left * right).sum(1), torch.nan)


def bootstrap(values: Tensor, generator: torch.Generator, resamples: int = 2000) -> Estimate:
    """The mean of the items that are not NaN, and the 2.5% and 97.5% quantiles of means of resampled items.

    Args:
        values: one per item, (B,).
        generator: draws the resamples, on the CPU.
        resamples: how many.
    """
    kept = values.detach().double().cpu()
    kept = kept[~kept.isnan()]
    if not len(kept):
        return Estimate(float("nan"), float("nan"), float("nan"))
    picked = torch.randint(len(kept), (resamples, len(kept)), generator=generator)
    low, high = kept[picked].mean(1).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return Estimate(kept.mean().item(), low, high)


def permutation_p(a: Tensor, b: Tensor, valid: Tensor, generator: torch.Generator, permutations: int = 999) -> float:
    """One-sided p-value of the mean Kendall tau: how often is it as high with a's units permuted within every item?

        p = (1 + #{permuted mean >= observed mean}) / (1 + permutations)

    Args:
        a: the ranking that is permuted, (B, n).
        b: the other, (B, n).
        valid: the units that exist, (B, n).
        generator: draws the permutations, on the CPU.
        permutations: how many.

    Returns:
        NaN where no item has a defined tau.
    """
    left, right = _signs(a, valid), _signs(b, valid)
    defined = right.any(-1).any(-1)
    if not defined.any():
        return float("nan")
    left, right, valid = left[defined], right[defined], valid[defined]
    ties = (left.square().sum((1, 2)) * right.square().sum((1, 2))).sqrt().clamp(min=1)
    right = right / ties[:, None, None]
    observed = (left * right).sum() / len(left)
    rows = torch.arange(len(left), device=a.device)[:, None]
    higher = 0
    for _ in range(permutations):
        order = shuffled(valid, generator)
        moved = left[rows[:, :, None], order[:, :, None], order[:, None, :]]
        higher += int(((moved * right).sum() / len(left) >= observed - 1e-9).item())
    return (1 + higher) / (1 + permutations)


def shuffled(valid: Tensor, generator: torch.Generator) -> Tensor:
    """A permutation of every row's valid places, (..., n); the other places stay.

    Args:
        valid: the places that may move, (..., n), bool.
        generator: draws it, on the CPU.
    """
    draw = torch.rand(valid.shape, generator=generator, dtype=torch.float64).to(valid.device)
    places = torch.arange(valid.shape[-1], device=valid.device).expand(valid.shape)
    targets = places.masked_fill(~valid, valid.shape[-1]).sort(-1).values  # valid places first, in order
    sources = draw.masked_fill(~valid, 2.0).argsort(-1)  # valid places first, in random order
    order = torch.cat([places, places[..., :1]], -1)
    return order.scatter(-1, targets, sources)[..., :-1]


def _signs(x: Tensor, valid: Tensor) -> Tensor:
    """sign(x_u - x_w) over pairs of valid units: (B, n, n)."""
    signs = (x[:, :, None] - x[:, None, :]).sign()
    return torch.where(valid[:, :, None] & valid[:, None, :], signs, 0.0)


def _ranks(x: Tensor, valid: Tensor) -> Tensor:
    """Rank of every valid unit, ties at their mean: the number of lower ones plus half that of equal ones."""
    return (_signs(x, valid).sum(-1) + valid.sum(-1, keepdim=True) + 1) / 2


def _standard(ranks: Tensor, valid: Tensor) -> Tensor:
    """Ranks centred and scaled to norm 1 over the valid units; 0 where they are constant."""
    total = valid.sum(-1, keepdim=True).clamp(min=1)
    centred = torch.where(valid, ranks - ranks.masked_fill(~valid, 0.0).sum(-1, keepdim=True) / total, 0.0)
    scaled: Tensor = centred / centred.norm(dim=-1, keepdim=True).clamp(min=1e-12)
    return scaled
