"""Sequences from files: positives, and negatives or shuffles of the positives."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from core.training import hash_files

from ...sequences import read_sequences
from ...sequences.intervals import read_bed
from ...sequences.records import Rules, SequenceFileError, SequenceRecord
from ...sequences.splits import group_by_chromosome, group_by_shared_kmers
from .base import Loaded, SequenceDataModule
from .batch import SequenceDataset, Sequences


@dataclass
class _Pool:
    """Records with labels, in the order in which they were read."""

    records: list[SequenceRecord]
    labels: list[int]


class SequenceClassificationData(SequenceDataModule):
    """Any sequence files: positives, and negatives from a file or as dinucleotide shuffles of the positives.

    FASTA, FASTQ, GenBank and DeepBind's .seq, plain or gzip, recognised by content; with `genome`, BED files of
    intervals in it. DeepBind's column Bound is the label, 1 or 0; records without one are positives (in `negatives`,
    negatives). Training and validation (and the test, where no file is given) are drawn so that no two parts share 24
    letters in a row on either strand, or by chromosome.

    Args:
        train: File to train on.
        test: File for the test; None draws `test_fraction` of the training sequences.
        positives: The same as `train`, for those who have two files.
        negatives: File of negatives; None takes those that `train` labels, or else shuffles.
        predict: File to predict; None predicts the test part.
        genome: The genome in FASTA: then all files above are BED.
        first: Take so many positives, and so many negatives, from the start of the training files: of peaks that are
            ranked by strength the strongest. None takes all.
        length: Crop longer sequences to so many letters in their middle; shorter ones are padded. None crops nothing.
        split: "kmers" (see `split_k`) or "chromosome" (BED files).
        split_k: Letters in a row that may not occur in two parts.
        val_chromosomes: With split="chromosome": these are the validation part; None draws some.
        test_chromosomes: The same for the test part.
        duplicates: "refuse" or "allow" ids that come twice.
        uracil: As the other three in `genomics.sequences.Rules`: "refuse" or "thymine".
        gaps: "refuse", "drop" or "unknown".
        empty: "refuse" or "skip" records without a letter.
        options: See `SequenceDataModule`.

    Raises:
        FileNotFoundError: There is no such file.
        SequenceFileError: A file is not what its reader expects; the message names the line.
        ValueError: The options contradict each other, or a part would be left without a class.
    """

    licence = "as the files' owner says"
    source = "sequence files by path"

    def __init__(
        self,
        train: str | None = None,
        test: str | None = None,
        positives: str | None = None,
        negatives: str | None = None,
        predict: str | None = None,
        genome: str | None = None,
        first: int | None = None,
        length: int | None = None,
        split: str = "kmers",
        split_k: int = 24,
        val_chromosomes: list[str] | None = None,
        test_chromosomes: list[str] | None = None,
        duplicates: str = "refuse",
        uracil: str = "refuse",
        gaps: str = "refuse",
        empty: str = "refuse",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if train is not None and positives is not None:
            raise ValueError(f"train, positives: expected one of them, got {train} and {positives}")
        if split not in ("kmers", "chromosome"):
            raise ValueError(f"split: expected 'kmers' or 'chromosome', got {split!r}")
        if split == "chromosome" and genome is None:
            raise ValueError("genome: expected a FASTA file for split='chromosome', got None")
        if split == "kmers" and (val_chromosomes is not None or test_chromosomes is not None):
            raise ValueError("val_chromosomes, test_chromosomes: expected None for split='kmers'")
        if test is not None and test_chromosomes is not None:
            raise ValueError(f"test_chromosomes: expected None with a file for the test, got {test_chromosomes}")
        if empty == "keep":
            raise ValueError("empty: expected 'refuse' or 'skip', got 'keep'")
        for name, value in (("first", first), ("length", length)):
            if value is not None and value < 1:
                raise ValueError(f"{name}: expected at least 1, got {value}")
        names = {
            "train": train or positives,
            "test": test,
            "negatives": negatives,
            "predict": predict,
            "genome": genome,
        }
        self.paths = {name: Path(path).expanduser() for name, path in names.items() if path is not None}
        self.first, self.length, self.split_by, self.split_k = first, length, split, split_k
        self.val_chromosomes, self.test_chromosomes = val_chromosomes, test_chromosomes
        choices: dict[str, Any] = {"uracil": uracil, "gaps": gaps, "empty": empty, "duplicates": duplicates}
        self.rules = Rules(**choices)
        self._predicted: Sequences | None = None

    def setup(self, stage: str | None = None) -> None:
        """Read the labelled files, or only what is to be predicted."""
        for name, path in self.paths.items():
            if not path.is_file():
                raise FileNotFoundError(f"{name}: expected a file, got {path}, which is not there")
        if stage != "predict" or "predict" not in self.paths:
            super().setup(stage)
            return
        records = self._records("predict")
        nothing = np.full(len(records), -1)
        self._predicted = Sequences(*self._columns(records), nothing, np.arange(len(records)))
        self.predict_set = SequenceDataset(self._predicted, np.arange(len(records)))
        self.introduce()

    def load(self) -> Loaded:
        """Read the files, label and group the records."""
        if "train" not in self.paths and "test" not in self.paths:
            raise ValueError("train: expected a sequence file (or positives, or only a test), got None")
        pool, test = _Pool([], []), _Pool([], [])
        if "train" in self.paths:
            pool = self._labelled("train")
            if "negatives" in self.paths:
                if 0 in pool.labels:
                    line = pool.records[pool.labels.index(0)].line
                    raise SequenceFileError(
                        self.paths["train"],
                        line,
                        "expected positives only, as there is a file of negatives, got Bound = 0",
                    )
                others = self._records("negatives")
                pool = _Pool(pool.records + others, pool.labels + [0] * len(others))
            if self.first is not None:
                pool = _first(pool, self.first)
            if 1 not in pool.labels:
                raise ValueError(f"train: expected positives in {self.paths['train']}, got none")
        if "test" in self.paths:
            test = self._labelled("test")
        records = pool.records + test.records
        groups = self._groups(pool.records) if pool.records else np.empty(0, np.int64)
        groups = np.concatenate([groups, np.arange(len(test.records)) + groups.max(initial=-1) + 1])
        whole = Sequences(*self._columns(records), np.array(pool.labels + test.labels), groups)
        given = np.arange(len(pool.records), len(records)) if "test" in self.paths else None
        if self.test_chromosomes is not None:
            given = _of_chromosomes(pool.records, self.test_chromosomes, "test_chromosomes")
        val = None
        if self.val_chromosomes is not None:
            val = _of_chromosomes(pool.records, self.val_chromosomes, "val_chromosomes")
            if given is not None and len(np.intersect1d(val, given)):
                raise ValueError("val_chromosomes: expected others than test_chromosomes, got some of them")
        return Loaded(whole, given, val)

    def fingerprint(self) -> str:
        """A hash of the names and contents of the labelled files (of what is predicted, where there are no others)."""
        labelled = [path for name, path in self.paths.items() if name != "predict"]
        return hash_files(labelled or self.paths.values())

    def names_of(self, index: Any) -> list[str]:
        """Identifiers of sequences, by their numbers."""
        if self._predicted is not None and self.trainer is not None and self.trainer.predicting:
            return [self._predicted.names[int(item)] for item in index]
        return super().names_of(index)

    def describe_split(self) -> str:
        """The parts in words; "" where a file was read for prediction alone."""
        return "" if self.loaded is None and self._predicted is not None else super().describe_split()

    def split_words(self) -> str:
        """By what the parts are kept apart."""
        if self.split_by == "chromosome":
            return "split by chromosome"
        return f"no {self.split_k} letters in a row in two drawn parts"

    def _records(self, name: str) -> list[SequenceRecord]:
        path, genome = self.paths[name], self.paths.get("genome")
        return list(read_sequences(path, self.rules) if genome is None else read_bed(path, genome, self.rules))

    def _labelled(self, name: str) -> _Pool:
        """Records and their labels; without a label a record is a positive."""
        records = self._records(name)
        labels = [1 if record.label is None else record.label for record in records]
        for record, label in zip(records, labels, strict=True):
            if label not in (0, 1):
                raise SequenceFileError(self.paths[name], record.line, f"expected 0 or 1 in Bound, got {label:g}")
        return _Pool(records, [int(label) for label in labels])

    def _columns(self, records: list[SequenceRecord]) -> tuple[list[str], list[str]]:
        """Names and cropped letters."""
        letters = [record.sequence for record in records]
        if self.length is not None:
            starts = [max(len(sequence) - self.length, 0) // 2 for sequence in letters]
            letters = [s[start : start + self.length] for s, start in zip(letters, starts, strict=True)]
        return [record.id for record in records], letters

    def _groups(self, records: list[SequenceRecord]) -> np.ndarray:
        if self.split_by == "chromosome":
            return group_by_chromosome(records)
        return group_by_shared_kmers(self._columns(records)[1], self.split_k)


def _first(pool: _Pool, most: int) -> _Pool:
    """The first records of each class."""
    left, kept = {0: most, 1: most}, []
    for place, label in enumerate(pool.labels):
        if left[label]:
            left[label] -= 1
            kept.append(place)
    return _Pool([pool.records[place] for place in kept], [pool.labels[place] for place in kept])


def _of_chromosomes(records: list[SequenceRecord], names: list[str], option: str) -> np.ndarray:
    found = [record.interval.chrom if record.interval else "" for record in records]
    missing = sorted(set(names) - set(found))
    if missing:
        raise ValueError(f"{option}: expected chromosomes of the training files, got {', '.join(missing)}")
    return np.flatnonzero(np.isin(found, names))


class SequenceClassification(SequenceClassificationData):
    """Former name of `SequenceClassificationData`."""

    former: ClassVar[bool] = True
