"""Codes that a model knows: those of the training part, and nothing else.

A code that is first seen later becomes `UNKNOWN` or is left out; either way it is counted by name.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np

from .samples import EventSamples

UNKNOWN = "[unknown]"
Unseen = Literal["unknown", "ignore", "error"]


class Encoded(NamedTuple):
    """Samples in a vocabulary's codes, and how many events had a code outside it, by code."""

    samples: EventSamples
    unseen: dict[str, int]


@dataclass(frozen=True)
class Vocabulary:
    """Codes and static columns by name, in a fixed order.

    Args:
        codes: Names; `UNKNOWN` is the last one where the vocabulary has a place for others.
        static_names: Names of static columns.

    Raises:
        ValueError: A name is there twice.
    """

    codes: tuple[str, ...]
    static_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("codes", "static_names"):
            if len(set(getattr(self, name))) != len(getattr(self, name)):
                raise ValueError(f"{name}: expected every name once, got one twice")

    @classmethod
    def fit(cls, train: EventSamples, *, min_subjects: int = 1, unknown: bool = False) -> "Vocabulary":
        """The codes that occur in the training part, sorted by name, and the static columns with a number but 0 there.

        Args:
            train: The training part alone.
            min_subjects: Fewest subjects that have a code.
            unknown: Keep a place for all others.
        """
        if min_subjects < 1:
            raise ValueError(f"min_subjects: expected at least 1, got {min_subjects}")
        _, people = np.unique(train.subjects, return_inverse=True)
        pairs = np.unique(train.code.astype(np.int64) * max(len(train), 1) + people[train.owners()])
        seen = np.bincount(pairs // max(len(train), 1), minlength=len(train.codes))
        codes = sorted(code for code, n in zip(train.codes, seen, strict=True) if n >= min_subjects and code != UNKNOWN)
        has = (~np.isnan(train.static) & (train.static != 0)).any(axis=0)
        static = tuple(name for name, known in zip(train.static_names, has, strict=True) if known)
        return cls((*codes, UNKNOWN) if unknown else tuple(codes), static)

    def encode(self, samples: EventSamples, unseen: Unseen = "ignore") -> Encoded:
        """The same samples in these codes and static columns; a static column that they lack is NaN.

        Args:
            samples: In any codes.
            unseen: What becomes of an event whose code is not known: "unknown" (needs a place for it), "ignore" (the
                event is left out), or "error".

        Raises:
            ValueError: A code is not known (with "error"), or there is no place for it (with "unknown").
        """
        if unseen not in ("unknown", "ignore", "error"):
            raise ValueError(f"unseen: expected 'unknown', 'ignore' or 'error', got {unseen!r}")
        places = {code: k for k, code in enumerate(self.codes)}
        number = np.array([places.get(code, -1) for code in samples.codes], dtype=np.int32)
        counts = np.bincount(samples.code, minlength=len(samples.codes))
        strange = {
            code: int(n)
            for code, n, k in zip(samples.codes, counts, number, strict=True)
            if k < 0 and n and code != UNKNOWN
        }
        if strange and unseen == "error":
            raise ValueError(
                f"codes: expected those of the vocabulary, got {next(iter(strange))!r} and {len(strange) - 1} others"
            )
        if strange and unseen == "unknown" and UNKNOWN not in places:
            raise ValueError(
                f"unseen: expected a vocabulary with {UNKNOWN!r}, or 'ignore'; {next(iter(strange))!r} is not in it"
            )
        if unseen == "unknown":
            number[number < 0] = places.get(UNKNOWN, -1)
        elif (number < 0).any():
            samples = samples.keep_events(number[samples.code] >= 0)
        code = number[samples.code] if len(samples.code) else samples.code
        return Encoded(
            replace(samples, codes=self.codes, code=code, static_names=self.static_names, static=self._static(samples)),
            strange,
        )

    def _static(self, samples: EventSamples) -> np.ndarray:
        static = np.full((len(samples), len(self.static_names)), np.nan, dtype=np.float32)
        for k, name in enumerate(self.static_names):
            if name in samples.static_names:
                static[:, k] = samples.static[:, samples.static_names.index(name)]
        return static


def merge(parts: Sequence[EventSamples]) -> EventSamples:
    """The samples of all parts in the union of their codes and static columns, sorted by name."""
    codes = sorted({code for part in parts for code in part.codes})
    static = list(dict.fromkeys(name for part in parts for name in part.static_names))
    union = Vocabulary(tuple(codes), tuple(static))
    return EventSamples.concat([union.encode(part, "error").samples for part in parts])
