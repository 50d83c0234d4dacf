"""Masks by the time of events."""

from __future__ import annotations

from torch import Tensor

from ..symbols.part import Pairs, Part
from ..symbols.symbolic import expect_shape, expect_tensor, node
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

    def _validate(self, B: int, H: int, Lq: int, Lk: int) -> None:
        check_times("NotAfter", self.times, self.key_times, B, Lq, Lk)

    def _block(self, part: Part) -> Tensor:
        key_times = self.times if self.key_times is None else self.key_times
        keys = key_times[part.items, None, part.cols]
        return (keys <= self.times[part.items, part.rows, None])[:, None]

    def _at(self, pairs: Pairs) -> Tensor:
        key_times = self.times if self.key_times is None else self.key_times
        return (key_times[pairs.item, pairs.key] <= self.times[pairs.item, pairs.query])[None]


def check_times(owner: str, times: Tensor, key_times: Tensor | None, B: int, Lq: int, Lk: int) -> None:
    """Raise ValueError unless times is (B, Lq) and key_times (B, Lk), which may only be missing when Lq = Lk."""
    expect_shape(f"{owner}.times", times, tuple(times.shape) == (B, Lq), f"(B, Lq) = ({B}, {Lq})")
    if key_times is None:
        if Lq != Lk:
            raise ValueError(f"{owner}.key_times is required where Lq ({Lq}) differs from Lk ({Lk}), got None")
    else:
        expect_shape(f"{owner}.key_times", key_times, tuple(key_times.shape) == (B, Lk), f"(B, Lk) = ({B}, {Lk})")
