"""What data modules of sequences share: parts, shuffled negatives, names, and what baselines train on."""

from typing import Any, NamedTuple

import numpy as np
import torch

from core.training import DrawnDataModule, Split

from ...motifs.lookup import find_motifs
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
        train: the same for training; None takes what is in no other part
    """

    whole: Sequences
    test: np.ndarray | None = None
    val: np.ndarray | None = None
    train: np.ndarray | None = None


class SequenceDataModule(DrawnDataModule[Loaded]):
    """Sequences with a site (1) and without (0), split by groups, with shuffles where negatives are missing.

    A part without negatives gets `ratio` dinucleotide shuffles of each of its positives: fixed ones for validation and
    test, and new ones in every epoch of training (`fresh`), which are the same in every run with this seed. The split
    depends on the sequences and `split_seed` alone, and no group is parted.

    A subclass writes `load`.

    Args:
        test_fraction: Part of the sequences for the test, where none is given; 0 for none.
        ratio: Shuffles per positive.
        fresh: Draw the training part's shuffles anew in every epoch.
        motif: For the baseline that scans with known matrices, and for nothing else: a motif file, a JASPAR id
            (MA0095.2), or a list of ids. Of several the baseline takes the best on the validation part.
        options: Of `core.training.DrawnDataModule`; `seed` is also that of the fresh shuffles, `split_seed` that of
            the fixed ones.

    Raises:
        ValueError: A number is out of range.
    """

    def __init__(
        self,
        test_fraction: float = 0.1,
        ratio: int = 1,
        fresh: bool = True,
        motif: str | list[str] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(test_fraction=test_fraction, **options)
        if ratio < 1:
            raise ValueError(f"ratio: expected at least 1 shuffle per positive, got {ratio}")
        self.ratio, self.fresh, self.motif = ratio, fresh, motif
        self.collate = collate
        self.whole: Sequences | None = None
        self.plain_train_set: SequenceDataset | None = None
        self.shuffled_train = False
        self.val_set: SequenceDataset | None = None
        self.test_set: SequenceDataset | None = None

    def arrange(self, loaded: Loaded, stage: str | None) -> None:
        """Draw the parts and the shuffles that are missing."""
        pool, test, val = loaded.train, loaded.test, loaded.val
        if pool is None:
            pool = np.arange(len(loaded.whole.labels))
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
        self.split = Split(parts[0], parts[1], parts[2], groups=self.whole.groups)
        train, self.val_set, self.test_set = (
            SequenceDataset(self.whole, part) if len(part) else None for part in parts
        )
        self.plain_train_set, self.train_set = train, train
        self.shuffled_train = train is not None and not (labels[pool] == 0).any()
        if self.shuffled_train and self.fresh:
            self.train_set = FreshShuffles(SequenceDataset(self.whole, pool), self.ratio)

    def sequences(self) -> Sequences:
        """All of them, the fixed shuffles included: what the numbers of batches mean.

        Raises:
            RuntimeError: Nothing was loaded yet.
        """
        self.ready()
        assert self.whole is not None
        return self.whole

    def names_of(self, index: torch.Tensor) -> list[str]:
        """Identifiers of sequences, by their numbers."""
        names = self.sequences().names
        return [names[int(item)] for item in index]

    def describe_split(self) -> str:
        """The parts in words; "" where everything is to be predicted."""
        self.ready()
        if self.split is None or not any(len(part) for part in self.split):
            return ""
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
        return [] if self.motif is None else find_motifs(self.motif)


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
