"""What masks and biases share: frozen dataclasses of tensors, registered as pytrees, that move and print as one."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar, Self, TypeVar, dataclass_transform

import torch
from torch import Tensor
from torch.utils import _pytree as pytree  # the registry that torch.compile, torch.export and torch.func read

from .blocks import look_up_in_blocks
from .elementwise import Mod, Sizes, read
from .part import Pairs, Part
from .type_names import type_name

_T = TypeVar("_T")

_UNHEARD = {  # names that nothing calls, by what they stand for
    "_block": "block(part)",
    "_at": "at(pairs)",
    "_extent": "extent(part)",
    "_spread": "spread(part)",
    "_validate": "check_sizes(B, H, Lq, Lk)",
}


class Symbolic(ABC):
    """A symbolic node: it says what the structure is and computes nothing until a backend asks.

    Subclasses are frozen dataclasses made by `node`. Fields that hold a tensor, a node or a tuple of nodes are the
    pytree's children; the others (numbers, names) are its constants.

    A node must define `block`. Everything else that a backend asks has a default that is right for every node, and is
    overridden where a node knows better:

    - `at` looks listed pairs up, by default in blocks, at the time of all pairs of the rows that hold any;
    - `check_sizes` checks the sizes of what the node holds, by default nothing;
    - `spread` says whether items and heads differ, by default by computing a corner;
    - `by_offset` says that the answer depends on j - i alone, by default that it may not;
    - `elementwise` is the node as a function of one pair, by default a table of all pairs.
    """

    by_offset: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for old, new in _UNHEARD.items():
            if old in cls.__dict__:
                raise TypeError(f"{cls.__name__}: expected a method {new}, got {old}: rename it")

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
                    f"{name}: expected a tensor on {device} as q, k and v are, got one on {tensor.device}; "
                    f"use .to({str(device)!r})"
                )
        self.check_sizes(B, H, Lq, Lk)

    def whole_part(self, B: int, H: int, Lq: int, Lk: int, device: torch.device | str | None) -> Part:
        """Answer the whole problem as one part, checked, where this node's tensors are (or on `device`)."""
        place = next((t.device for _, t in self.tensors()), torch.device(device or torch.get_default_device()))
        self.validate(B, H, Lq, Lk, place)
        return Part.whole(B, H, Lq, Lk, place)

    def nodes(self) -> Iterator[Symbolic]:
        """Go through the nodes that this one holds."""
        for field in dataclasses.fields(self):  # type: ignore[arg-type]  # every concrete node is a dataclass
            value = getattr(self, field.name)
            for item in value if isinstance(value, tuple) else (value,):
                if isinstance(item, Symbolic):
                    yield item

    @abstractmethod
    def block(self, part: Part) -> Tensor:
        """Compute this node over a part, 4-D, broadcastable to (items, H, rows, cols) of the part.

        A mask answers bool, a bias float32 or wider.
        """

    def at(self, pairs: Pairs) -> Tensor:
        """Look up listed pairs, broadcastable to (H, *S) of the list; a mask answers bool, a bias float32 or wider."""
        return look_up_in_blocks(self.block, pairs, recompute=self.requires_grad())

    def goes_pair_by_pair(self) -> bool:
        """Whether `at` costs as much as the listed pairs, not as much as all."""
        return type(self).at is not Symbolic.at and all(node.goes_pair_by_pair() for node in self.nodes())

    def check_sizes(self, B: int, H: int, Lq: int, Lk: int) -> None:  # noqa: B027  # most nodes fit every size
        """Raise ValueError if what this node holds does not fit a problem of these sizes."""

    def spread(self, part: Part) -> tuple[int, int]:
        """Answer the first two sizes of `block(part)`: whether items differ, and whether heads do."""
        corner = part._replace(rows=slice(0, min(1, part.Lq)), cols=slice(0, min(1, part.Lk)))
        items, heads = self.block(corner).shape[:2]
        return items, heads

    @abstractmethod
    def materialize(self, B: int, H: int, Lq: int, Lk: int, device: torch.device | str | None = None) -> Tensor:
        """Compute this node over the whole problem."""

    def elementwise(self, sizes: Sizes) -> Mod:
        """Answer this node as a function of one pair (b, h, i, j), see `core.symbols.Mod`; a bias answers float32."""
        table = self.materialize(*sizes[:4], device=sizes.device)
        return read(table.float() if table.dtype.is_floating_point else table, "bhij", sizes)

    def tables(self) -> Iterator[Symbolic]:
        """Go through the nodes, this one or those that it holds, whose `elementwise` reads a table of all pairs."""
        if type(self).elementwise is Symbolic.elementwise:
            yield self
        else:
            for node in self.nodes():
                yield from node.tables()

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
    if "block" in getattr(cls, "__abstractmethods__", ()):
        raise TypeError(f"{cls.__name__}: expected a method block(part), got none")
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
