"""What masks and biases share: frozen dataclasses of tensors, registered as pytrees, that move and print as one."""

from __future__ import annotations

import dataclasses
from typing import Any, Self, TypeVar, dataclass_transform

import torch
from torch import Tensor
from torch.utils import _pytree as pytree  # the registry that torch.compile, torch.export and torch.func read

from .part import Part
from .type_names import type_name

_T = TypeVar("_T")


class Symbolic:
    """A symbolic node: it says what the structure is and computes nothing until a backend asks.

    Subclasses are frozen dataclasses made by `node`. Fields that hold a tensor, a node or a tuple of nodes are the
    pytree's children; the others (numbers, names) are its constants.
    """

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Self:
        """Answer the same node with every tensor on `device`. Dtypes stay as they are."""
        moved: Self = pytree.tree_map_only(Tensor, lambda t: t.to(device, non_blocking=non_blocking), self)
        return moved

    def tensors(self) -> list[tuple[str, Tensor]]:
        """List the tensors of this node and of those below it, each with the name `Class.field`."""
        found: list[tuple[str, Tensor]] = []
        for field in dataclasses.fields(self):  # type: ignore[arg-type]  # every concrete node is a dataclass
            value = getattr(self, field.name)
            for item in value if isinstance(value, tuple) else (value,):
                if isinstance(item, Tensor):
                    found.append((f"{type(self).__name__}.{field.name}", item))
                elif isinstance(item, Symbolic):
                    found.extend(item.tensors())
        return found

    def requires_grad(self) -> bool:
        """Whether a tensor of this node asks for a gradient (and gradients are being recorded)."""
        return torch.is_grad_enabled() and any(t.requires_grad for _, t in self.tensors())

    def validate(self, B: int, H: int, Lq: int, Lk: int, device: torch.device) -> None:
        """Raise ValueError if this node does not fit a problem of these sizes on this device.

        Args:
            B: Batch size.
            H: Number of query heads.
            Lq: Number of queries.
            Lk: Number of keys.
            device: Where q, k and v are.

        Raises:
            ValueError: A tensor is on another device or has a shape that does not fit; names the field.
        """
        for name, tensor in self.tensors():
            if tensor.device != device:
                raise ValueError(
                    f"{name} is on {tensor.device}, expected {device} as q, k and v are; use .to({str(device)!r})"
                )
        self._validate(B, H, Lq, Lk)

    def _whole(self, B: int, H: int, Lq: int, Lk: int, device: torch.device | str | None) -> Part:
        """Answer the whole problem as one part, checked, where this node's tensors are (or on `device`)."""
        place = next((t.device for _, t in self.tensors()), torch.device(device or torch.get_default_device()))
        self.validate(B, H, Lq, Lk, place)
        return Part.whole(B, H, Lq, Lk, place)

    def _validate(self, B: int, H: int, Lq: int, Lk: int) -> None:
        """Check the sizes of this node; overridden by nodes that hold sized tensors."""

    def _block(self, part: Part) -> Tensor:
        """Compute this node over a part, 4-D, broadcastable to (items, H, rows, cols) of the part.

        A mask answers bool, a bias float32 or wider.
        """
        raise TypeError(f"{type(self).__name__} must define _block")

    def _spread(self, part: Part) -> tuple[int, int]:
        """Answer the first two sizes of `_block(part)`: whether items differ, and whether heads do."""
        corner = part._replace(rows=slice(0, min(1, part.Lq)), cols=slice(0, min(1, part.Lk)))
        items, heads = self._block(corner).shape[:2]
        return items, heads

    def __repr__(self) -> str:
        parts = []
        for field in dataclasses.fields(self):  # type: ignore[arg-type]  # every concrete node is a dataclass
            value = getattr(self, field.name)
            if isinstance(value, Tensor) and value.ndim:
                grad = ", requires_grad" if value.requires_grad else ""
                parts.append(f"{field.name}=<{tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}{grad}>")
            elif value is not None:
                parts.append(f"{field.name}={value!r}")
        return f"{type(self).__name__}({', '.join(parts)})"


@dataclass_transform(frozen_default=True, eq_default=False)
def node(cls: type[_T]) -> type[_T]:
    """Make `cls` a frozen dataclass and register it as a pytree.

    Unflattening rebuilds the node without running its checks, so that a transformation may put anything at the leaves.
    """
    made = dataclasses.dataclass(frozen=True, eq=False, repr=False)(cls)
    names = [f.name for f in dataclasses.fields(made)]  # type: ignore[arg-type]  # dataclass() returns the same type

    def is_child(value: Any) -> bool:
        return isinstance(value, (Tensor, Symbolic, tuple)) or value is None

    def flatten(obj: Any) -> tuple[list[Any], Any]:
        children = [n for n in names if is_child(getattr(obj, n))]
        constants = tuple((n, getattr(obj, n)) for n in names if n not in children)
        return [getattr(obj, n) for n in children], (tuple(children), constants)

    def unflatten(values: Any, context: Any) -> Any:
        children, constants = context
        obj = object.__new__(made)
        for name, value in [*zip(children, values, strict=True), *constants]:
            object.__setattr__(obj, name, value)
        return obj

    pytree.register_pytree_node(
        made, flatten, unflatten, serialized_type_name=type_name(made.__module__, made.__qualname__)
    )
    return made


def values_are_visible(tensor: Tensor) -> bool:
    """Whether tensor values may be looked at: on the CPU and outside torch.compile and torch.export."""
    return not torch.compiler.is_compiling() and tensor.device.type == "cpu"


def check_range(name: str, index: Tensor, low: int, high: int, what: str) -> None:
    """Raise ValueError unless low <= index < high; looks only where `values_are_visible`."""
    if index.numel() == 0 or not values_are_visible(index):
        return
    least, most = int(index.min()), int(index.max())
    if least < low or most >= high:
        got = least if least < low else most
        raise ValueError(f"{name} holds {got}, expected {what} from {low} to {high - 1}")


def expect_shape(name: str, tensor: Tensor, fits: bool, expected: str) -> None:
    """Raise ValueError, with the shape got and the one expected, unless the tensor `fits`."""
    if not fits:
        raise ValueError(f"{name} has shape {tuple(tensor.shape)}, expected {expected}")


def expect_tensor(name: str, value: Any, *, integer: bool = False, boolean: bool = False) -> None:
    """Raise TypeError unless `value` is a tensor (of an integer or boolean dtype, if asked)."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} is a {type(value).__name__}, expected a torch.Tensor")
    is_integer = not (value.dtype.is_floating_point or value.dtype.is_complex or value.dtype == torch.bool)
    if integer and not is_integer:
        raise TypeError(f"{name} has dtype {value.dtype}, expected an integer dtype")
    if boolean and value.dtype != torch.bool:
        raise TypeError(f"{name} has dtype {value.dtype}, expected torch.bool")
