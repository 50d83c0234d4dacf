"""Shocks to economies: samples, batches, and what the data modules of supply chains share."""

from abc import ABC
from collections.abc import Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from core.training import PARTS, LoadedDataModule, Split, hash_arrays

from ..economy import Economy, Flow, FlowEdges

Loaded = TypeVar("Loaded")


class ShockItem(NamedTuple):
    """Shocks to one economy.

    Shapes:
        shock: (n, m), m shocks, float64
        observed: (n, m) bool, the sectors whose answer to a shock is known
    """

    economy: Economy
    shock: Tensor
    observed: Tensor
    number: int
    labels: tuple[str, ...]


class ShockBatch(NamedTuple):
    """Economies side by side as one graph; column c of `shock` is the c-th shock of each of them.

    Shapes:
        supplier, buyer: (E,) nodes
        coefficient: (E,), float64
        graph: (N,), the economy of each node
        shock: (N, m), float64
        observed: (N, m) bool; False also where an economy has fewer than m shocks
        number: (B,), the items' numbers in their part
    """

    supplier: Tensor
    buyer: Tensor
    coefficient: Tensor
    graph: Tensor
    shock: Tensor
    observed: Tensor
    number: Tensor

    def edges(self, flow: Flow) -> FlowEdges:
        """The edges as shocks travel: demand from buyer to supplier, cost from supplier to buyer."""
        index = [self.buyer, self.supplier] if flow == "demand" else [self.supplier, self.buyer]
        return FlowEdges(torch.stack(index), self.coefficient)


class Shocks(Dataset[ShockItem]):
    """A list of items."""

    def __init__(self, items: Sequence[ShockItem]) -> None:
        self.items = list(items)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, item: int) -> ShockItem:
        return self.items[item]


def join(items: Sequence[ShockItem]) -> ShockBatch:
    """Put economies side by side; nothing connects them."""
    most = max(item.shock.shape[1] for item in items)
    supplier, buyer, coefficient, graph, shock, observed = [], [], [], [], [], []
    first = 0
    for place, item in enumerate(items):
        source, target = item.economy.edges("cost").index
        supplier.append(source + first)
        buyer.append(target + first)
        coefficient.append(item.economy.edges("cost").coefficient)
        graph.append(torch.full((len(item.economy),), place))
        missing = (0, most - item.shock.shape[1])
        shock.append(torch.nn.functional.pad(item.shock, missing))
        observed.append(torch.nn.functional.pad(item.observed, missing, value=False))
        first += len(item.economy)
    number = torch.tensor([item.number for item in items])
    return ShockBatch(
        torch.cat(supplier),
        torch.cat(buyer),
        torch.cat(coefficient),
        torch.cat(graph),
        torch.cat(shock),
        torch.cat(observed),
        number,
    )


class FlowData(LoadedDataModule[Loaded], ABC, Generic[Loaded]):
    """What `SupplyChainTask` trains on: parts that are lists of `ShockItem`.

    A subclass writes `load`, and `arrange`, which sets `split` and hands the items to `use_items`.

    Args:
        batch_size: Economies per step.
        options: Of `core.training.LoadedDataModule`.
    """

    def __init__(self, batch_size: int = 4, **options: Any) -> None:
        super().__init__(batch_size=batch_size, **options)
        self.collate = join

    def use_items(self, train: Sequence[ShockItem], val: Sequence[ShockItem], test: Sequence[ShockItem]) -> None:
        """Set the parts; an empty one for validation is none."""
        self.train_set, self.test_set = Shocks(train), Shocks(test)
        self.val_set = Shocks(val) if len(val) else None

    def items(self, stage: str) -> list[ShockItem]:
        """The items of "train", "val" or "test"."""
        part = {"train": self.train_set, "val": self.val_set, "test": self.test_set}[stage]
        return list(part.items) if isinstance(part, Shocks) else []

    def fingerprint(self) -> str:
        """A hash of the coefficients, shocks and masks of all parts."""
        arrays = [
            array
            for stage in PARTS
            for item in self.items(stage)
            for array in (item.economy.coefficients, item.shock, item.observed)
        ]
        return hash_arrays(*arrays)


def in_a_row(train: int, val: int, test: int) -> Split:
    """Parts that follow each other: items 0 .. train - 1, and so on."""
    first, second, third = np.split(np.arange(train + val + test), (train, train + val))
    return Split(first, second, third)
