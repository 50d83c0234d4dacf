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
        static_flags: Those of them that say that something is there or not: a sample without the flag has 0 if anything
            static is known of it. None: not known which; a column that samples lack is then NaN.

    Raises:
        ValueError: A name is there twice, or a flag is no static column.
    """

    codes: tuple[str, ...]
    static_names: tuple[str, ...] = ()
    static_flags: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for name in ("codes", "static_names"):
            if len(set(getattr(self, name))) != len(getattr(self, name)):
                raise ValueError(f"{name}: expected every name once, got one twice")
        strange = [name for name in self.static_flags or () if name not in self.static_names]
        if strange:
            raise ValueError(f"static_flags: expected names of static columns, got {strange[0]!r}")

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
        flags = tuple(name for name in static if name in train.static_flags)
        return cls((*codes, UNKNOWN) if unknown else tuple(codes), static, flags)

    def encode(self, samples: EventSamples, unseen: Unseen = "ignore") -> Encoded:
        """The same samples in these codes and static columns.

        A static number that they lack is NaN, as is one that they have without any number. A flag that they lack is 0
        for a sample of which something static is known, else NaN: so a sample becomes the same alone as among others.

        Args:
            samples: In any codes.
            unseen: What becomes of an event whose code is not known: "unknown" (needs a place for it), "ignore" (the
                event is left out), or "error".

        Raises:
            ValueError: A code is not known (with "error"), there is no place for it (with "unknown"), or a flag is a
                number in the samples.
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
                f"unseen: expected a vocabulary with {UNKNOWN!r}, or 'ignore', got {next(iter(strange))!r}, which is "
                "not in it"
            )
        if unseen == "unknown":
            number[number < 0] = places.get(UNKNOWN, -1)
        elif (number < 0).any():
            samples = samples.keep_events(number[samples.code] >= 0)
        code = number[samples.code] if len(samples.code) else samples.code
        static, flags = self._static(samples)
        encoded = replace(
            samples, codes=self.codes, code=code, static_names=self.static_names, static=static, static_flags=flags
        )
        return Encoded(encoded, strange)

    def _static(self, samples: EventSamples) -> tuple[np.ndarray, tuple[str, ...]]:
        """These static columns of the samples, and which of them are flags."""
        place = {name: k for k, name in enumerate(samples.static_names)}
        flags = samples.static_flags if self.static_flags is None else self.static_flags
        numbers = [name for name in flags if name in place and name not in samples.static_flags]
        if numbers:
            raise ValueError(
                f"static_flags: expected {numbers[0]!r} as a flag, there or not, as in the vocabulary, got numbers"
            )
        for name in set(samples.static_flags) & set(self.static_names) - set(flags):
            del place[name]  # a column of numbers of which nobody here has one
        static = np.full((len(samples), len(self.static_names)), np.nan, dtype=np.float32)
        if self.static_flags is not None:
            known = ~np.isnan(samples.static[:, list(place.values())]).all(axis=1)
            absent = np.isin(self.static_names, [name for name in flags if name not in place])
            static[np.ix_(known, absent)] = 0
        for k, name in enumerate(self.static_names):
            if name in place:
                static[:, k] = samples.static[:, place[name]]
        return static, tuple(name for name in self.static_names if name in flags)


def merge(parts: Sequence[EventSamples]) -> EventSamples:
    """The samples of all parts in the union of their codes and static columns, sorted by name."""
    codes = sorted({code for part in parts for code in part.codes})
    static = list(dict.fromkeys(name for part in parts for name in part.static_names))
    flags = tuple(dict.fromkeys(name for part in parts for name in part.static_flags))
    union = Vocabulary(tuple(codes), tuple(static), flags)
    return EventSamples.concat([union.encode(part, "error").samples for part in parts])
