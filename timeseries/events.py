"""One table of events, whatever file they come from: subject, time, code, value, unit, type; static values apart.

The type of an event follows from what it carries: "numeric" with a number, "text" with a word, "flag" with neither.
"""

from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple, get_args

import numpy as np

Clock = Literal["relative", "naive", "utc"]
TYPES = ("numeric", "text", "flag")
NONE = -1


@dataclass(frozen=True, eq=False)
class EventRecords:
    """All events of all subjects, by subject and time; events of one time keep the order of the file.

    Args:
        subjects: Every subject once, in the order of first appearance.
        offsets: Where the events of each subject begin, and where the last ones end.
        time: Hours: since the subject's own origin (clock "relative"), or since 1970-01-01 on an unnamed local clock
            ("naive") or in UTC ("utc"). Clocks are never mixed.
        code: Which of `codes`.
        value: The number; NaN where there is none.
        unit: Which of `units`; -1 for none.
        text: Which of `texts`; -1 for none.
        static: What does not change with time, per subject; NaN where missing.
        clock: What `time` counts from.

    Shapes:
        subjects (S,) str; offsets (S + 1,) int64; time (E,) float64; code, unit, text (E,) int32; value (E,) float32;
        static (S, K) float32.

    Raises:
        ValueError: An array is not what is said above.
    """

    subjects: np.ndarray
    offsets: np.ndarray
    time: np.ndarray
    code: np.ndarray
    value: np.ndarray
    unit: np.ndarray
    text: np.ndarray
    static: np.ndarray
    codes: tuple[str, ...]
    units: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    static_names: tuple[str, ...] = ()
    clock: Clock = "relative"

    def __post_init__(self) -> None:
        if self.clock not in get_args(Clock):
            raise ValueError(f"clock: expected one of {', '.join(get_args(Clock))}, got {self.clock!r}")
        s, e = len(self.subjects), len(self.time)
        shapes = {"offsets": (s + 1,), "static": (s, len(self.static_names))}
        for name, dtype in _DTYPES.items():
            array = getattr(self, name)
            if array.shape != shapes.get(name, (e,)) or array.dtype != dtype:
                expected = f"{shapes.get(name, (e,))} of {np.dtype(dtype)}"
                raise ValueError(f"{name}: expected {expected}, got {array.shape} of {array.dtype}")
        if s != len(np.unique(self.subjects)):
            raise ValueError("subjects: expected every subject once, got one twice")
        if self.offsets[0] != 0 or self.offsets[-1] != e or (np.diff(self.offsets) < 0).any():
            raise ValueError(f"offsets: expected 0 .. {e} in ascending order, got {self.offsets}")
        for name, names, least in (("code", self.codes, 0), ("unit", self.units, NONE), ("text", self.texts, NONE)):
            numbers = getattr(self, name)
            if e and (numbers.min() < least or numbers.max() >= len(names)):
                raise ValueError(
                    f"{name}: expected {least} .. {len(names) - 1}, got {numbers.min()} .. {numbers.max()}"
                )

    def __len__(self) -> int:
        return len(self.time)

    def owners(self) -> np.ndarray:
        """Which subject each event belongs to, (E,)."""
        return np.repeat(np.arange(len(self.subjects)), np.diff(self.offsets))

    def types(self) -> np.ndarray:
        """Which of `TYPES` each event is, (E,)."""
        return np.where(~np.isnan(self.value), 0, np.where(self.text != NONE, 1, 2)).astype(np.int8)


_DTYPES = {
    "offsets": np.int64,
    "time": np.float64,
    "code": np.int32,
    "value": np.float32,
    "unit": np.int32,
    "text": np.int32,
    "static": np.float32,
}


class Columns(NamedTuple):
    """Events as read, in any order; dtypes are those of `EventRecords`, `subject` (E,) int32 numbers the subjects."""

    subject: np.ndarray
    time: np.ndarray
    code: np.ndarray
    value: np.ndarray
    unit: np.ndarray
    text: np.ndarray

    @classmethod
    def join(cls, chunks: list["Columns"]) -> "Columns":
        """All chunks as one; the chunks' memory is let go column by column."""
        dtypes = (np.int32, np.float64, np.int32, np.float32, np.int32, np.int32)
        lists = [list(parts) for parts in zip(*chunks, strict=True)] or [[] for _ in dtypes]
        chunks.clear()
        return cls(*(_join(parts, dtype) for parts, dtype in zip(lists, dtypes, strict=True)))

    def take(self, index: np.ndarray) -> "Columns":
        """These events, in this order."""
        return Columns(*(column[index] for column in self))


@dataclass(frozen=True)
class ReadReport:
    """What a reader met, for people: nothing here is an error, and nothing of it was mended unseen.

    Args:
        source: What was read.
        rows: Rows that were read.
        events: Events that remain.
        subjects: Subjects, those without events included.
        without_events: Subjects without any event.
        dropped: Rows that were left out, by reason.
        unsorted: Neighbouring rows of one subject that stood against the order of time.
        conflicting_units: Codes that come in several units (after conversion), with the number of events of each.
        out_of_range: Values outside their plausible range, which are kept: code -> (count, smallest, largest).
        converted: Values that were converted to another unit, by code.
        missing_values: Events without value that would be numeric: their code has numbers elsewhere.
    """

    source: str
    rows: int = 0
    events: int = 0
    subjects: int = 0
    without_events: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    unsorted: int = 0
    conflicting_units: dict[str, dict[str, int]] = field(default_factory=dict)
    out_of_range: dict[str, tuple[int, float, float]] = field(default_factory=dict)
    converted: dict[str, int] = field(default_factory=dict)
    missing_values: int = 0

    def __str__(self) -> str:
        lines = [
            f"{self.source}: {self.rows:,} rows, {self.events:,} events of {self.subjects:,} subjects "
            f"({self.without_events:,} without events)"
        ]
        lines += [f"  left out: {count:,} ({reason})" for reason, count in self.dropped.items() if count]
        if self.unsorted:
            lines.append(f"  sorted by time: {self.unsorted:,} rows stood before an earlier one of their subject")
        if self.missing_values:
            lines.append(f"  without a number: {self.missing_values:,} events of codes that have numbers elsewhere")
        for code, count in self.converted.items():
            lines.append(f"  converted: {count:,} values of {code}")
        for code, units in self.conflicting_units.items():
            lines.append(f"  several units: {code}: " + ", ".join(f"{u or 'none'} ({n:,})" for u, n in units.items()))
        for code, (count, low, high) in self.out_of_range.items():
            lines.append(f"  out of range, kept: {code}: {count:,} values, {low:g} .. {high:g}")
        return "\n".join(lines)


def assemble(
    columns: Columns,
    subjects: list[str],
    codes: list[str],
    *,
    units: list[str] | tuple[str, ...] = (),
    texts: list[str] | tuple[str, ...] = (),
    static: np.ndarray | None = None,
    static_names: tuple[str, ...] = (),
    clock: Clock = "relative",
    report: ReadReport,
    duplicates: Literal["drop", "keep"] = "drop",
) -> tuple[EventRecords, ReadReport]:
    """Sort events by subject and time, leave out exact duplicates, and count both.

    Two events are duplicates if subject, time, code, value, unit and text are equal. Two values of one code at one time
    are both kept.
    """
    if duplicates not in ("drop", "keep"):
        raise ValueError(f"duplicates: expected 'drop' or 'keep', got {duplicates!r}")
    same = columns.subject[1:] == columns.subject[:-1]
    unsorted = int((same & (columns.time[1:] < columns.time[:-1])).sum())
    if unsorted or (columns.subject[1:] < columns.subject[:-1]).any():
        columns = columns.take(np.lexsort((columns.time, columns.subject)))
    dropped = dict(report.dropped)
    if duplicates == "drop":
        double = _duplicates(columns)
        if len(double):
            keep = np.ones(len(columns.time), dtype=bool)
            keep[double] = False
            columns = columns.take(keep)
            dropped["exact duplicate"] = len(double)
    counts = np.bincount(columns.subject, minlength=len(subjects))
    if static is None:
        static = np.zeros((len(subjects), 0), dtype=np.float32)
    table = EventRecords(
        subjects=np.array(subjects, dtype=np.str_),
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        time=columns.time,
        code=columns.code,
        value=columns.value,
        unit=columns.unit,
        text=columns.text,
        static=static,
        codes=tuple(codes),
        units=tuple(units),
        texts=tuple(texts),
        static_names=static_names,
        clock=clock,
    )
    empty = np.isnan(table.value)
    numeric = np.zeros(len(codes), dtype=bool)
    numeric[table.code[~empty]] = True
    return table, replace(
        report,
        events=len(table),
        subjects=len(subjects),
        without_events=int((counts == 0).sum()),
        dropped=dropped,
        unsorted=unsorted,
        missing_values=int((numeric[table.code] & empty & (table.text == NONE)).sum()),
    )


def _duplicates(columns: Columns) -> np.ndarray:
    """Places of events that repeat an earlier one, found by a 64-bit hash and confirmed column by column."""
    bits = [
        columns.time.view(np.uint64),
        columns.value.view(np.uint32),
        *(getattr(columns, name).view(np.uint32) for name in ("subject", "code", "unit", "text")),
    ]
    hashed = np.zeros(len(columns.time), dtype=np.uint64)
    for column in bits:  # the finaliser of splitmix64 after each column
        hashed ^= column.astype(np.uint64)
        hashed += np.uint64(0x9E3779B97F4A7C15)
        hashed = (hashed ^ (hashed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        hashed = (hashed ^ (hashed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        hashed ^= hashed >> np.uint64(31)
    order = np.argsort(hashed, kind="stable")
    first, second = order[:-1], order[1:]
    equal = hashed[first] == hashed[second]
    first, second = first[equal], second[equal]
    for column in bits:
        equal = column[first] == column[second]
        first, second = first[equal], second[equal]
    return second


def _join(parts: list[np.ndarray], dtype: type) -> np.ndarray:
    joined = np.concatenate(parts).astype(dtype, copy=False) if parts else np.zeros(0, dtype=dtype)
    parts.clear()
    return joined
