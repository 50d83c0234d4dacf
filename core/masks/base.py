"""The base of every mask, and the combinations &, | and ~."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from functools import reduce
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..symbols.part import Pairs, Part
from ..symbols.symbolic import Symbolic, node

if TYPE_CHECKING:
    from .padding import Padding


class Extent(Enum):
    """How much of a part a mask allows, as far as its structure tells without computing it."""

    NOTHING = "nothing"
    SOME = "some, or it cannot be told"
    EVERYTHING = "everything"

    @staticmethod
    def of(nothing: bool, everything: bool) -> Extent:
        """Name what is known; a part without pairs is everything and nothing, and counts as nothing."""
        return Extent.NOTHING if nothing else Extent.EVERYTHING if everything else Extent.SOME


class Mask(Symbolic):
    """A boolean relation between queries and keys; True means that the query may attend to the key."""

    is_padding = False

    def materialize(self, B: int, H: int, Lq: int, Lk: int, device: torch.device | str | None = None) -> Tensor:
        """Compute the mask as a tensor.

        Args:
            B: Batch size.
            H: Number of query heads.
            Lq: Number of queries.
            Lk: Number of keys.
            device: Where to put a mask that holds no tensor of its own; the others answer where their tensors are.

        Shapes:
            Answer: bool, 4-D, broadcastable to (B, H, Lq, Lk).

        Raises:
            ValueError: The mask does not fit these sizes.
        """
        return self._block(self._whole(B, H, Lq, Lk, device))

    def _at(self, pairs: Pairs) -> Tensor:
        """Look up listed pairs: bool, broadcastable to (H, *S) of the list."""
        raise TypeError(f"{type(self).__name__} must define _at")

    def _extent(self, part: Part) -> Extent:
        """Say how much of a part is allowed without computing it; SOME where that cannot be told."""
        return Extent.SOME

    def leaves(self) -> Iterator[Mask]:
        """Go through the masks that this one is combined from."""
        yield self

    def __and__(self, other: Mask) -> Mask:
        return And((*_parts(self, And), *_parts(other, And))) if isinstance(other, Mask) else NotImplemented

    def __or__(self, other: Mask) -> Mask:
        return Or((*_parts(self, Or), *_parts(other, Or))) if isinstance(other, Mask) else NotImplemented

    def __invert__(self) -> Mask:
        return Not(self)


class Combination(Mask):
    """Several masks as one."""

    parts: tuple[Mask, ...]

    def _validate(self, B: int, H: int, Lq: int, Lk: int) -> None:
        for part in self.parts:
            part._validate(B, H, Lq, Lk)

    def _spread(self, part: Part) -> tuple[int, int]:
        spreads = [p._spread(part) for p in self.parts]
        return max(items for items, _ in spreads), max(heads for _, heads in spreads)

    def leaves(self) -> Iterator[Mask]:
        """Go through the masks that this one is combined from."""
        for part in self.parts:
            yield from part.leaves()


@node
class And(Combination):
    """allowed(i, j) = all of the parts allow (i, j)."""

    parts: tuple[Mask, ...]

    def _block(self, part: Part) -> Tensor:
        return reduce(torch.logical_and, (p._block(part) for p in self.parts))

    def _at(self, pairs: Pairs) -> Tensor:
        return reduce(torch.logical_and, (p._at(pairs) for p in self.parts))

    def _extent(self, part: Part) -> Extent:
        extents = {p._extent(part) for p in self.parts}
        return Extent.of(Extent.NOTHING in extents, extents == {Extent.EVERYTHING})


@node
class Or(Combination):
    """allowed(i, j) = any of the parts allows (i, j). Padding is refused here: it can only be conjoined."""

    parts: tuple[Mask, ...]

    def __post_init__(self) -> None:
        for part in self.parts:
            _refuse_padding(part, "|")

    def _block(self, part: Part) -> Tensor:
        return reduce(torch.logical_or, (p._block(part) for p in self.parts))

    def _at(self, pairs: Pairs) -> Tensor:
        return reduce(torch.logical_or, (p._at(pairs) for p in self.parts))

    def _extent(self, part: Part) -> Extent:
        extents = {p._extent(part) for p in self.parts}
        return Extent.of(extents == {Extent.NOTHING}, Extent.EVERYTHING in extents)


@node
class Not(Mask):
    """allowed(i, j) = the part does not allow (i, j). Padding is refused here."""

    part: Mask

    def __post_init__(self) -> None:
        _refuse_padding(self.part, "~")

    def _block(self, part: Part) -> Tensor:
        return ~self.part._block(part)

    def _at(self, pairs: Pairs) -> Tensor:
        return ~self.part._at(pairs)

    def _extent(self, part: Part) -> Extent:
        extent = self.part._extent(part)
        return Extent.of(extent is Extent.EVERYTHING, extent is Extent.NOTHING)

    def _validate(self, B: int, H: int, Lq: int, Lk: int) -> None:
        self.part._validate(B, H, Lq, Lk)

    def leaves(self) -> Iterator[Mask]:
        """Go through the masks that this one is combined from."""
        yield from self.part.leaves()


def split(mask: Mask | None) -> tuple[Mask | None, Padding | None]:
    """Separate the padding, which says what is real, from the pattern, which says who sees whom.

    Several paddings are merged into the one that keeps what all of them keep.
    """
    from .padding import Padding, merge

    if mask is None:
        return None, None
    parts = _parts(mask, And)
    pattern = tuple(part for part in parts if not isinstance(part, Padding))
    paddings = [part for part in parts if isinstance(part, Padding)]
    padding = reduce(merge, paddings) if paddings else None
    if len(pattern) > 1:
        return And(pattern), padding
    return (pattern[0] if pattern else None), padding


def _parts(mask: Mask, kind: type[And] | type[Or]) -> tuple[Mask, ...]:
    return mask.parts if isinstance(mask, kind) else (mask,)


def _refuse_padding(mask: Mask, operator: str) -> None:
    if any(leaf.is_padding for leaf in mask.leaves()):
        raise ValueError(
            f"Padding under {operator}: padding says which keys exist, so it is conjoined with the whole pattern, "
            "expected (pattern) & Padding(...)"
        )
