"""The pairs that a mask can allow, as a list: without an L x L tensor, and each pair once.

A pair has the number (b * Lq + i) * Lk + j; a list ascends in it, so that the pairs of a query stand together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ..symbols import Symbolic


class PairList(Protocol):
    """A mask that lists pairs."""

    @property
    def per_item(self) -> bool:
        """Whether the items of the batch have lists of their own; else one list holds for all of them."""

    def listed(self, Lq: int, Lk: int, device: torch.device) -> Tensor:
        """Answer the numbers of the pairs, in any order and as often as they are listed; of item 0 if shared by all.

        Shapes:
            Answer: (P,) int64.
        """


@dataclass(frozen=True)
class Listing:
    """A pattern as a list of pairs and conditions on them.

    Attributes:
        lists: Masks that list pairs; each allowed pair is in one of them.
        rest: Masks that must hold at a listed pair for it to be allowed; none if they all are.
        count: How many pairs there are at most, over the batch; known from shapes alone.
    """

    lists: tuple[PairList, ...]
    rest: tuple[Symbolic, ...]
    count: int

    def numbers(self, B: int, Lq: int, Lk: int, device: torch.device) -> Tensor:
        """Answer the numbers of the listed pairs, ascending, each once.

        Shapes:
            Answer: (P,) int64.
        """
        own = [mask.listed(Lq, Lk, device) for mask in self.lists if mask.per_item]
        shared = [mask.listed(Lq, Lk, device) for mask in self.lists if not mask.per_item]
        if not shared:
            return _ascending(own, B * Lq * Lk)
        first = _ascending(shared, Lq * Lk)
        everywhere = (first + Lq * Lk * torch.arange(B, device=device)[:, None]).flatten()
        return _ascending([everywhere, *own], B * Lq * Lk) if own else everywhere


def chosen(numbers: Tensor, where: Tensor) -> Tensor:
    """Answer those numbers, in one row, that stand where the condition, which may be broadcast, holds."""
    return numbers.flatten() if where.all() else numbers[where.expand_as(numbers)]


def _ascending(lists: list[Tensor], end: int) -> Tensor:
    """Answer the numbers, all below `end`, of several lists in one, ascending, each once."""
    numbers = torch.cat(lists)
    numbers = (numbers.int() if end < 2**31 else numbers).sort().values.long()  # 32 bits are sorted faster
    new = torch.ones_like(numbers, dtype=torch.bool)
    torch.ne(numbers[1:], numbers[:-1], out=new[1:])
    return numbers if new.all() else numbers[new]
