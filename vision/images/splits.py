"""Stratified splits: who trains, who chooses, who judges.

A split is a pure function of the labels, the seed and the fold: the same on every machine and in every process.
Two schemes exist.

* *Hold-out*: of the n items, the fractions `test` and `val` are drawn class by class; what remains trains.
* *k-fold*: `sklearn.model_selection.StratifiedKFold(folds, shuffle=True, random_state=seed)`; fold number `fold` is
  the test part and the `val` fraction is drawn, class by class, from the rest.

Strict where splits by subject are lenient: a class that cannot be on both sides is an error here, since images of a
rare class can be merged or left out; subjects of a rare stratum are drawn regardless of strata.
"""

import numpy as np
from sklearn.model_selection import StratifiedKFold, StratifiedShuffleSplit

from core.training import Split
from core.training.data import check_scheme


def stratified_split(
    labels: np.ndarray,
    *,
    val: float = 0.1,
    test: float = 0.2,
    fold: int | None = None,
    folds: int = 5,
    seed: int = 0,
) -> Split:
    """Split items so that every part has the classes in the proportions of the whole.

    Args:
        labels: Class number of each item.
        val: Fraction for validation: of all items in a hold-out split, of the items outside the fold in k-fold.
            0 leaves the part empty.
        test: Fraction of all items for the test part of a hold-out split; unused when `fold` is given. 0 leaves it
            empty.
        fold: Number of the test fold, 0 .. folds - 1; None asks for a hold-out split.
        folds: How many folds there are.
        seed: Seed of the shuffling.

    Shapes:
        labels: (n,)

    Raises:
        ValueError: A fraction is outside [0, 1), the fold does not exist, or a class has too few items for the split.
    """
    labels = np.asarray(labels)
    if labels.ndim != 1:
        raise ValueError(f"labels: expected shape (n,), got {labels.shape}")
    check_scheme(val, test, fold, folds)
    everything = np.arange(len(labels))
    if fold is None:
        rest, test_part = _draw(everything, labels, test, seed, "test")
        val_of_rest = val / (1 - test)
    else:
        _check_counts(labels, folds, f"{folds} folds")
        rest, test_part = list(StratifiedKFold(folds, shuffle=True, random_state=seed).split(everything, labels))[fold]
        val_of_rest = val
    train_part, val_part = _draw(rest, labels, val_of_rest, seed + 1, "val")
    return Split(np.sort(train_part), np.sort(val_part), np.sort(test_part))


def _draw(
    items: np.ndarray, labels: np.ndarray, fraction: float, seed: int, name: str
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the fraction from the items, class by class; answer (what remains, what was drawn)."""
    if fraction == 0:
        return items, items[:0]
    classes = len(np.unique(labels[items]))
    count = int(np.ceil(fraction * len(items) - 1e-9))
    if count < classes or len(items) - count < classes:
        raise ValueError(
            f"{name}: {fraction:.3g} of {len(items)} items is {count}; expected at least one of each of the "
            f"{classes} classes on both sides of the split"
        )
    _check_counts(labels[items], 2, f"a stratified {name} part")
    splitter = StratifiedShuffleSplit(1, test_size=count, random_state=seed)
    rest, drawn = next(splitter.split(items, labels[items]))
    return items[rest], items[drawn]


def _check_counts(labels: np.ndarray, least: int, purpose: str) -> None:
    values, counts = np.unique(labels, return_counts=True)
    if len(counts) and counts.min() < least:
        rare = values[counts.argmin()]
        raise ValueError(
            f"labels: expected at least {least} items of each class for {purpose}, got {counts.min()} of class {rare}"
        )
