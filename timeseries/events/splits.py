"""Splits by subject: nobody who is tested has trained, whatever samples they have.

A split cannot be made otherwise: `core.training.Split` refuses the same subject on two sides.
"""

import numpy as np
from sklearn.model_selection import KFold, StratifiedKFold, StratifiedShuffleSplit, train_test_split

from core.training import PARTS
from core.training import Split as ItemSplit
from core.training.data import check_scheme

__all__ = ["PARTS", "Split", "split_by_subject", "subject_split"]


def split_by_subject(subjects: np.ndarray, train: np.ndarray, val: np.ndarray, test: np.ndarray) -> ItemSplit:
    """Parts of samples whose subjects must not be parted.

    Args:
        subjects: Of every sample, (N,).
        train: Numbers of the samples that train.
        val: That choose.
        test: That judge.

    Raises:
        ValueError: A sample or a subject is in two parts, or a number does not exist.
    """
    return ItemSplit(train, val, test, groups=subjects, unit="subject")


class Split(ItemSplit):
    """What `split_by_subject` answers, by a constructor that takes the subjects first; its former name.

    Args:
        subjects: Of every sample, (N,).
        train: Numbers of the samples that train.
        val: That choose.
        test: That judge.
    """

    def __init__(self, subjects: np.ndarray, train: np.ndarray, val: np.ndarray, test: np.ndarray) -> None:
        super().__init__(train, val, test, groups=subjects, unit="subject")

    @property
    def subjects(self) -> np.ndarray:
        """Of every sample, (N,)."""
        assert self.groups is not None
        return self.groups


def subject_split(
    subjects: np.ndarray,
    strata: np.ndarray,
    *,
    val: float = 0.1,
    test: float = 0.2,
    fold: int | None = None,
    folds: int = 5,
    seed: int = 0,
) -> ItemSplit:
    """Draw whole subjects, stratum by stratum where every stratum has enough of them, else regardless of strata.

    Args:
        subjects: Of every sample.
        strata: Class of every sample. A subject's stratum is the largest of its samples'.
        val: Share of the subjects for validation: of all in a hold-out split, of those outside the test fold in k-fold.
        test: Share of all subjects for the test part of a hold-out split; unused when `fold` is given.
        fold: Number of the test fold, 0 .. folds - 1; None asks for a hold-out split.
        folds: How many folds there are.
        seed: Of the shuffling.

    Shapes:
        subjects (N,) str; strata (N,) whole numbers

    Raises:
        ValueError: A share is outside [0, 1), the fold does not exist, or there are too few subjects.
    """
    check_scheme(val, test, fold, folds, what="share")
    people, owner = np.unique(subjects, return_inverse=True)
    stratum = np.full(len(people), np.iinfo(np.int64).min)
    np.maximum.at(stratum, owner, strata.astype(np.int64))
    everyone = np.arange(len(people))
    if fold is None:
        rest, judges = _draw(everyone, stratum, test, seed, "test")
        val_of_rest = val / (1 - test)
    else:
        if len(people) < folds:
            raise ValueError(f"folds: expected at least {folds} subjects, got {len(people)}")
        rare = np.unique(stratum, return_counts=True)[1].min() < folds
        splitter = (KFold if rare else StratifiedKFold)(folds, shuffle=True, random_state=seed)
        rest, judges = list(splitter.split(everyone, stratum))[fold]
        val_of_rest = val
    learners, choosers = _draw(rest, stratum, val_of_rest, seed + 1, "val")
    part = np.empty(len(people), dtype=np.int64)
    for k, group in enumerate((learners, choosers, judges)):
        part[group] = k
    return split_by_subject(subjects, *(np.flatnonzero(part[owner] == k) for k in range(3)))


def _draw(people: np.ndarray, stratum: np.ndarray, share: float, seed: int, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Draw a share of the people, stratum by stratum where each has two or more; answer (the others, the drawn)."""
    if share == 0:
        return people, people[:0]
    count = int(np.ceil(share * len(people) - 1e-9))
    if not 0 < count < len(people):
        raise ValueError(f"{name}: expected subjects on both sides of the split, got {count} of {len(people)}")
    values, counts = np.unique(stratum[people], return_counts=True)
    if len(values) > 1 and counts.min() >= 2 and min(count, len(people) - count) >= len(values):
        splitter = StratifiedShuffleSplit(1, test_size=count, random_state=seed)
        rest, drawn = next(splitter.split(people, stratum[people]))
        return people[rest], people[drawn]
    rest, drawn = train_test_split(people, test_size=count, random_state=seed)
    return rest, drawn
