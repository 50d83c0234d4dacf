"""The base of every mask, and the combinations &, | and ~."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from functools import reduce
from operator import and_, or_
from typing import ClassVar

import torch
from torch import Tensor

from ..symbols import Mod, Pairs, Part, Sizes, Symbolic, combine, node
from .bounds import Bounds
from .listing import Listing


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
    """A boolean relation between queries and keys; True means that the query may attend to the key.

    `block` is the one method that a mask must have. What backends ask beyond `Symbolic` has defaults too, which promise
    nothing: `extent`, `bounds`, `outside`, `listing` and `share`.
    """

    is_padding: ClassVar[bool] = False
    is_causal: ClassVar[bool] = False  # j <= i, no more and no less

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
        return self.block(self.whole_part(B, H, Lq, Lk, device))

    def extent(self, part: Part) -> Extent:
        """Say how much of a part is allowed without computing it; SOME where that cannot be told."""
        return Extent.SOME

    def bounds(self) -> Bounds:
        """Say within which bounds of j - i all allowed pairs lie; no tensor value is looked at."""
        return Bounds()

    def outside(self) -> Bounds:
        """Say within which bounds of j - i all pairs lie that are not allowed; no tensor value is looked at."""
        return Bounds()

    def listing(self, B: int, Lq: int, Lk: int) -> Listing | None:
        """Take this mask apart into lists of pairs; None if it lists none. No tensor value is looked at."""
        return None

    def share(self, Lk: int, block: int) -> float:
        """Estimate which part of all pairs lies in square blocks that are not ruled out by position."""
        return 1.0

    def conjuncts(self) -> tuple[Mask, ...]:
        """Answer the masks of which this one is the conjunction."""
        return (self,)

    def disjuncts(self) -> tuple[Mask, ...]:
        """Answer the masks of which this one is the disjunction."""
        return (self,)

    def leaves(self) -> Iterator[Mask]:
        """Go through the masks that this one is combined from."""
        yield self

    def __and__(self, other: Mask) -> Mask:
        return And((*self.conjuncts(), *other.conjuncts())) if isinstance(other, Mask) else NotImplemented

    def __or__(self, other: Mask) -> Mask:
        return Or((*self.disjuncts(), *other.disjuncts())) if isinstance(other, Mask) else NotImplemented

    def __invert__(self) -> Mask:
        return Not(self)


class Combination(Mask):
    """Several masks as one."""

    parts: tuple[Mask, ...]

    def check_sizes(self, B: int, H: int, Lq: int, Lk: int) -> None:
        for part in self.parts:
            part.check_sizes(B, H, Lq, Lk)

    def spread(self, part: Part) -> tuple[int, int]:
        spreads = [p.spread(part) for p in self.parts]
        return max(items for items, _ in spreads), max(heads for _, heads in spreads)

    def leaves(self) -> Iterator[Mask]:
        """Go through the masks that this one is combined from."""
        for part in self.parts:
            yield from part.leaves()


@node
class And(Combination):
    """allowed(i, j) = all of the parts allow (i, j)."""

    parts: tuple[Mask, ...]

    def block(self, part: Part) -> Tensor:
        return reduce(torch.logical_and, (p.block(part) for p in self.parts))

    def at(self, pairs: Pairs) -> Tensor:
        return reduce(torch.logical_and, (p.at(pairs) for p in self.parts))

    def extent(self, part: Part) -> Extent:
        extents = {p.extent(part) for p in self.parts}
        return Extent.of(Extent.NOTHING in extents, extents == {Extent.EVERYTHING})

    def bounds(self) -> Bounds:
        return reduce(Bounds.both, (p.bounds() for p in self.parts))

    def listing(self, B: int, Lq: int, Lk: int) -> Listing | None:
        """Take the part that lists the fewest pairs; the other parts must hold at those."""
        able = [(part, listing) for part in self.parts if (listing := part.listing(B, Lq, Lk)) is not None]
        if not able:
            return None
        chosen, least = min(able, key=lambda pair: pair[1].count)
        others = tuple(part for part in self.parts if part is not chosen)
        return Listing(least.lists, others + least.rest, least.count)

    def share(self, Lk: int, block: int) -> float:
        return min(p.share(Lk, block) for p in self.parts)

    def conjuncts(self) -> tuple[Mask, ...]:
        return self.parts

    def elementwise(self, sizes: Sizes) -> Mod:
        return combine(and_, [p.elementwise(sizes) for p in self.parts])


@node
class Or(Combination):
    """allowed(i, j) = any of the parts allows (i, j). Padding is refused here: it can only be conjoined."""

    parts: tuple[Mask, ...]

    def __post_init__(self) -> None:
        for part in self.parts:
            _refuse_padding(part, "|")

    def block(self, part: Part) -> Tensor:
        return reduce(torch.logical_or, (p.block(part) for p in self.parts))

    def at(self, pairs: Pairs) -> Tensor:
        return reduce(torch.logical_or, (p.at(pairs) for p in self.parts))

    def extent(self, part: Part) -> Extent:
        extents = {p.extent(part) for p in self.parts}
        return Extent.of(extents == {Extent.NOTHING}, Extent.EVERYTHING in extents)

    def bounds(self) -> Bounds:
        return reduce(Bounds.either, (p.bounds() for p in self.parts))

    def listing(self, B: int, Lq: int, Lk: int) -> Listing | None:
        """Join the lists of all parts; None if one of them lists no pairs."""
        found = [listing for part in self.parts if (listing := part.listing(B, Lq, Lk)) is not None]
        if len(found) < len(self.parts):
            return None
        exact = not any(part.rest for part in found)
        lists = tuple(mask for part in found for mask in part.lists)
        return Listing(lists, () if exact else (self,), sum(part.count for part in found))

    def share(self, Lk: int, block: int) -> float:
        return min(1.0, sum(p.share(Lk, block) for p in self.parts))

    def disjuncts(self) -> tuple[Mask, ...]:
        return self.parts

    def elementwise(self, sizes: Sizes) -> Mod:
        return combine(or_, [p.elementwise(sizes) for p in self.parts])


@node
class Not(Mask):
    """allowed(i, j) = the part does not allow (i, j). Padding is refused here."""

    part: Mask

    def __post_init__(self) -> None:
        _refuse_padding(self.part, "~")

    def block(self, part: Part) -> Tensor:
        return ~self.part.block(part)

    def at(self, pairs: Pairs) -> Tensor:
        return ~self.part.at(pairs)

    def extent(self, part: Part) -> Extent:
        extent = self.part.extent(part)
        return Extent.of(extent is Extent.EVERYTHING, extent is Extent.NOTHING)

    def bounds(self) -> Bounds:
        return self.part.outside()

    def elementwise(self, sizes: Sizes) -> Mod:
        inner = self.part.elementwise(sizes)
        return lambda b, h, i, j: ~inner(b, h, i, j)

    def check_sizes(self, B: int, H: int, Lq: int, Lk: int) -> None:
        self.part.check_sizes(B, H, Lq, Lk)

    def leaves(self) -> Iterator[Mask]:
        """Go through the masks that this one is combined from."""
        yield from self.part.leaves()


def _refuse_padding(mask: Mask, operator: str) -> None:
    if any(leaf.is_padding for leaf in mask.leaves()):
        raise ValueError(
            "mask: expected (pattern) & Padding(...), as padding says which keys exist and is conjoined last, "
            f"got Padding under {operator}"
        )
