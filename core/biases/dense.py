"""A bias that is already a tensor."""

from __future__ import annotations

from torch import Tensor

from ..masks.dense import check_broadcast
from ..symbols.part import Pairs, Part
from ..symbols.symbolic import expect_tensor, node
from .base import Bias, at_least_float32


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
                f"biases.Dense.tensor has dtype {self.tensor.dtype}, expected a floating-point dtype "
                "(for a boolean mask use masks.Dense)"
            )

    def _validate(self, B: int, H: int, Lq: int, Lk: int) -> None:
        check_broadcast("biases.Dense.tensor", self.tensor, B, H, Lq, Lk)

    def _block(self, part: Part) -> Tensor:
        return at_least_float32(part.crop(self.tensor))

    def _at(self, pairs: Pairs) -> Tensor:
        return at_least_float32(pairs.pick(self.tensor))
