"""Sequences with labels: one item at a time, encoded by the batch."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset

from ...sequences.alphabet import encode
from ...sequences.shuffle import dinucleotide_shuffle


class SequenceBatch(NamedTuple):
    """Some sequences, right-padded to the longest; without labels (prediction) every label is -1.

    Shapes:
        x: (B, L, 4), float32: probabilities of A, C, G, T, and 0 behind a sequence's end
        lengths: (B,), int64
        label: (B,), int64: 1 with a site, 0 without
        index: (B,), int64: the item's number in `Sequences`; a shuffle that is drawn for training has its parent's
    """

    x: torch.Tensor
    lengths: torch.Tensor
    label: torch.Tensor
    index: torch.Tensor  # type: ignore[assignment]  # a field, not the method of tuples


class Item(NamedTuple):
    """One sequence before it is encoded."""

    sequence: str
    label: int
    index: int  # type: ignore[assignment]  # a field, not the method of tuples


class Sequences(NamedTuple):
    """All sequences of a data module, in one order.

    Shapes:
        names, letters: n of each
        labels: (n,): 1, 0, or -1 where there is none
        groups: (n,): sequences of one group stay in one part
    """

    names: list[str]
    letters: list[str]
    labels: np.ndarray
    groups: np.ndarray


class SequenceDataset(Dataset[Item]):
    """Some of the sequences.

    Args:
        whole: All sequences.
        items: Numbers of those that belong here.

    Shapes:
        items: (m,)
    """

    def __init__(self, whole: Sequences, items: np.ndarray) -> None:
        self.whole, self.items = whole, np.asarray(items, dtype=np.int64)

    def __len__(self) -> int:
        """How many sequences belong here."""
        return len(self.items)

    def __getitem__(self, position: int) -> Item:
        """The sequence at this position."""
        item = int(self.items[position])
        return Item(self.whole.letters[item], int(self.whole.labels[item]), item)

    def __getitems__(self, positions: Sequence[int]) -> list[Item]:
        """The sequences at these positions."""
        return [self[position] for position in positions]

    def letters(self) -> list[str]:
        """Every sequence here."""
        return [self.whole.letters[item] for item in self.items]

    def targets(self) -> np.ndarray:
        """The labels here, (m,)."""
        return self.whole.labels[self.items]


class FreshShuffles(Dataset[Item]):
    """Positives, and after them `ratio` dinucleotide shuffles of each, drawn anew whenever one is read.

    The draw takes its seed from numpy's global generator, which the training loader seeds by (seed, epoch, position):
    an epoch has its own shuffles, and the same ones in every run, with any number of workers. It has no
    `__getitems__`, so that the loader seeds for each item.

    Args:
        positives: The sequences to shuffle, all of label 1.
        ratio: Shuffles of each.
    """

    def __init__(self, positives: SequenceDataset, ratio: int = 1) -> None:
        self.positives, self.ratio = positives, ratio

    def __len__(self) -> int:
        """How many items there are, shuffles included."""
        return len(self.positives) * (1 + self.ratio)

    def __getitem__(self, position: int) -> Item:
        """The positive at this position, or a new shuffle of one."""
        if position < len(self.positives):
            return self.positives[position]
        parent = self.positives[position % len(self.positives)]
        generator = np.random.default_rng(np.random.randint(0, 2**32, size=4, dtype=np.int64))
        return Item(dinucleotide_shuffle(parent.sequence, generator), 0, parent.index)


def fixed_shuffles(letters: Sequence[str], ratio: int, seed: int) -> list[str]:
    """`ratio` dinucleotide shuffles of each sequence, those of one sequence next to each other.

    Shuffle r of the sequence at place i depends on (seed, i, r) and that sequence alone.

    Args:
        letters: The sequences.
        ratio: Shuffles of each.
        seed: Of the draw.
    """
    return [
        dinucleotide_shuffle(sequence, np.random.default_rng([seed, place, number]))
        for place, sequence in enumerate(letters)
        for number in range(ratio)
    ]


def collate(
    items: Sequence[Item], ambiguous: Literal["probabilities", "zeros", "refuse"] = "probabilities"
) -> SequenceBatch:
    """Encode items as one batch, padded to the longest of them.

    Args:
        items: At least one.
        ambiguous: See `genomics.sequences.one_hot`.
    """
    encoded = encode([item.sequence for item in items], mixed="pad", ambiguous=ambiguous)
    label, index = (torch.tensor([item[k] for item in items], dtype=torch.int64) for k in (1, 2))
    return SequenceBatch(encoded.values, encoded.lengths, label, index)
