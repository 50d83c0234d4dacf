"""PhysioNet/CinC Challenge 2012: 4,000 stays in intensive care a set, in-hospital death from the first 48 hours."""

from dataclasses import replace

import numpy as np

from core.training.data import hash_arrays

from ...events.cohort import Labels, build_samples
from ...events.readers.physionet import HOURS, PhysioNetStays, fingerprint, read_physionet
from ...events.readers.physionet_outcomes import AUXILIARY, TARGET
from ...events.splits import Split, subject_split
from ...events.vocabulary import merge
from .base import EventDataModule, LoadedEvents


class PhysioNet2012(EventDataModule):
    """Death in hospital from the first 48 hours of intensive care; read from `root`, which nobody but you can fill.

    With `test` the named set is the test part and the validation part comes from `train`: its fold number `fold` of
    `folds` if that is given, else the share `val_fraction` (0 for none). Without `test` both parts come from `train`.

    The samples have the other columns of the outcomes' file as further outcomes (`physionet_outcomes`), as far as any
    stay of `train` has them. A set is read with the file of its outcomes, to predict it, too.

    Args:
        root: The folder that holds set-a, Outcomes-a.txt and so on, from https://physionet.org/content/challenge-2012.
        train: The set that trains: "a", "b" or "c".
        test: The set that judges; None to split `train`.
        fold: With `test`, the fold of `train` that validates; else the fold that tests.
        options: Of `EventDataModule`.
    """

    licence = "ODC-By 1.0"
    source = "PhysioNet/Computing in Cardiology Challenge 2012, by a local path"

    def __init__(
        self, root: str, train: str = "a", test: str | None = "b", fold: int | None = None, **options: object
    ) -> None:
        super().__init__(fold=fold, **options)  # type: ignore[arg-type]
        if train == test:
            raise ValueError(f"test: expected another set than train, or None, got {test!r} for both")
        self.root, self.train, self.test = root, train, test

    def load(self) -> LoadedEvents:
        """Read the sets; every stay is a sample, predicted at 48 hours."""
        names = [self.train] if self.test is None else [self.train, self.test]
        parts, reports = [], []
        for name in names:
            stays = read_physionet(self.root, name)
            cohort = build_samples(stays.table, stay_labels(stays))
            parts.append(cohort.samples)
            reports += [stays.report, cohort.report]
        samples = merge(parts)
        known = np.flatnonzero(~np.isnan(parts[0].auxiliary).all(axis=0))
        names = tuple(AUXILIARY[k] for k in known)
        samples = replace(samples, auxiliary=samples.auxiliary[:, known], auxiliary_names=names)
        if self.test is None:
            return LoadedEvents(samples, None, tuple(reports))
        first = parts[0]
        none = np.zeros(0, dtype=np.int64)
        options = {"seed": self.split_seed, "folds": self.folds}
        if self.fold is not None:
            inner = subject_split(first.subjects, first.target, val=0, fold=self.fold, **options)  # type: ignore[arg-type]
            learn, choose = inner.train, inner.test
        elif self.val_fraction:
            inner = subject_split(first.subjects, first.target, val=self.val_fraction, test=0, **options)  # type: ignore[arg-type]
            learn, choose = inner.train, inner.val
        else:
            learn, choose = np.arange(len(first)), none
        judge = np.arange(len(first), len(samples))
        return LoadedEvents(samples, Split(samples.subjects, learn, choose, judge), tuple(reports))

    def population(self) -> str:
        """The stays of the challenge, numbered across its sets."""
        return "PhysioNet 2012"

    def fingerprint(self) -> str:
        """A hash of the files of all sets in use."""
        names = [self.train] if self.test is None else [self.train, self.test]
        hashes = ",".join(fingerprint(self.root, name) for name in names)
        return hash_arrays(np.frombuffer(hashes.encode(), dtype=np.uint8))


def stay_labels(stays: PhysioNetStays) -> Labels:
    """Every stay, predicted at 48 hours."""
    subjects = stays.table.subjects
    return Labels(
        subjects,
        np.full(len(subjects), HOURS),
        stays.died,
        target_names=(TARGET,),
        auxiliary=stays.auxiliary,
        auxiliary_names=AUXILIARY,
    )
