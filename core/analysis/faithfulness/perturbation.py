"""Deletion and insertion: how fast the output falls when units go in an order of importance, and rises when they come.

    deletion(f)  = curve(y) with the first fraction f of the order removed
    insertion(f) = curve(y) with the first fraction f of the order alone

A removed unit is replaced by the baseline of the `Units`. A good order has a small area under deletion and a large one
under insertion (trapezoid rule over f). Both measure the order together with the baseline: the replaced input may be
unlike anything the model was trained on, so compare orders under one baseline only, and with random orders.

References:
    Petsiuk et al., RISE: randomized input sampling for explanation of black-box models, BMVC 2018 (the two
    metrics).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .ranks import shuffled
from .subject import Subject


class Curves(NamedTuple):
    """Deletion and insertion of one order.

    Attributes:
        fractions: of the item's units, (S + 1,), from 0 to 1.
        deletion: (B, S + 1).
        insertion: (B, S + 1).
    """

    fractions: Tensor
    deletion: Tensor
    insertion: Tensor

    @property
    def deletion_auc(self) -> Tensor:
        """Area under deletion of every item, (B,)."""
        return torch.trapezoid(self.deletion, self.fractions, dim=1)

    @property
    def insertion_auc(self) -> Tensor:
        """Area under insertion of every item, (B,)."""
        return torch.trapezoid(self.insertion, self.fractions, dim=1)


@torch.no_grad()
def deletion_insertion(subject: Subject, importance: Tensor, *, steps: int | None = None) -> Curves:
    """Remove and insert units in the order of falling importance.

    Args:
        subject: the model under test.
        importance: (B, n); ties in the order of the units.
        steps: S, groups of units that go together; at most n. Default: n up to 32, else 32.
    """
    n = importance.shape[1]
    steps = min(n, 32 if steps is None else steps)
    ranks = importance.masked_fill(~subject.valid, -torch.inf).argsort(dim=1, descending=True, stable=True).argsort(1)
    counts = subject.valid.sum(1)
    fractions = torch.linspace(0, 1, steps + 1, dtype=subject.x.dtype, device=subject.x.device)
    deletion, insertion = [], []
    for step in range(steps + 1):
        first = ranks < (counts * step / steps).round()[:, None]
        with subject.opened():
            deletion.append(subject.curve(subject.without(~first)))
            insertion.append(subject.curve(subject.without(first)))
    return Curves(fractions, torch.stack(deletion, 1), torch.stack(insertion, 1))


def random_order(subject: Subject, *, orders: int, generator: torch.Generator, steps: int | None = None) -> Curves:
    """The mean over random orders of the curves, per item.

    Args:
        subject: the model under test.
        orders: how many.
        generator: draws them, on the CPU.
        steps: as in `deletion_insertion`.
    """
    if orders < 1:
        raise ValueError(f"orders: expected at least 1, got {orders}")
    drawn = [
        deletion_insertion(subject, shuffled(subject.valid, generator).double(), steps=steps) for _ in range(orders)
    ]
    deletion = torch.stack([c.deletion for c in drawn]).mean(0)
    return Curves(drawn[0].fractions, deletion, torch.stack([c.insertion for c in drawn]).mean(0))
