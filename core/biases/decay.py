"""Biases that fall with distance, in time or in space: the weights decay with a half-life or a half-distance."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from operator import add
from typing import Literal, get_args

import torch
from torch import Tensor

from ..symbols import (
    Mod,
    Pairs,
    Part,
    Sizes,
    Symbolic,
    at_least_float32,
    check_constant,
    check_per_head,
    check_times,
    expect_shape,
    node,
    of_one_dtype,
    read,
)
from .base import DistanceBias, fall_mod
from .forms import Form, LinearFall, SquaredFall

MOST_COORDINATES = 8  # of a position in an elementwise form, in which each is one more pair of reads

Kernel = Literal["exponential", "logarithmic", "gaussian"]


def decay_kernel(kernel: Kernel, d: Tensor) -> Tensor:
    """f(d) = d (exponential), log(1 + d) (logarithmic) or d^2 (gaussian): named after what they do to the weights."""
    if kernel == "exponential":
        return d
    return _log1p(d) if kernel == "logarithmic" else d.square()


def _log1p(d: Tensor) -> Tensor:
    """log(1 + d), d >= 0; in float32 by log, which is ten times faster than log1p and whose rounding is made good.

    With u = fl(1 + d): log(1 + d) = log(u) + log(1 + (d - (u - 1)) / u), where d - (u - 1) is exact.
    """
    if d.dtype != torch.float32:
        return torch.log1p(d)
    u = d + 1.0
    lost = (d - (u - 1.0)).nan_to_num_(nan=0.0)  # inf - inf
    return u.log().add_(lost.div_(u))


@node
class TimeDecay(DistanceBias):
    """bias(b, h, i, j) = -rate[h] * f(|times[b, i] - key_times[b, j]|), f(d) = d, log(1 + d) or d^2.

    With the exponential kernel a weight halves every temperature * ln 2 / rate units of time.

    Args:
        times: Times of the queries in the data's unit, integer or floating. Differences are taken in their own dtype,
            so large integer times (such as seconds since an epoch) lose nothing.
        rate: Decay per unit of f; a number, or a tensor that may require grad.
        kernel: f, by the shape it gives the weights: "exponential", "logarithmic" or "gaussian".
        key_times: Times of the keys; None means those of the queries.

    Shapes:
        times: (B, Lq).
        rate: scalar or (H,).
        key_times: (B, Lk), required when Lq != Lk.

    Raises:
        TypeError: times or key_times is not a tensor.
        ValueError: A shape does not fit, the kernel is unknown, or times require grad.
    """

    times: Tensor
    rate: float | Tensor
    kernel: Kernel = "exponential"
    key_times: Tensor | None = None

    def __post_init__(self) -> None:
        check_constant("TimeDecay.times", self.times)
        if self.key_times is not None:
            check_constant("TimeDecay.key_times", self.key_times)
        _check_kernel("TimeDecay", self.kernel)

    def check_sizes(self, B: int, H: int, Lq: int, Lk: int) -> None:
        check_times("TimeDecay", self.times, self.key_times, B, Lq, Lk)
        check_per_head("TimeDecay.rate", self.rate, H)

    def rates(self) -> float | Tensor:
        return self.rate

    def distance(self, part: Part) -> Tensor:
        times = _exact(self.times[part.items, part.rows])
        key_times = _exact((self.times if self.key_times is None else self.key_times)[part.items, part.cols])
        distance = at_least_float32((times[:, :, None] - key_times[:, None, :]).abs())
        return decay_kernel(self.kernel, distance)

    def distance_at(self, pairs: Pairs) -> Tensor:
        times = _exact(self.times)[pairs.item, pairs.query]
        key_times = _exact(self.times if self.key_times is None else self.key_times)[pairs.item, pairs.key]
        return decay_kernel(self.kernel, at_least_float32((times - key_times).abs()))

    def form(self) -> Form | None:
        if self.kernel == "gaussian":
            return SquaredFall(
                self.times[..., None], None if self.key_times is None else self.key_times[..., None], self.rate
            )
        is_linear = self.kernel == "exponential" and self.key_times is None
        return LinearFall(self.times, self.rate) if is_linear else None

    def elementwise(self, sizes: Sizes) -> Mod:
        times, key_times = (_exact(x) for x in of_one_dtype(self.times, self.key_times))
        own, other = read(times, "bi", sizes), read(key_times, "bj", sizes)

        def distance(b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
            return (own(b, h, i, j) - other(b, h, i, j)).abs().float()

        return fall_mod(distance, self.kernel, self.rate, sizes)


@node
class DistanceDecay(DistanceBias):
    """bias(b, h, i, j) = -rate[h] * f(|x_i - y_j|) with the Euclidean norm; f as in TimeDecay.

    Args:
        positions: Positions of the queries, in the data's unit.
        rate: Decay per unit of f; a number, or a tensor that may require grad.
        kernel: f, by the shape it gives the weights: "exponential", "logarithmic" or "gaussian".
        key_positions: Positions of the keys; None means those of the queries.

    Shapes:
        positions: (B, Lq, n).
        rate: scalar or (H,).
        key_positions: (B, Lk, n), required when Lq != Lk.

    Raises:
        TypeError: positions or key_positions is not a tensor.
        ValueError: A shape does not fit, the kernel is unknown, or positions require grad.
    """

    positions: Tensor
    rate: float | Tensor
    kernel: Kernel = "exponential"
    key_positions: Tensor | None = None

    def __post_init__(self) -> None:
        check_constant("DistanceDecay.positions", self.positions)
        if self.key_positions is not None:
            check_constant("DistanceDecay.key_positions", self.key_positions)
        _check_kernel("DistanceDecay", self.kernel)

    def check_sizes(self, B: int, H: int, Lq: int, Lk: int) -> None:
        x, y = self.positions, self.key_positions
        expect_shape("DistanceDecay.positions", x, x.ndim == 3 and tuple(x.shape[:2]) == (B, Lq), f"({B}, {Lq}, n)")
        if y is not None:
            expected = (B, Lk, x.shape[2])
            expect_shape("DistanceDecay.key_positions", y, tuple(y.shape) == expected, f"(B, Lk, n) = {expected}")
        elif Lq != Lk:
            raise ValueError(
                f"DistanceDecay.key_positions: expected a tensor where Lq ({Lq}) differs from Lk ({Lk}), got None"
            )
        check_per_head("DistanceDecay.rate", self.rate, H)

    def rates(self) -> float | Tensor:
        return self.rate

    def distance(self, part: Part) -> Tensor:
        x = at_least_float32(self.positions[part.items, part.rows])
        y = self.positions if self.key_positions is None else self.key_positions
        y = at_least_float32(y[part.items, part.cols])
        # cdist's default may go through a matrix product, which rounds the distance of a point to itself away from 0.
        distance = torch.cdist(x, y.to(x.dtype), compute_mode="donot_use_mm_for_euclid_dist")
        return decay_kernel(self.kernel, distance)

    def distance_at(self, pairs: Pairs) -> Tensor:
        x = at_least_float32(self.positions)
        y = at_least_float32(self.positions if self.key_positions is None else self.key_positions).to(x.dtype)
        apart = x[pairs.item, pairs.query] - y[pairs.item, pairs.key]
        return decay_kernel(self.kernel, torch.linalg.vector_norm(apart, dim=-1))

    def form(self) -> Form | None:
        is_squared = self.kernel == "gaussian"
        return SquaredFall(self.positions, self.key_positions, self.rate) if is_squared else None

    def elementwise(self, sizes: Sizes) -> Mod:
        if self.positions.shape[-1] > MOST_COORDINATES:
            return super().elementwise(sizes)
        x, y = (at_least_float32(z) for z in of_one_dtype(self.positions, self.key_positions))
        both = zip(x.unbind(-1), y.unbind(-1), strict=True)
        axes = [(read(u, "bi", sizes), read(v, "bj", sizes)) for u, v in both]

        def distance(b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
            apart = [own(b, h, i, j) - other(b, h, i, j) for own, other in axes]
            return reduce(add, [d * d for d in apart]).sqrt().float()

        return fall_mod(distance, self.kernel, self.rate, sizes)

    def tables(self) -> Iterator[Symbolic]:
        return iter((self,) if self.positions.shape[-1] > MOST_COORDINATES else ())


def _exact(times: Tensor) -> Tensor:
    """Leave float64 and integers as they are (differences of int64 are exact), widen the others."""
    if times.dtype.is_floating_point:
        return at_least_float32(times)
    return times.long()


def _check_kernel(owner: str, kernel: str) -> None:
    if kernel not in get_args(Kernel):
        raise ValueError(f"{owner}.kernel: expected one of {', '.join(map(repr, get_args(Kernel)))}, got {kernel!r}")
