"""The pairs that a mask can allow, as a list: without an L x L tensor, and each pair once.

`Listing.of` takes a pattern apart into masks that list pairs, whose union holds every allowed pair, and into what must
be looked up at those pairs beside it. A pair has the number (b * Lq + i) * Lk + j; the list ascends in it, so that the
pairs of a query stand together.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from ...masks import And, Dilated, Edges, Global, Mask, Neighbours, Or, PairMask, Window
from ...symbols.part import Pairs


@dataclass(frozen=True)
class Listing:
    """A pattern as a list of pairs and a condition on them.

    Attributes:
        lists: Masks that list pairs; each allowed pair is in one of them.
        rest: What must hold at a listed pair for it to be allowed; None if they all are.
        count: How many pairs there are at most, over the batch; known from shapes alone.
    """

    lists: tuple[Mask, ...]
    rest: Mask | None
    count: int

    @classmethod
    def of(cls, pattern: Mask, B: int, Lq: int, Lk: int) -> Listing | None:
        """Take a pattern apart; None if it lists no pairs. No tensor value is looked at."""
        if isinstance(pattern, Or):
            parts = [cls.of(part, B, Lq, Lk) for part in pattern.parts]
            found = [part for part in parts if part is not None]
            if len(found) < len(parts):
                return None
            exact = all(part.rest is None for part in found)
            lists = tuple(mask for part in found for mask in part.lists)
            return cls(lists, None if exact else pattern, sum(part.count for part in found))
        if isinstance(pattern, And):
            able = [(part, listing) for part in pattern.parts if (listing := cls.of(part, B, Lq, Lk)) is not None]
            if not able:
                return None
            chosen, least = min(able, key=lambda pair: pair[1].count)
            others = [part for part in pattern.parts if part is not chosen]
            return cls(least.lists, _all_of([*others, least.rest]), least.count)
        count = _count(pattern, B, Lq, Lk)
        if count is None:
            return None
        by_head = isinstance(pattern, Edges) and pattern.head is not None
        return cls((pattern,), pattern if by_head else None, count)

    def numbers(self, B: int, Lq: int, Lk: int, device: torch.device) -> Tensor:
        """Answer the numbers of the listed pairs, ascending, each once.

        Shapes:
            Answer: (P,) int64.
        """
        own = [_numbers(mask, Lq, Lk, device) for mask in self.lists if _per_item(mask)]
        shared = [_numbers(mask, Lq, Lk, device) for mask in self.lists if not _per_item(mask)]
        if not shared:
            return _ascending(own, B * Lq * Lk)
        first = _ascending(shared, Lq * Lk)
        everywhere = (first + Lq * Lk * torch.arange(B, device=device)[:, None]).flatten()
        return _ascending([everywhere, *own], B * Lq * Lk) if own else everywhere


def pairs_of(numbers: Tensor, B: int, H: int, Lq: int, Lk: int) -> Pairs:
    """Answer the pairs with these numbers."""
    row = numbers // Lk
    item = row // Lq
    return Pairs(B, H, Lq, Lk, item, row - item * Lq, numbers - row * Lk)


def _ascending(lists: list[Tensor], end: int) -> Tensor:
    """Answer the numbers, all below `end`, of several lists in one, ascending, each once."""
    numbers = torch.cat(lists)
    numbers = (numbers.int() if end < 2**31 else numbers).sort().values.long()  # 32 bits are sorted faster
    new = torch.ones_like(numbers, dtype=torch.bool)
    torch.ne(numbers[1:], numbers[:-1], out=new[1:])
    return numbers if new.all() else numbers[new]


def _all_of(masks: Iterable[Mask | None]) -> Mask | None:
    found = [mask for mask in masks if mask is not None]
    return reduce(lambda a, b: a & b, found) if found else None


def _count(mask: Mask, B: int, Lq: int, Lk: int) -> int | None:
    """Answer how many pairs a mask lists, over the batch; None if it lists none."""
    if isinstance(mask, Neighbours):
        return mask.index.numel() * (B if mask.index.ndim == 2 else 1)
    if isinstance(mask, Edges):
        return mask.edge_index.shape[1] * (B if mask.batch is None else 1)
    if isinstance(mask, (Window, Dilated)):
        return B * Lq * len(_steps(mask, Lq, Lk))
    if isinstance(mask, Global):
        return B * mask.index.shape[-1] * (Lq + Lk)
    return None


def _steps(mask: Window | Dilated, Lq: int, Lk: int) -> range:
    """Answer the offsets j - (i + Lk - Lq) that a window allows and that occur."""
    step = mask.dilation if isinstance(mask, Dilated) else 1
    left, right = min(mask.left, max(0, Lk - 1) // step), min(mask.right, max(0, Lq - 1) // step)
    return range(-left * step, right * step + 1, step)


def _per_item(mask: Mask) -> bool:
    """Whether a mask that lists pairs has a list for each item."""
    return mask.per_item if isinstance(mask, PairMask) else isinstance(mask, Global) and mask.index.ndim == 2


def _numbers(mask: Mask, Lq: int, Lk: int, device: torch.device) -> Tensor:
    """Answer the numbers of a mask's pairs, in any order and as often as it lists them; of item 0 if shared by all."""
    if isinstance(mask, PairMask):
        numbers = mask.pair_numbers(
            mask.index.shape[0] if isinstance(mask, Neighbours) and mask.per_item else 1, Lq, Lk
        )
        return _chosen(numbers, numbers >= 0)
    queries = torch.arange(Lq, device=device)
    if isinstance(mask, (Window, Dilated)):
        steps = _steps(mask, Lq, Lk)
        keys = queries[:, None] + (torch.arange(steps.start, steps.stop, steps.step, device=device) + (Lk - Lq))
        return _chosen(queries[:, None] * Lk + keys, (keys >= 0) & (keys < Lk))
    assert isinstance(mask, Global)
    place = mask.index.long().view(-1, mask.index.shape[-1], 1)
    query, first = place - (Lk - Lq), Lq * torch.arange(place.shape[0], device=device)[:, None, None]
    seen = _chosen((first + queries) * Lk + place, place >= 0)
    seeing = _chosen((first + query) * Lk + torch.arange(Lk, device=device), (place >= 0) & (query >= 0))
    return torch.cat([seen, seeing])


def _chosen(numbers: Tensor, where: Tensor) -> Tensor:
    return numbers.flatten() if where.all() else numbers[where.expand_as(numbers)]
