"""A mask that is already a tensor."""

from __future__ import annotations

from torch import Tensor

from ..symbols.part import Pairs, Part
from ..symbols.symbolic import expect_shape, expect_tensor, node
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

    def _validate(self, B: int, H: int, Lq: int, Lk: int) -> None:
        check_broadcast("masks.Dense.tensor", self.tensor, B, H, Lq, Lk)

    def _block(self, part: Part) -> Tensor:
        return part.crop(self.tensor)

    def _at(self, pairs: Pairs) -> Tensor:
        return pairs.pick(self.tensor)


def check_broadcast(name: str, tensor: Tensor, B: int, H: int, Lq: int, Lk: int) -> None:
    """Raise ValueError unless `tensor` is 4-D and broadcasts to (B, H, Lq, Lk)."""
    full = (B, H, Lq, Lk)
    expect_shape(
        name,
        tensor,
        tensor.ndim == 4 and all(size in (1, target) for size, target in zip(tensor.shape, full, strict=True)),
        f"4-D, broadcastable to (B, H, Lq, Lk) = {full}",
    )
