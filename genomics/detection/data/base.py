"""What data modules of sequences share: parts, shuffled negatives, names, and what baselines train on."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np
import torch

from core.training import DataModule

from ...motifs.matrices import Motif
from ...sequences.splits import shares_kmer
from .batch import FreshShuffles, SequenceDataset, Sequences, collate, fixed_shuffles
from .split import draw_groups


class Loaded(NamedTuple):
    """What a data module has read or made.

    Shapes:
        whole: every sequence; without negatives (label 0) shuffles take their place
        test: numbers of the sequences that are for the test; None draws a part
        val: the same for validation
    """

    whole: Sequences
    test: np.ndarray | None = None
    val: np.ndarray | None = None


class SequenceDataModule(DataModule, ABC):
    """Sequences with a site (1) and without (0), split by groups, with shuffles where negatives are missing.

    A part without negatives gets `ratio` dinucleotide shuffles of each of its positives: fixed ones for validation and
    test, and new ones in every epoch of training (`fresh`), which are the same in every run with this seed. The split
    depends on the sequences and `split_seed` alone, and no group is parted.

    Args:
        batch_size: Sequences per process and step.
        num_workers: Processes that read and shuffle.
        seed: Of the order and of the fresh shuffles.
        drop_last: Leave out the incomplete last batch of an epoch.
        val_fraction: Part of the sequences (without those given for the test) for validation; 0 for none.
        test_fraction: Part for the test, where none is given; 0 for none.
        split_seed: Of the split and of the fixed shuffles.
        ratio: Shuffles per positive.
        fresh: Draw the training part's shuffles anew in every epoch.
        motif: For the baseline that scans with known matrices, and for nothing else: a motif file, a JASPAR id
            (MA0095.2), or a list of ids. Of several the baseline takes the best on the validation part.

    Raises:
        ValueError: A number is out of range.
    """

    def __init__(
        self,
        batch_size: int = 64,
        num_workers: int = 0,
        seed: int = 0,
        drop_last: bool = True,
        val_fraction: float = 0.1,
        test_fraction: float = 0.1,
        split_seed: int = 0,
        ratio: int = 1,
        fresh: bool = True,
        motif: str | list[str] | None = None,
    ) -> None:
        super().__init__(batch_size=batch_size, num_workers=num_workers, seed=seed, drop_last=drop_last)
        if ratio < 1:
            raise ValueError(f"ratio: expected at least 1 shuffle per positive, got {ratio}")
        self.val_fraction, self.test_fraction, self.split_seed = val_fraction, test_fraction, split_seed
        self.ratio, self.fresh, self.motif = ratio, fresh, motif
        self.collate = collate
        self.whole: Sequences | None = None
        self.plain_train_set: SequenceDataset | None = None
        self.shuffled_train = False
        self.val_set: SequenceDataset | None = None
        self.test_set: SequenceDataset | None = None

    @abstractmethod
    def load(self) -> Loaded:
        """Read or make the labelled sequences; every data module says how."""

    def setup(self, stage: str | None = None) -> None:
        """Read, split, draw what is fixed, and let the task look at the data."""
        if self.whole is None:
            self._arrange(self.load())
        self.introduce()

    def _arrange(self, loaded: Loaded) -> None:
        """Draw the parts and the shuffles that are missing."""
        pool, test, val = np.arange(len(loaded.whole.labels)), loaded.test, loaded.val
        given = [part for part in (test, val) if part is not None]
        pool = np.setdiff1d(pool, np.concatenate(given)) if given else pool
        generator = np.random.default_rng(self.split_seed)
        groups, labels = loaded.whole.groups, loaded.whole.labels
        val_fraction = self.val_fraction
        if len(pool) and test is None:
            if not self.val_fraction + self.test_fraction < 1:
                raise ValueError(
                    "val_fraction + test_fraction: expected less than 1, got "
                    f"{self.val_fraction} + {self.test_fraction}"
                )
            val_fraction = self.val_fraction / (1 - self.test_fraction)  # of what remains
            rest, drawn = draw_groups(groups[pool], labels[pool], self.test_fraction, generator, "test_fraction")
            pool, test = pool[rest], pool[drawn]
        if len(pool) and val is None:
            rest, drawn = draw_groups(groups[pool], labels[pool], val_fraction, generator, "val_fraction")
            pool, val = pool[rest], pool[drawn]
        complete = _Growing(loaded.whole)
        parts = []
        for number, part in enumerate((pool, val, test)):
            part = np.empty(0, dtype=np.int64) if part is None else part
            if len(part) and not (labels[part] == 0).any():
                part = complete.with_shuffles(part, self.ratio, seed=self.split_seed * 3 + number)
            parts.append(part)
        self.whole = complete.sequences()
        train, self.val_set, self.test_set = (
            SequenceDataset(self.whole, part) if len(part) else None for part in parts
        )
        self.plain_train_set, self.train_set = train, train
        self.shuffled_train = train is not None and not (labels[pool] == 0).any()
        if self.shuffled_train and self.fresh:
            self.train_set = FreshShuffles(SequenceDataset(self.whole, pool), self.ratio)

    def names_of(self, index: torch.Tensor) -> list[str]:
        """Identifiers of sequences, by their numbers."""
        return [self._ready().names[int(item)] for item in index]

    def describe_split(self) -> str:
        """The parts in words."""
        self._ready()
        words = []
        for name, part in (("train", self.plain_train_set), ("val", self.val_set), ("test", self.test_set)):
            targets = np.empty(0) if part is None else part.targets()
            words.append(f"{name} {(targets == 1).sum()} + {(targets == 0).sum()}")
        fresh = " (new shuffles in every epoch)" if isinstance(self.train_set, FreshShuffles) else ""
        return f"positives + negatives: {', '.join(words)}; {self.split_words()}, seed {self.split_seed}{fresh}"

    def split_words(self) -> str:
        """By what the parts are kept apart."""
        return "by groups"

    def seen(self, part: SequenceDataset, k: int = 24) -> np.ndarray:
        """Which sequences of a part share a k-mer, on either strand, with the training or the validation part.

        Args:
            part: Such as the test part.
            k: Letters in a row.

        Shapes:
            answer: (m,) bool
        """
        others = [p for p in (self.plain_train_set, self.val_set) if p is not None]
        return shares_kmer(part.letters(), [letters for other in others for letters in other.letters()], k)

    def known_motifs(self) -> list[Motif]:
        """The matrices that `motif` names."""
        from ...motifs.lookup import find_motifs

        return [] if self.motif is None else find_motifs(self.motif)

    def _ready(self) -> Sequences:
        if self.whole is None:
            raise RuntimeError(f"{type(self).__name__}: call setup() first")
        return self.whole


class _Growing:
    """Sequences that shuffles are added to; those added belong to their parents' groups."""

    def __init__(self, whole: Sequences) -> None:
        self.names, self.letters = list(whole.names), list(whole.letters)
        self.labels, self.groups = whole.labels.tolist(), whole.groups.tolist()

    def with_shuffles(self, items: np.ndarray, ratio: int, seed: int) -> np.ndarray:
        """Add shuffles of these sequences; answer the numbers of both."""
        first = len(self.letters)
        self.letters += fixed_shuffles([self.letters[item] for item in items], ratio, seed)
        for item in items.tolist():
            self.names += [f"{self.names[item]}/shuffle{number}" for number in range(ratio)]
            self.groups += [self.groups[item]] * ratio
        self.labels += [0] * (len(self.letters) - first)
        return np.concatenate([items, np.arange(first, len(self.letters))])

    def sequences(self) -> Sequences:
        """All of them."""
        return Sequences(self.names, self.letters, np.array(self.labels, np.int64), np.array(self.groups, np.int64))
