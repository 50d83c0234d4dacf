"""Sequences that are in memory already: lists, numpy arrays, torch tensors, or columns of a table."""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np
import torch

from core.training import PARTS, Split, hash_arrays
from core.training.data import as_array, column_names, item_names

from ...sequences.alphabet import LETTERS, decode
from ...sequences.splits import group_by_shared_kmers
from .base import Loaded, SequenceDataModule
from .batch import SequenceDataset, Sequences


class SequenceArrayData(SequenceDataModule):
    """Sequences from Python, with labels to train and test on, or without to predict them.

    Labels are 1 (with a site) and 0 (without). A part without negatives gets dinucleotide shuffles of its positives, as
    from files. The parts are those that you give, or drawn so that no two of them share `split_k` letters in a row on
    either strand. What you give is not stored in checkpoints, nor changed.

    Args:
        sequences: Strings of IUPAC codes of DNA, in either case, or one-hot rows, which may be probabilities of an
            IUPAC code; rows of zeros at the end are padding.
        labels: 1 or 0 of each; None: all of them are to be predicted.
        names: Of each, no two alike; None numbers them.
        split: Your own parts: a `core.training.Split`, or a map from "train", "val" and "test" to masks or numbers of
            items; what is in none is left out. None draws them.
        groups: What must not be parted, one of each sequence: numbers or strings; None goes by shared letters, and
            with `split` by nothing.
        split_k: Letters in a row that may not occur in two parts.
        options: Of `SequenceDataModule`.

    Shapes:
        sequences: (n,) strings or (n, L, 4) numbers
        labels, names, groups: (n,)
        split: masks (n,) or numbers (m,)

    Raises:
        ValueError: They do not fit each other, or are not what is expected.
    """

    licence = "as the data's owner says"
    source = "arrays in Python"
    from_python: ClassVar[bool] = True
    not_stored: ClassVar[tuple[str, ...]] = ("sequences", "labels", "names", "split", "groups")

    def __init__(
        self,
        sequences: Any,
        labels: Any = None,
        names: Any = None,
        split: Split | Mapping[str, Any] | None = None,
        groups: Any = None,
        split_k: int = 24,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.letters = _letters(sequences)
        count = len(self.letters)
        if not count:
            raise ValueError("sequences: expected at least one, got none")
        self.names = [str(number) for number in range(count)] if names is None else item_names(names, count)
        self.labels = None if labels is None else _labels(labels, count)
        self.groups = None if groups is None else _column(groups, count, "groups")
        self.parts = None if split is None else dict(zip(PARTS, Split.of_parts(split, count), strict=True))
        self.split_k = split_k
        if self.parts is None:
            if self.labels is not None and not self.labels.any():
                raise ValueError("labels: expected some 1, got none")
            return
        if self.labels is None:
            raise ValueError("labels: expected 1 or 0 of each for a split, got None")
        for option in ("val_fraction", "test_fraction"):
            if option in options:
                raise ValueError(f"{option}: expected none with your own split, got {options[option]}")
        for name, part in self.parts.items():
            if len(part) and not self.labels[part].any():
                raise ValueError(f"split: expected some label 1 in {name}, got none")

    @classmethod
    def from_dataset(
        cls,
        dataset: Any,
        sequence: str = "sequence",
        label: str | None = "label",
        name: str | None = None,
        **options: Any,
    ) -> "SequenceArrayData":
        """Take columns of a Hugging Face `datasets.Dataset`, of a pandas data frame, or of a dict of columns.

        Args:
            dataset: Whatever answers a column as `dataset[name]` and names them in `column_names` (data sets),
                `columns` (data frames) or its keys.
            sequence: Column of the sequences.
            label: Column of the labels; None predicts.
            name: Column of the names.
            options: Of the class.

        Raises:
            ValueError: There is no such column, or what it holds is not what is expected.
        """
        known = column_names("dataset", dataset)
        for argument, column in (("sequence", sequence), ("label", label), ("name", name)):
            if column is not None and column not in known:
                raise ValueError(f"{argument}: expected one of the columns {', '.join(known)}, got {column!r}")
        labels, names = (None if column is None else list(dataset[column]) for column in (label, name))
        return cls(list(dataset[sequence]), labels, names, **options)

    def load(self) -> Loaded:
        """Put the arrays together."""
        count, nothing = len(self.letters), np.empty(0, dtype=np.int64)
        groups = np.arange(count)
        if self.groups is not None:
            groups = np.unique(self.groups, return_inverse=True)[1]
        elif self.labels is not None and self.parts is None:
            groups = group_by_shared_kmers(self.letters, self.split_k)
        if self.labels is None:
            return Loaded(Sequences(self.names, self.letters, np.full(count, -1), groups), nothing, nothing, nothing)
        return Loaded(Sequences(self.names, self.letters, self.labels, groups), **(self.parts or {}))

    def arrange(self, loaded: Loaded, stage: str | None) -> None:
        """Draw or take the parts; without labels all is to be predicted."""
        super().arrange(loaded, stage)
        if self.labels is None:
            self.predict_set = SequenceDataset(loaded.whole, np.arange(len(self.letters)))

    def fingerprint(self) -> str:
        """A hash of sequences and labels."""
        letters = np.frombuffer("\n".join(self.letters).encode("ascii"), dtype=np.uint8)
        return hash_arrays(letters) if self.labels is None else hash_arrays(letters, self.labels)

    def split_words(self) -> str:
        """By what the parts are kept apart."""
        if self.parts is not None:
            return "parts as given"
        return f"no {self.split_k} letters in a row in two parts" if self.groups is None else "no group in two parts"


def _letters(sequences: Any) -> list[str]:
    """The sequences as upper-case strings."""
    if isinstance(sequences, (str, bytes)):
        raise ValueError("sequences: expected a list of strings, got one string")
    if getattr(sequences, "ndim", 1) != 1:
        return _decoded(as_array("sequences", sequences))
    if not isinstance(sequences, Iterable):
        raise ValueError(f"sequences: expected a list of strings, got {type(sequences).__name__}")
    letters = []
    for number, item in enumerate(sequences):
        if not isinstance(item, (str, bytes)):
            if not number and getattr(item, "ndim", 0) == 2:  # a list of one-hot rows, of lengths that may differ
                return [_decoded(as_array("sequences", one)[None], k)[0] for k, one in enumerate(sequences)]
            raise ValueError(f"sequences[{number}]: expected a string or one-hot rows, got {type(item).__name__}")
        sequence = item.decode("ascii", "replace") if isinstance(item, bytes) else item
        sequence = sequence.upper() if sequence.isascii() else sequence  # the upper case of ß would be two letters
        if not sequence:
            raise ValueError(f"sequences[{number}]: expected letters, got none")
        strange = sequence.translate(_KNOWN)
        if strange:
            place = sequence.index(strange[0])
            raise ValueError(f"sequences[{number}]: expected IUPAC codes of DNA, got {strange[0]!r} at place {place}")
        letters.append(sequence)
    return letters


_KNOWN = str.maketrans("", "", LETTERS)


def _decoded(rows: np.ndarray, first: int = 0) -> list[str]:
    if rows.ndim != 3 or rows.shape[2] != 4 or rows.dtype.kind not in "biuf":
        raise ValueError(f"sequences: expected (n,) strings or (n, L, 4) numbers, got {rows.shape} of {rows.dtype}")
    letters = []
    for number, item in enumerate(torch.from_numpy(rows.astype(np.float32)), start=first):
        try:
            letters.append(decode(item))
        except ValueError as error:
            raise ValueError(f"sequences[{number}]: {str(error).removeprefix('values: ')}") from error
        if not letters[-1]:
            raise ValueError(f"sequences[{number}]: expected letters, got none")
    return letters


def _column(values: Any, count: int, name: str) -> np.ndarray:
    array = as_array(name, values)
    if array.shape != (count,):
        raise ValueError(f"{name}: expected ({count},), one of each sequence, got {array.shape}")
    return array


def _labels(labels: Any, count: int) -> np.ndarray:
    array = _column(labels, count, "labels")
    if array.dtype.kind not in "biuf":
        raise ValueError(f"labels: expected numbers 1 or 0, got {array.dtype}")
    wrong = ~np.isin(array, (0, 1))
    if wrong.any():
        place = int(wrong.argmax())
        raise ValueError(f"labels: expected 1 or 0, got {array[place]} at place {place}")
    return array.astype(np.int64)
