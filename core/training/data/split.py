"""Who trains, who chooses, who judges: item numbers of three parts, checked so that nothing leaks."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .arrays import as_array

PARTS = ("train", "val", "test")


@dataclass(frozen=True, eq=False)
class Split:
    """Item numbers of the three parts; no item is in two of them, and no group where items belong to groups.

    Items may be in no part, such as nodes without a label.

    Args:
        train: Numbers of the items that train.
        val: That choose.
        test: That judge.
        groups: Of every item: what must not be parted, such as the subject of a sample; None where items stand alone.
        unit: What a group is called, for messages.

    Shapes:
        train, val, test: (n,) whole numbers; groups: (N,)

    Raises:
        ValueError: An item or a group is in two parts, or a number does not exist.
    """

    train: np.ndarray
    val: np.ndarray
    test: np.ndarray
    groups: np.ndarray | None = None
    unit: str = "group"

    def __post_init__(self) -> None:
        owners: dict[str, np.ndarray] = {}
        for name in PARTS:
            part = getattr(self, name)
            if part.ndim != 1 or (part.dtype.kind not in "iu" and len(part)):
                raise ValueError(f"{name}: expected (n,) of whole numbers, got {part.shape} of {part.dtype}")
            most = np.inf if self.groups is None else len(self.groups)
            if len(part) and (part.min() < 0 or part.max() >= most):
                end = " or more" if self.groups is None else f" .. {len(self.groups) - 1}"
                raise ValueError(f"{name}: expected items 0{end}, got {part.min()} .. {part.max()}")
            if len(np.unique(part)) != len(part):
                raise ValueError(f"{name}: expected every item once, got one twice")
            owners[name] = np.unique(part if self.groups is None or not len(part) else self.groups[part])
        what = "item" if self.groups is None else self.unit
        for first, second in (("train", "val"), ("train", "test"), ("val", "test")):
            if not len(owners[first]) or not len(owners[second]):
                continue
            both = np.intersect1d(owners[first], owners[second])
            if len(both):
                raise ValueError(
                    f"split: expected every {what} in one part, got {len(both)} in {first} and {second}, such as "
                    f"{both[0].item()!r}"
                )

    @classmethod
    def of_parts(cls, parts: "Split | Mapping[str, Any]", count: int) -> "Split":
        """Make a split of what a user gives: part -> numbers of items, or a mask over all of them.

        Args:
            parts: Of "train", "val" and "test" those that there are; the others are empty. Or a split.
            count: How many items there are.

        Raises:
            ValueError: A part has another name, a mask or the groups another length, or an item does not exist or is in
                two parts.
        """
        groups, unit = (parts.groups, parts.unit) if isinstance(parts, Split) else (None, "group")
        if groups is not None and len(groups) != count:
            raise ValueError(f"groups: expected one for each of {count} items, got {len(groups)}")
        if isinstance(parts, Split):
            parts = dict(zip(PARTS, parts, strict=True))
        if not isinstance(parts, Mapping):
            raise ValueError(f"split: expected a Split or part -> items, got {type(parts).__name__}")
        strange = [name for name in parts if name not in PARTS]
        if strange:
            raise ValueError(f"split: expected the parts {', '.join(PARTS)}, got {strange[0]!r}")
        numbers: dict[str, np.ndarray] = {}
        for name in PARTS:
            part = as_array(name, parts.get(name, ()))
            if part.dtype == bool:
                if part.shape != (count,):
                    raise ValueError(f"{name}: expected a mask of {count} items, got {part.shape}")
                part = np.flatnonzero(part)
            part = part if part.size else part.astype(np.int64)
            if part.ndim != 1:
                raise ValueError(f"{name}: expected (n,) of whole numbers, got {part.shape} of {part.dtype}")
            if part.size and part.dtype.kind not in "iu":
                raise ValueError(f"{name}: expected whole numbers 0 .. {count - 1}, got {part.dtype}")
            if part.size and part.max() >= count:
                got = f"{part.dtype} up to {part.max()}"
                raise ValueError(f"{name}: expected whole numbers 0 .. {count - 1}, got {got}")
            numbers[name] = part.astype(np.int64)
        return cls(numbers["train"], numbers["val"], numbers["test"], groups, unit)

    def __iter__(self) -> Iterator[np.ndarray]:
        """The three parts."""
        return iter((self.train, self.val, self.test))

    def __len__(self) -> int:
        """Three: a split can be read as the tuple of its parts."""
        return len(PARTS)

    def __getitem__(self, place: int) -> np.ndarray:
        """The part at this place of `PARTS`."""
        return (self.train, self.val, self.test)[place]

    def part(self, name: str) -> np.ndarray:
        """A part by its name: "train", "val" or "test"."""
        if name not in PARTS:
            raise ValueError(f"part: expected one of {', '.join(PARTS)}, got {name!r}")
        answer: np.ndarray = getattr(self, name)
        return answer

    def __str__(self) -> str:
        """The sizes in words."""
        sizes = zip(PARTS, self, strict=True)
        if self.groups is None:
            return ", ".join(f"{name} {len(part)}" for name, part in sizes)
        groups = self.groups
        counts = ((name, len(part), len(np.unique(groups[part])) if len(part) else 0) for name, part in sizes)
        return ", ".join(f"{name} {items} samples of {owners} {self.unit}s" for name, items, owners in counts)


def check_scheme(val: float, test: float, fold: int | None = None, folds: int = 5, what: str = "fraction") -> None:
    """Raise unless a split can be drawn by these numbers: hold-out, or k-fold where there is a fold.

    Args:
        val: Part of the items for validation; in k-fold of those outside the fold.
        test: Part of the items for the test of a hold-out split.
        fold: Number of the test fold; None for hold-out.
        folds: How many folds there are.
        what: What `val` and `test` are called, for messages.

    Raises:
        ValueError: A fraction is outside [0, 1), nothing would remain to train, or the fold does not exist.
    """
    for name, part in (("val", val), ("test", test)):
        if not 0 <= part < 1:
            raise ValueError(f"{name}: expected a {what} in [0, 1), got {part}")
    if fold is None:
        if val + test >= 1:
            raise ValueError(f"val + test: expected less than 1, got {val} + {test}")
    elif folds < 2:
        raise ValueError(f"folds: expected at least 2, got {folds}")
    elif not 0 <= fold < folds:
        raise ValueError(f"fold: expected 0 .. {folds - 1} (folds = {folds}), got {fold}")
