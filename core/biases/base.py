"""The base of every bias, and their sum."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce

import torch
from torch import Tensor

from ..part import Part
from ..symbolic import Symbolic, expect_shape, expect_tensor, node


class Bias(Symbolic):
    """A real number for each pair of query and key, added to the scaled score before the temperature."""

    def materialize(self, B: int, H: int, Lq: int, Lk: int, device: torch.device | str | None = None) -> Tensor:
        """Compute the bias as a tensor.

        Args:
            B: Batch size.
            H: Number of query heads.
            Lq: Number of queries.
            Lk: Number of keys.
            device: Where to put a bias that holds no tensor of its own; the others answer where their tensors are.

        Shapes:
            Answer: float32 or wider, 4-D, broadcastable to (B, H, Lq, Lk).

        Raises:
            ValueError: The bias does not fit these sizes.
        """
        place = next((t.device for _, t in self.tensors()), torch.device(device or torch.get_default_device()))
        self.validate(B, H, Lq, Lk, place)
        return self._block(Part.whole(B, H, Lq, Lk, place))

    def _block(self, part: Part) -> Tensor:
        """Compute the bias over a part: 4-D, broadcastable to (items, H, rows, cols) of the part."""
        raise TypeError(f"{type(self).__name__} must define _block")

    def leaves(self) -> Iterator[Bias]:
        """Go through the biases that this one is the sum of."""
        yield self

    def __add__(self, other: Bias) -> Bias:
        return Sum((*self.leaves(), *other.leaves())) if isinstance(other, Bias) else NotImplemented


@node
class Sum(Bias):
    """bias(i, j) = the sum of the parts' bias(i, j)."""

    parts: tuple[Bias, ...]

    def _validate(self, B: int, H: int, Lq: int, Lk: int) -> None:
        for part in self.parts:
            part._validate(B, H, Lq, Lk)

    def _block(self, part: Part) -> Tensor:
        return reduce(torch.add, (p._block(part) for p in self.parts))

    def leaves(self) -> Iterator[Bias]:
        """Go through the biases that this one is the sum of."""
        for part in self.parts:
            yield from part.leaves()


def at_least_float32(x: Tensor) -> Tensor:
    """Answer x as a floating-point tensor of at least 32 bits; integers, which may be large, become float64."""
    if not x.dtype.is_floating_point:
        return x.double()
    return x if x.dtype in (torch.float32, torch.float64) else x.float()


def check_constant(name: str, value: Tensor) -> None:
    """Raise unless `value` is a tensor that asks for no gradient: places and times carry none."""
    expect_tensor(name, value)
    if value.requires_grad:
        raise ValueError(
            f"{name} requires grad, but no gradient flows to it; expected a tensor without, such as {name}.detach()"
        )


def check_per_head(name: str, value: float | Tensor, H: int) -> None:
    """Raise ValueError unless `value` is a number, a scalar tensor or a tensor (H,)."""
    if isinstance(value, Tensor):
        expect_shape(name, value, value.ndim == 0 or tuple(value.shape) == (H,), f"a scalar or (H,) = ({H},)")


def per_head(value: float | Tensor) -> float | Tensor:
    """Shape a number per head so that it broadcasts over (B, H, Lq, Lk); numbers and scalars stay as they are."""
    if not isinstance(value, Tensor):
        return value
    value = at_least_float32(value)
    return value if value.ndim == 0 else value[:, None, None]
