"""Why dot products are scaled: the variance of logits, and what saturated softmax leaves of the gradient."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from .gaussian import integral


class Moments(NamedTuple):
    """Variance and excess kurtosis of a distribution with mean 0."""

    variance: float
    excess_kurtosis: float


def dot_product_moments(dim: int, query_sigma: float = 1.0, key_sigma: float = 1.0) -> Moments:
    """Moments of q . k for independent normal components with mean 0.

        Var(q . k) = d sigma_q^2 sigma_k^2,  excess kurtosis = 6 / d

    The variance needs independence alone. The kurtosis is that of normal components: the product of two independent
    standard normals has fourth moment 9, hence fourth cumulant 6, and cumulants add over the d components.

    Args:
        dim: d, features of a head.
        query_sigma: standard deviation of a query's components.
        key_sigma: standard deviation of a key's components.

    Raises:
        ValueError: dim or a standard deviation is not positive.

    References:
        Vaswani et al., Attention is all you need, NeurIPS 2017, section 3.2.1, footnote 4.
    """
    if dim < 1:
        raise ValueError(f"dim: expected at least 1, got {dim}")
    _check_positive(query_sigma=query_sigma, key_sigma=key_sigma)
    return Moments(dim * query_sigma**2 * key_sigma**2, 6.0 / dim)


def variance_standard_error(moments: Moments, samples: int) -> float:
    """Standard error of the sample variance s^2 of n independent draws.

        Var(s^2) = variance^2 (2 / (n - 1) + excess kurtosis / n)

    Args:
        moments: of the distribution drawn from.
        samples: n, at least 2.

    Raises:
        ValueError: fewer than 2 samples.

    References:
        Kenney and Keeping, Mathematics of statistics, part 2, 2nd edition, 1951, section 7.11.
    """
    if samples < 2:
        raise ValueError(f"samples: expected at least 2, got {samples}")
    return moments.variance * math.sqrt(2.0 / (samples - 1) + moments.excess_kurtosis / samples)


def softmax_jacobian(weights: Tensor) -> Tensor:
    """Jacobian of softmax at its answer p: d p_i / d logit_j = p_i (1[i = j] - p_j), that is diag(p) - p p^T.

    Shapes:
        weights: (..., L), rows that sum to 1; out: (..., L, L).
    """
    return torch.diag_embed(weights) - weights[..., :, None] * weights[..., None, :]


def softmax_jacobian_norm(weights: Tensor) -> Tensor:
    """Frobenius norm of diag(p) - p p^T without building it.

        |J|^2 = sum_i p_i^2 (1 - p_i)^2 + sum_(i != j) p_i^2 p_j^2

    It is 0 for one-hot weights and 1 / sqrt(2) at most, for two equal weights. The largest weight is counted apart: one
    minus it is the sum of the others, which keeps the relative precision where the norm is tiny.

    Shapes:
        weights: (..., L), rows that sum to 1; out: (...).
    """
    ordered = weights.sort(dim=-1, descending=True).values
    top, others = ordered[..., 0], ordered[..., 1:]
    rest = others.sum(-1)
    squares = others.square()
    mass = squares.sum(-1)
    diagonal = (top * rest).square() + (squares * (1 - others).square()).sum(-1)
    crossed = 2 * top.square() * mass + (mass.square() - squares.square().sum(-1)).clamp(min=0)
    return (diagonal + crossed).sqrt()


def top_gap_survival(gap: float | Tensor, keys: int, logit_sigma: float = 1.0) -> Tensor:
    """Probability that the largest of L independent normal logits leads the second by more than `gap`.

        P(gap > g) = L * integral of phi(y) Phi(y - g / sigma)^(L - 1) dy

    The largest weight obeys  sigmoid(gap - ln(L - 1)) <= p_max <= sigmoid(gap).  For a fixed query and normal keys the
    logits are exactly such draws, with sigma = scale * |q| * sigma_k.

    Args:
        gap: g, at least 0, in logits.
        keys: L, at least 2.
        logit_sigma: standard deviation of the logits.

    Shapes:
        gap: (...); out: (...), float64.

    Raises:
        ValueError: fewer than 2 keys, a negative gap, or a standard deviation that is not positive.
    """
    if keys < 2:
        raise ValueError(f"keys: expected at least 2, got {keys}")
    _check_positive(logit_sigma=logit_sigma)
    gaps = torch.as_tensor(gap, dtype=torch.float64)
    if (gaps < 0).any():
        raise ValueError(f"gap: expected at least 0, got {gaps.min().item()}")
    shift = gaps[..., None] / logit_sigma
    return keys * integral(lambda y: torch.exp((keys - 1) * torch.special.log_ndtr(y - shift)))


def median_top_gap(keys: int, logit_sigma: float = 1.0) -> float:
    """Median lead of the largest of L independent normal logits over the second: `top_gap_survival` = 1 / 2.

    It is proportional to logit_sigma, so unscaled dot products lead by sqrt(d) times more. For many keys it tends to
    sigma ln 2 / sqrt(2 ln L).

    Raises:
        ValueError: As `top_gap_survival`.
    """
    _check_positive(logit_sigma=logit_sigma)
    low, high = 0.0, 10.0
    for _ in range(60):
        middle = (low + high) / 2
        if top_gap_survival(middle, keys).item() > 0.5:
            low = middle
        else:
            high = middle
    return logit_sigma * (low + high) / 2


def _check_positive(**numbers: float) -> None:
    for name, value in numbers.items():
        if not value > 0:
            raise ValueError(f"{name}: expected a positive number, got {value}")
