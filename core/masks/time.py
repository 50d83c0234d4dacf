"""Masks by the time of events."""

from __future__ import annotations

from torch import Tensor

from ..symbols import Mod, Pairs, Part, Sizes, check_times, expect_tensor, node, of_one_dtype, read
from .base import Mask


@node
class NotAfter(Mask):
    """allowed(b, i, j) = key_times[b, j] <= times[b, i]; ties are allowed.

    For events that share times or come in any order. `Causal` goes by index instead. A NaN time is never allowed.

    Args:
        times: Times of the queries, in any unit.
        key_times: Times of the keys, in the same unit; None means those of the queries.

    Shapes:
        times: (B, Lq).
        key_times: (B, Lk), required when Lq != Lk.

    Raises:
        TypeError: times or key_times is not a tensor.
        ValueError: A shape does not fit.
    """

    times: Tensor
    key_times: Tensor | None = None

    def __post_init__(self) -> None:
        expect_tensor("NotAfter.times", self.times)
        if self.key_times is not None:
            expect_tensor("NotAfter.key_times", self.key_times)

    def check_sizes(self, B: int, H: int, Lq: int, Lk: int) -> None:
        check_times("NotAfter", self.times, self.key_times, B, Lq, Lk)

    def block(self, part: Part) -> Tensor:
        key_times = self.times if self.key_times is None else self.key_times
        keys = key_times[part.items, None, part.cols]
        return (keys <= self.times[part.items, part.rows, None])[:, None]

    def at(self, pairs: Pairs) -> Tensor:
        key_times = self.times if self.key_times is None else self.key_times
        return (key_times[pairs.item, pairs.key] <= self.times[pairs.item, pairs.query])[None]

    def elementwise(self, sizes: Sizes) -> Mod:
        times, key_times = of_one_dtype(self.times, self.key_times)
        own, other = read(times.detach(), "bi", sizes), read(key_times.detach(), "bj", sizes)
        return lambda b, h, i, j: other(b, h, i, j) <= own(b, h, i, j)
