"""What masks have in common that list the allowed pairs one by one."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from ..symbols import look_up
from .base import Mask
from .listing import chosen


class PairMask(Mask):
    """A mask that lists its pairs, so that `need=("pair_weights",)` can answer one weight per head and pair."""

    @property
    @abstractmethod
    def per_item(self) -> bool:
        """Whether the items of the batch have lists of their own; else one list holds for all of them."""

    @abstractmethod
    def pair_numbers(self, B: int, Lq: int, Lk: int) -> Tensor:
        """Answer the number (b * Lq + i) * Lk + j of each place in the list; negative where it is unused.

        Shapes:
            Answer: int64; its axes are those of pair_weights without the heads.
        """

    @abstractmethod
    def gather_listed(self, values: Tensor, numbers: Tensor, B: int, Lq: int, Lk: int) -> Tensor:
        """Pick the listed pairs out of values at pairs with ascending numbers; those not there answer 0.

        Shapes:
            values: (H, P).
            numbers: (P,).
            Answer: as pair_weights.
        """

    @abstractmethod
    def gather_pairs(self, dense: Tensor) -> Tensor:
        """Pick the listed pairs out of a dense (B, H, Lq, Lk) tensor; unused places answer 0."""

    def listed(self, Lq: int, Lk: int, device: torch.device) -> Tensor:
        """Answer the numbers of the pairs, as often as they are listed; of item 0 if one list holds for all."""
        numbers = self.pair_numbers(1, Lq, Lk)
        return chosen(numbers, numbers >= 0)


def at_numbers(values: Tensor, numbers: Tensor, wanted: Tensor) -> Tensor:
    """Pick the values (H, P) whose numbers are wanted, (H, *S); 0 where a number is not there."""
    if numbers.numel() == 0:
        return values.new_zeros(values.shape[0], *wanted.shape)
    place, hit = look_up(numbers, wanted)
    return torch.where(hit, values.index_select(1, place.flatten()).view(-1, *place.shape), 0.0)
