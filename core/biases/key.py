"""A bias that belongs to the key alone."""

from __future__ import annotations

from torch import Tensor

from ..symbols import Mod, Pairs, Part, Sizes, at_least_float32, expect_shape, expect_tensor, node, own, read
from .base import Bias
from .forms import Form, PerKey


@node
class KeyBias(Bias):
    """bias(b, h, i, j) = value[b, h, j], the same for every query: a prior log-odds of each key.

    Args:
        value: The numbers; may require grad.

    Shapes:
        value: (B, Lk) or (B, H, Lk).

    Raises:
        TypeError: value is not a tensor.
        ValueError: The shape does not fit.
    """

    value: Tensor

    def __post_init__(self) -> None:
        expect_tensor("KeyBias.value", self.value)

    def check_sizes(self, B: int, H: int, Lq: int, Lk: int) -> None:
        expect_shape(
            "KeyBias.value",
            self.value,
            tuple(self.value.shape) in ((B, Lk), (B, H, Lk)),
            f"({B}, {Lk}) or ({B}, {H}, {Lk})",
        )

    def block(self, part: Part) -> Tensor:
        value = at_least_float32(part.of_items(self.value)[..., part.cols])
        return value[:, None, None, :] if value.ndim == 2 else value[:, :, None, :]

    def at(self, pairs: Pairs) -> Tensor:
        value = at_least_float32(self.value)
        return (value[:, None] if value.ndim == 2 else value).movedim(1, 0)[:, pairs.item, pairs.key]

    def form(self) -> Form:
        return PerKey(self.value)

    def elementwise(self, sizes: Sizes) -> Mod:
        return read(own(self.value), "bj" if self.value.ndim == 2 else "bhj", sizes)
