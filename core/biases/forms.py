"""What a bias may say of itself so that a kernel without biases computes it: as extra features of queries and keys.

A bias that answers one of these from `form` promises to equal it at every pair. What is made of it, and where, is the
backend's business.
"""

from typing import NamedTuple

from torch import Tensor


class PerKey(NamedTuple):
    """bias(b, h, i, j) = value[b, h, j]; value is (B, Lk) or (B, H, Lk)."""

    value: Tensor


class SquaredFall(NamedTuple):
    """bias(b, h, i, j) = -rate[h] |x[b, i] - y[b, j]|^2; x is (B, Lq, n), y (B, Lk, n), x itself where it is None."""

    x: Tensor
    y: Tensor | None
    rate: float | Tensor


class LinearFall(NamedTuple):
    """bias(b, h, i, j) = -rate[h] |times[b, i] - times[b, j]|; times is (B, L)."""

    times: Tensor
    rate: float | Tensor


class OffsetFall(NamedTuple):
    """bias(h, i, j) = -slopes[h] |j - i|."""

    slopes: float | Tensor


Form = PerKey | SquaredFall | LinearFall | OffsetFall
