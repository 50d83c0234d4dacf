"""A bias that is already a tensor."""

from __future__ import annotations

from torch import Tensor

from ..symbols import Mod, Pairs, Part, Sizes, at_least_float32, check_broadcast, expect_tensor, node, own, read
from .base import Bias


@node
class Dense(Bias):
    """bias(b, h, i, j) = tensor[b, h, i, j]; an entry of -inf masks its pair, as the log of an adjacency does.

    Args:
        tensor: The numbers; may require grad. An entry of -inf gets a gradient of 0.

    Shapes:
        tensor: floating, 4-D, broadcastable to (B, H, Lq, Lk).

    Raises:
        TypeError: tensor is not a floating-point tensor.
        ValueError: The shape does not broadcast.
    """

    tensor: Tensor

    def __post_init__(self) -> None:
        expect_tensor("biases.Dense.tensor", self.tensor)
        if not self.tensor.dtype.is_floating_point:
            raise TypeError(
                "biases.Dense.tensor: expected a floating-point dtype (for a boolean mask use masks.Dense), "
                f"got {self.tensor.dtype}"
            )

    def check_sizes(self, B: int, H: int, Lq: int, Lk: int) -> None:
        check_broadcast("biases.Dense.tensor", self.tensor, B, H, Lq, Lk)

    def block(self, part: Part) -> Tensor:
        return at_least_float32(part.crop(self.tensor))

    def at(self, pairs: Pairs) -> Tensor:
        return at_least_float32(pairs.pick(self.tensor))

    def elementwise(self, sizes: Sizes) -> Mod:
        return read(own(self.tensor), "bhij", sizes)
