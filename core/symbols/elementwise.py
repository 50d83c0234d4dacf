"""Masks and biases as functions of one pair (b, h, i, j), as `torch.nn.attention.flex_attention` takes them.

Its kernels inline such a function: everything in it is elementwise, and a tensor is read at one place by one index per
axis. What does not depend on the pair is therefore worked out before, and captured. A tensor that learns is read once,
for that is all that the kernel's backward allows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .numbers import at_least_float32

Mod = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""A function of (b, h, i, j), scalars, to a scalar."""


class Sizes(NamedTuple):
    """The sizes of a problem, and where it is."""

    B: int
    H: int
    Lq: int
    Lk: int
    device: torch.device


def read(tensor: Tensor, axes: str, sizes: Sizes) -> Mod:
    """Answer the function that reads tensor[b, h, i, j], of those axes that `axes` names; one of size 1 holds for all.

    Shapes:
        tensor: one axis for each letter of `axes`.
    """
    kept = [axis for axis, size in zip(axes, tensor.shape, strict=True) if size > 1]
    flat = tensor.reshape([size for size in tensor.shape if size > 1])
    if not kept:
        kept, flat = ["h"], flat.expand(sizes.H)
    flat = flat.contiguous()
    places = [("b", "h", "i", "j").index(axis) for axis in kept]
    if len(places) == 1:
        return _read_1(flat, *places)
    if len(places) == 2:
        return _read_2(flat, *places)
    if len(places) == 3:
        return _read_3(flat, *places)
    return lambda b, h, i, j: flat[b, h, i, j]


def by_row(value: float | Tensor, sizes: Sizes) -> Mod | float:
    """Answer a number, a scalar or one number per head, (H,), as a function of one pair.

    What learns is read from a copy per row of logits: its gradient is then summed row by row, not at one address.
    """
    if not isinstance(value, Tensor):
        return value
    value = at_least_float32(value).float().reshape(1, -1, 1)
    if value.requires_grad:
        value = value.expand(sizes.B, sizes.H, sizes.Lq)
    return read(value, "bhi", sizes)


def own(learned: Tensor) -> Tensor:
    """Answer the numbers in float32, as a tensor that nothing else reads."""
    value = at_least_float32(learned).float()
    return value.clone() if value is learned and value.requires_grad else value


def of_one_dtype(x: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor]:
    """Answer both in the dtype that their difference has; y is x where it is missing."""
    y = x if y is None else y
    dtype = torch.promote_types(x.dtype, y.dtype)
    return x.to(dtype), y.to(dtype)


def combine(operator: Callable[[Any, Any], Any], mods: Sequence[Mod]) -> Mod:
    """Answer the function that joins the answers of several by an operator."""
    return lambda b, h, i, j: reduce(operator, [mod(b, h, i, j) for mod in mods])


def _read_1(flat: Tensor, x: int) -> Mod:
    return lambda b, h, i, j: flat[(b, h, i, j)[x]]


def _read_2(flat: Tensor, x: int, y: int) -> Mod:
    return lambda b, h, i, j: flat[(b, h, i, j)[x], (b, h, i, j)[y]]


def _read_3(flat: Tensor, x: int, y: int, z: int) -> Mod:
    return lambda b, h, i, j: flat[(b, h, i, j)[x], (b, h, i, j)[y], (b, h, i, j)[z]]
