"""What a model is given: of each sample the events up to its prediction time, and the target.

All samples lie in flat arrays: the events of sample n are those at offsets[n] : offsets[n + 1]. Times are hours since
the sample's own origin (the admission, the first event); only differences matter to a model.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, get_args

import numpy as np

from core.training import hash_arrays

from ..probabilities.outcomes import Kind


class EventItem(NamedTuple):
    """One sample; arrays of numpy, of L events in the order of their times.

    Shapes:
        time (L,) float64, hours; code (L,) int64; value (L,) float32, NaN where there is none; static (S,) float32, NaN
        where missing; prediction_time () float64, hours; target () or (K,) float32; index: the sample's row in the data
        module's `whole`.
    """

    time: np.ndarray
    code: np.ndarray
    value: np.ndarray
    static: np.ndarray
    prediction_time: float
    target: np.ndarray
    index: int  # type: ignore[assignment]  # tuple has a method of this name


@dataclass(frozen=True, eq=False)
class EventSamples:
    """Events of N samples up to their prediction times, with what is known of each sample and its target.

    Args:
        subjects: Who each sample is of; one subject may have several samples.
        offsets: Where the events of each sample begin, and where the last ones end.
        time: Hours since the sample's origin, ascending within a sample.
        prediction_time: Hours on the same clock; no event lies after it.
        code: Which of `codes` an event is.
        value: What was measured; NaN for an event without a value.
        codes: The vocabulary.
        static: What does not change; NaN where missing.
        static_names: One per column of `static`.
        target: binary: 0 or 1; multiclass: the class number; multilabel: 0 or 1 per label; time_to_event: (duration,
            event), the duration in hours from the prediction time until the event or, where event is 0, until the end
            of observation. NaN is unknown: a label of several, or a sample that is only to be predicted.
        kind: Which of these the target is.
        target_names: Names of the classes (binary: of class 1 alone) or labels; may be empty.
        auxiliary: Further outcomes that training may learn beside the target, see `auxiliary`: each 0 and 1, or a
            number; NaN where unknown. Nothing is predicted from them. None for none.
        auxiliary_names: One per column of `auxiliary`.
        stamps: The prediction times as the labels have them, for people and tables alone: timestamps in ISO 8601, or
            numbers in the unit of the labels. None takes `prediction_time`.
        static_flags: Those of `static_names` that are 1 for who has them and 0 for who has others only.

    Shapes:
        subjects (N,) str; offsets (N + 1,) int64; time (E,) float64; prediction_time (N,) float64; code (E,) int32;
        value (E,) float32; static (N, S) float32; target (N,) or (N, K) float32; auxiliary (N, A) float32; stamps (N,)
        str or float64.

    Raises:
        ValueError: An array is not what is said above. An event after the prediction time is named with its subject,
            code and time.
    """

    subjects: np.ndarray
    offsets: np.ndarray
    time: np.ndarray
    prediction_time: np.ndarray
    code: np.ndarray
    value: np.ndarray
    codes: tuple[str, ...]
    static: np.ndarray
    static_names: tuple[str, ...]
    target: np.ndarray
    kind: Kind = "binary"
    target_names: tuple[str, ...] = ()
    auxiliary: np.ndarray = None  # type: ignore[assignment]  # __post_init__ makes it an array
    auxiliary_names: tuple[str, ...] = ()
    stamps: np.ndarray = None  # type: ignore[assignment]
    static_flags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        n, events = len(self.subjects), len(self.time)
        if self.auxiliary is None:
            object.__setattr__(self, "auxiliary", np.zeros((n, 0), dtype=np.float32))  # type: ignore[unreachable]
        if self.stamps is None:
            object.__setattr__(self, "stamps", self.prediction_time)  # type: ignore[unreachable]
        if self.subjects.ndim != 1 or self.subjects.dtype.kind != "U":
            raise ValueError(f"subjects: expected (N,) of str, got {self.subjects.shape} of {self.subjects.dtype}")
        _array("offsets", self.offsets, np.int64, (n + 1,))
        _array("time", self.time, np.float64, (events,))
        _array("prediction_time", self.prediction_time, np.float64, (n,))
        _array("code", self.code, np.int32, (events,))
        _array("value", self.value, np.float32, (events,))
        _array("static", self.static, np.float32, (n, len(self.static_names)))
        _array("auxiliary", self.auxiliary, np.float32, (n, len(self.auxiliary_names)))
        if self.stamps.shape != (n,) or self.stamps.dtype.kind not in "Uf":
            raise ValueError(
                f"stamps: expected ({n},) of str or float64, got {self.stamps.shape} of {self.stamps.dtype}"
            )
        if self.offsets[0] != 0 or self.offsets[-1] != events or (np.diff(self.offsets) < 0).any():
            raise ValueError(f"offsets: expected 0 .. {events} in ascending order, got {self.offsets}")
        for name in ("codes", "static_names", "auxiliary_names"):
            names = getattr(self, name)
            if len(set(names)) != len(names):
                twice = next(item for item in names if names.count(item) > 1)
                raise ValueError(f"{name}: expected every name once, got {twice!r} twice")
        if events and (self.code.min() < 0 or self.code.max() >= len(self.codes)):
            raise ValueError(f"code: expected 0 .. {len(self.codes) - 1}, got {self.code.min()} .. {self.code.max()}")
        for name in ("time", "prediction_time"):
            if not np.isfinite(getattr(self, name)).all():
                raise ValueError(f"{name}: expected finite hours, got {_first_not_finite(getattr(self, name))}")
        for name in ("value", "static", "auxiliary"):
            if np.isinf(getattr(self, name)).any():
                raise ValueError(f"{name}: expected a finite number or NaN (missing), got an infinite one")
        self._check_target()
        self._check_times()

    def _check_target(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"kind: expected one of {', '.join(get_args(Kind))}, got {self.kind!r}")
        shape: tuple[int | None, ...] = (len(self),)
        if self.kind == "multilabel":
            shape = (len(self), len(self.target_names) or (self.target.shape[1] if self.target.ndim == 2 else None))
        elif self.kind == "time_to_event":
            shape = (len(self), 2)
        _array("target", self.target, np.float32, shape)
        known = self.target[~np.isnan(self.target)]
        if self.kind in ("binary", "multilabel") and not np.isin(known, (0, 1)).all():
            raise ValueError(f"target: expected 0 or 1 ({self.kind}), got {known[~np.isin(known, (0, 1))][0]:g}")
        if self.kind == "multiclass" and ((known < 0) | (known != np.round(known))).any():
            raise ValueError("target: expected class numbers 0, 1, 2, ..., got others")
        if self.kind == "time_to_event":
            if not np.isfinite(known).all() or (self.target[:, 0] < 0).any():
                raise ValueError("target: expected durations of 0 hours or more in column 0, got others")
            if not np.isin(self.target[:, 1][~np.isnan(self.target[:, 1])], (0, 1)).all():
                raise ValueError("target: expected 0 (censored) or 1 (event) in column 1, got others")

    def _check_times(self) -> None:
        owner = self.owners()
        late = np.flatnonzero(self.time > self.prediction_time[owner])
        if len(late):
            first = late[0]
            raise ValueError(
                f"time: expected no event after the prediction time, got {len(late)}: subject "
                f"{self.subjects[owner[first]]} has {self.codes[self.code[first]]!r} at {self.time[first]:g} h, "
                f"its prediction time is {self.prediction_time[owner[first]]:g} h"
            )
        back = np.flatnonzero((np.diff(self.time) < 0) & (np.diff(owner) == 0))
        if len(back):
            first = back[0] + 1
            raise ValueError(
                f"time: expected ascending times within a sample, got others: subject "
                f"{self.subjects[owner[first]]} has {self.time[first]:g} h behind {self.time[first - 1]:g} h"
            )

    def __len__(self) -> int:
        return len(self.subjects)

    def __getitem__(self, n: int) -> EventItem:
        """Sample n; its `index` is n."""
        if not -len(self) <= n < len(self):
            raise IndexError(f"sample: expected 0 .. {len(self) - 1}, got {n}")
        n = int(n) % len(self)
        part = slice(self.offsets[n], self.offsets[n + 1])
        return EventItem(
            self.time[part],
            self.code[part].astype(np.int64),
            self.value[part],
            self.static[n],
            float(self.prediction_time[n]),
            self.target[n],
            n,
        )

    @property
    def unlabelled(self) -> np.ndarray:
        """Samples of which no target is known at all, (N,) of True and False."""
        missing = np.isnan(self.target)
        return missing if missing.ndim == 1 else (missing.all if self.kind == "multilabel" else missing.any)(axis=1)

    @property
    def lengths(self) -> np.ndarray:
        """How many events each sample has, (N,)."""
        return np.diff(self.offsets)

    def owners(self) -> np.ndarray:
        """Which sample each event belongs to, (E,)."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def ids(self) -> list[str]:
        """A name for every sample, <subject>@<prediction time>, with the time as the labels have it, in full."""
        return [f"{subject}@{_word(time)}" for subject, time in zip(self.subjects, self.stamps, strict=True)]

    def select(self, index: Sequence[int] | np.ndarray) -> "EventSamples":
        """The samples at these places, in this order.

        Args:
            index: Whole numbers, or one True or False per sample.
        """
        index = np.asarray(index)
        if index.dtype == bool:
            if index.shape != (len(self),):
                raise ValueError(f"index: expected {len(self)} booleans, got shape {index.shape}")
            index = np.flatnonzero(index)
        index = index.astype(np.int64) if index.size == 0 else index
        if index.ndim != 1 or index.dtype.kind not in "iu":
            raise ValueError(f"index: expected (n,) of whole numbers or booleans, got {index.shape} of {index.dtype}")
        lengths = self.lengths[index]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        events = np.arange(offsets[-1]) - np.repeat(offsets[:-1] - self.offsets[:-1][index], lengths)
        return replace(
            self,
            subjects=self.subjects[index],
            offsets=offsets,
            time=self.time[events],
            prediction_time=self.prediction_time[index],
            code=self.code[events],
            value=self.value[events],
            static=self.static[index],
            target=self.target[index],
            auxiliary=self.auxiliary[index],
            stamps=self.stamps[index],
        )

    def keep_events(self, keep: np.ndarray) -> "EventSamples":
        """The same samples with the events where `keep` (E,) is True."""
        _array("keep", keep, np.bool_, (len(self.time),))
        counts = np.bincount(self.owners()[keep], minlength=len(self))
        return replace(
            self,
            offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            time=self.time[keep],
            code=self.code[keep],
            value=self.value[keep],
        )

    @classmethod
    def concat(cls, parts: Sequence["EventSamples"]) -> "EventSamples":
        """The samples of all parts, one after the other; the parts share their names.

        Raises:
            ValueError: There is no part, or two parts differ in codes, kind, a list of names or the kind of stamps.
        """
        if not parts:
            raise ValueError("parts: expected at least one, got none")
        first = parts[0]
        for name in ("codes", "static_names", "kind", "target_names", "auxiliary_names", "static_flags"):
            for part in parts[1:]:
                if getattr(part, name) != getattr(first, name):
                    raise ValueError(
                        f"parts: expected the same {name}, got {getattr(first, name)} and {getattr(part, name)}"
                    )
        for part in parts[1:]:
            if part.stamps.dtype.kind != first.stamps.dtype.kind:
                raise ValueError("parts: expected stamps of one kind, got timestamps and numbers")
        starts = np.cumsum([0] + [len(part.time) for part in parts])
        arrays = ("subjects", "time", "prediction_time", "code", "value", "static", "target", "auxiliary", "stamps")
        joined: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in arrays}
        return replace(
            first,
            offsets=np.concatenate(
                [part.offsets[:-1] + start for part, start in zip(parts, starts, strict=False)] + [starts[-1:]]
            ),
            **joined,
        )

    def fingerprint(self) -> str:
        """A hash of all samples and names, see `core.training.hash_arrays`."""
        names = [*self.codes, "", *self.static_names, "", *self.target_names, "", self.kind]
        arrays = [self.offsets, self.time, self.prediction_time, self.code, self.value, self.static, self.target]
        subjects = np.frombuffer("\0".join(self.subjects.tolist()).encode(), dtype=np.uint8)
        if self.auxiliary_names:
            names, arrays = [*names, "", *self.auxiliary_names], [*arrays, self.auxiliary]
        return hash_arrays(np.frombuffer("\0".join(names).encode(), dtype=np.uint8), subjects, *arrays)


def _word(time: str | float) -> str:
    """A time in full: the shortest decimal number that is it, without an exponent."""
    return str(time) if isinstance(time, str) else np.format_float_positional(time, trim="-")


def _array(name: str, array: Any, dtype: type, shape: tuple[int | None, ...]) -> None:
    same = isinstance(array, np.ndarray) and array.ndim == len(shape)
    if not same or any(want not in (None, got) for want, got in zip(shape, array.shape, strict=True)):
        got = array.shape if isinstance(array, np.ndarray) else type(array).__name__
        raise ValueError(f"{name}: expected shape {shape}, got {got}")
    if array.dtype != dtype:
        raise ValueError(f"{name}: expected {np.dtype(dtype)}, got {array.dtype}")


def _first_not_finite(array: np.ndarray) -> float:
    return float(array[~np.isfinite(array)][0])
