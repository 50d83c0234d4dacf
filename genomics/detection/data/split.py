"""Draw a part of grouped data, class by class, without parting a group."""

import numpy as np


def draw_groups(
    groups: np.ndarray, labels: np.ndarray, fraction: float, generator: np.random.Generator, name: str = "fraction"
) -> tuple[np.ndarray, np.ndarray]:
    """What remains and what is drawn: whole groups in random order, each taken if it fits.

    A group fits if, for every class, the items drawn so far and its own are at most round(fraction * n_class). With
    small groups the part is filled exactly; scikit-learn's `GroupShuffleSplit` takes a fraction of the groups instead
    of the items, and its `StratifiedGroupKFold` needs a time of folds times groups for folds that are not used.

    Args:
        groups: Group of each item.
        labels: Class of each item.
        fraction: Of the items of each class; 0 draws none.
        generator: Where the randomness comes from.
        name: Of the fraction, for messages.

    Shapes:
        groups, labels: (n,)
        answer: two arrays of item numbers, sorted

    Raises:
        ValueError: The fraction is outside [0, 1), or a class would have no item on one of the sides: the classes are
            too small, or nearly everything is in one group.
    """
    if not 0 <= fraction < 1:
        raise ValueError(f"{name}: expected a fraction in [0, 1), got {fraction}")
    items = np.arange(len(groups))
    if fraction == 0:
        return items, items[:0]
    classes, codes = np.unique(labels, return_inverse=True)
    _, members = np.unique(groups, return_inverse=True)
    count = np.zeros((members.max(initial=-1) + 1, len(classes)), dtype=np.int64)
    np.add.at(count, (members, codes), 1)
    room = np.rint(fraction * count.sum(0)).astype(np.int64)
    taken = np.zeros(len(count), dtype=bool)
    for group in generator.permutation(len(count)):
        if (count[group] <= room).all():
            taken[group] = True
            room -= count[group]
    drawn = taken[members]
    for label, code in zip(classes.tolist(), range(len(classes)), strict=True):
        inside, total = int((drawn & (codes == code)).sum()), int((codes == code).sum())
        if not 0 < inside < total:
            raise ValueError(
                f"{name}: expected items of class {label} on both sides of the split, got {inside} of {total} "
                f"(fraction {fraction:g}; {len(count)} groups, the largest has {int(count.sum(1).max())} of "
                f"{len(groups)} items)"
            )
    return items[~drawn], items[drawn]
