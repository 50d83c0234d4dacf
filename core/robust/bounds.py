r"""How much of a query's attention one key can take, derived from norms.

With |q| <= Q, |k| <= c, scale s, temperature T and biases b that differ by at most R within a row, the logits of a
query are (s score(q, k_j) + b_j) / T. Two of them differ by at most the *width*

    Dot       w = (2 |s| Q c + R) / T              -Q c <= q . k <= Q c
    Cosine    w = (2 |s| + R) / T                  the same with Q = c = 1
    Gaussian  w = (|s| (Q + c)^2 / 2 + R) / T      -(Q + c)^2 / 2 <= -|q - k|^2 / 2 <= 0

A key j that competes with L - 1 others therefore has

    weight_j = 1 / (1 + sum_{l != j} e^(logit_l - logit_j)) <= 1 / (1 + (L - 1) e^-w) = e^w / (e^w + L - 1)

whatever its input was; m keys together take at most m e^w / (m e^w + L - m). For Dot and Cosine with R = 0 the bound is
tight: it is reached by a key c q / |q| among keys -c q / |q| for a query of norm Q. With biases it is tight where the
injected key has the largest bias and all others the smallest. L counts the keys that the query may see, the injected
ones among them.

It is at most a exactly when w <= ln(a (L - m) / ((1 - a) m)). For one of L = 64 keys to take no more than a = .2 needs
w <= ln 15.75 = 2.757, which is s Q c / T <= 1.378 for Dot and s / T <= 1.378 for Cosine. Less than the uniform share
m / L cannot be asked for.

The weight is bounded, not the value behind it: a key that takes a of the attention moves the output of the head, away
from what it was without that key, by at most a (|v_j| + max_l |v_l|).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ..scores import Cosine, Dot, Score


def logit_width(
    score: Score,
    *,
    scale: float | Tensor,
    query_norm: float | Tensor = 1.0,
    key_norm: float | Tensor = 1.0,
    temperature: float | Tensor = 1.0,
    bias_range: float | Tensor = 0.0,
) -> float | Tensor:
    """The largest difference between two logits of one query, w; see the head of this module.

    Args:
        score: how queries and keys are compared.
        scale: s.
        query_norm: Q; Cosine does not look at it.
        key_norm: c; Cosine does not look at it.
        temperature: T.
        bias_range: R, the largest difference of two biases of one query.
    """
    s: Any = scale  # numbers or tensors
    q: Any = query_norm
    c: Any = key_norm
    spread = 2.0 if isinstance(score, Cosine) else 2.0 * q * c if isinstance(score, Dot) else (q + c) ** 2 / 2.0
    width: float | Tensor = (abs(s) * spread + bias_range) / temperature
    return width


def capture_bound(length: int | Tensor, width: float | Tensor, *, injected: int = 1) -> Tensor:
    """The most attention that `injected` of `length` keys can take: m e^w / (m e^w + L - m).

    Args:
        length: L, the keys that a query may see, the injected ones among them.
        width: w, from `logit_width`.
        injected: m.

    Shapes:
        length, width: any that broadcast; out: their shape, float64.

    Raises:
        ValueError: injected < 1, or more than length.
    """
    count = torch.as_tensor(length, dtype=torch.float64)
    if injected < 1 or bool((count < injected).any()):
        raise ValueError(f"injected: expected 1 to length = {int(count.min())} keys, got {injected}")
    spread = torch.as_tensor(width, dtype=torch.float64, device=count.device)
    return torch.sigmoid(spread + math.log(injected) - (count - injected).log())


def width_for(captured: float, length: int, *, injected: int = 1) -> float:
    """The width at which `capture_bound` is `captured`: w = ln(a (L - m) / ((1 - a) m)).

    Args:
        captured: a, above m / L and below 1.
        length: L.
        injected: m.

    Raises:
        ValueError: a is not between the uniform share and 1.
    """
    if not 1 <= injected < length:
        raise ValueError(f"injected: expected 1 to length - 1 = {length - 1} keys, got {injected}")
    share = injected / length
    if not share < captured < 1:
        raise ValueError(f"captured: expected above the uniform share {share:.4g} and below 1, got {captured}")
    return math.log(captured * (length - injected) / ((1 - captured) * injected))


def norm_limit_for(
    captured: float,
    length: int,
    *,
    scale: float,
    query_norm: float | None = None,
    temperature: float = 1.0,
    bias_range: float = 0.0,
    injected: int = 1,
) -> float:
    """The key-norm limit c under which dot-product attention is captured by no more than `captured`.

        c = (T w - R) / (2 s Q);  c = Q = sqrt((T w - R) / (2 s)) where queries are limited to the same norm

    Args:
        captured: a, above m / L and below 1.
        length: L.
        scale: s.
        query_norm: Q; None for queries that are limited to the same norm as keys (`query_norm_limit`).
        temperature: T.
        bias_range: R.
        injected: m.

    Raises:
        ValueError: a cannot be had, or the biases alone reach it.
    """
    product = _product(captured, length, scale, temperature, bias_range, injected) / scale
    return math.sqrt(product) if query_norm is None else product / query_norm


def cosine_scale_for(
    captured: float, length: int, *, temperature: float = 1.0, bias_range: float = 0.0, injected: int = 1
) -> float:
    """The scale s under which cosine attention is captured by no more than `captured`: s = (T w - R) / 2.

    Args:
        captured: a, above m / L and below 1.
        length: L.
        temperature: T.
        bias_range: R.
        injected: m.

    Raises:
        ValueError: a cannot be had, or the biases alone reach it.
    """
    return _product(captured, length, 1.0, temperature, bias_range, injected)


def _product(captured: float, length: int, scale: float, temperature: float, bias_range: float, injected: int) -> float:
    """What s Q c may be: (T w - R) / 2."""
    if not (scale > 0 and temperature > 0):
        raise ValueError(f"scale, temperature: expected numbers above 0, got {scale} and {temperature}")
    product = (temperature * width_for(captured, length, injected=injected) - bias_range) / 2
    if product <= 0:
        raise ValueError(f"bias_range: expected below {bias_range + 2 * product:.4g}, got {bias_range}")
    return product
