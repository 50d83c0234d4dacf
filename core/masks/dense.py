"""A mask that is already a tensor."""

from __future__ import annotations

from torch import Tensor

from ..symbols import Mod, Pairs, Part, Sizes, check_broadcast, expect_tensor, node, read
from .base import Mask


@node
class Dense(Mask):
    """allowed(b, h, i, j) = tensor[b, h, i, j], True where attention is allowed.

    Args:
        tensor: The mask itself.

    Shapes:
        tensor: bool, 4-D, broadcastable to (B, H, Lq, Lk).

    Raises:
        TypeError: tensor is not a bool tensor.
        ValueError: The shape does not broadcast.
    """

    tensor: Tensor

    def __post_init__(self) -> None:
        expect_tensor("Dense.tensor", self.tensor, boolean=True)

    def check_sizes(self, B: int, H: int, Lq: int, Lk: int) -> None:
        check_broadcast("masks.Dense.tensor", self.tensor, B, H, Lq, Lk)

    def block(self, part: Part) -> Tensor:
        return part.crop(self.tensor)

    def at(self, pairs: Pairs) -> Tensor:
        return pairs.pick(self.tensor)

    def elementwise(self, sizes: Sizes) -> Mod:
        return read(self.tensor, "bhij", sizes)
