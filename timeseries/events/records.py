"""One table of events, whatever file they come from: subject, time, code, value, unit, type; static values apart.

The type of an event follows from what it carries: "numeric" with a number, "text" with a word, "flag" with neither.
"""

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, get_args

import numpy as np

from .read_report import ReadReport

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
        static_flags: Those of `static_names` that are 1 for who has them and 0 for who has others only.

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
    static_flags: tuple[str, ...] = ()

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

        strange = [name for name in self.static_flags if name not in self.static_names]
        if strange:
            raise ValueError(f"static_flags: expected names of static columns, got {strange[0]!r}")

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


def assemble(
    columns: Columns,
    subjects: list[str],
    codes: list[str],
    *,
    units: list[str] | tuple[str, ...] = (),
    texts: list[str] | tuple[str, ...] = (),
    static: np.ndarray | None = None,
    static_names: tuple[str, ...] = (),
    static_flags: tuple[str, ...] = (),
    clock: Clock = "relative",
    report: ReadReport,
    duplicates: Literal["drop", "keep"] = "drop",
) -> tuple[EventRecords, ReadReport]:
    """Sort events by subject and time, leave out exact duplicates, and count both.

    Two events are duplicates if subject, time, code, value, unit and text are equal (0 and -0 are). Two values of one
    code at one time are both kept.
    """
    if duplicates not in ("drop", "keep"):
        raise ValueError(f"duplicates: expected 'drop' or 'keep', got {duplicates!r}")
    order, unsorted = _order(columns.subject, columns.time)
    if order is not None:
        columns = columns.take(order)
    del order
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
        static_flags=static_flags,
        clock=clock,
    )
    empty = np.isnan(table.value)
    numeric = np.zeros(len(codes), dtype=bool)
    numeric[table.code[~empty]] = True
    empty &= numeric[table.code]
    return table, replace(
        report,
        events=len(table),
        subjects=len(subjects),
        without_events=int((counts == 0).sum()),
        dropped=dropped,
        unsorted=unsorted,
        missing_values=int((empty & (table.text == NONE)).sum()),
        words=_words(table, empty & (table.text != NONE)),
    )


def _order(subject: np.ndarray, time: np.ndarray) -> tuple[np.ndarray | None, int]:
    """The order by subject and time, None where it is that of the rows; and how many rows stand against time.

    Rows of one subject are compared with each other, whatever stands between them.
    """
    by_subject = None
    if (subject[1:] < subject[:-1]).any():
        by_subject = _by_subject(subject)
        same, later = np.diff(subject[by_subject]) == 0, time[by_subject]
    else:
        same, later = subject[1:] == subject[:-1], time
    unsorted = int((same & (later[1:] < later[:-1])).sum())
    if not unsorted:
        return by_subject, 0
    del by_subject, same, later  # 8 bytes a row each
    by_time = np.argsort(time, kind="stable")
    return by_time[_by_subject(subject[by_time])], unsorted


def _by_subject(subject: np.ndarray) -> np.ndarray:
    """A stable order of whole numbers of 32 bits; half of the bits at a time, for which NumPy has a radix sort."""
    order = np.argsort(subject.astype(np.uint16), kind="stable")
    if len(subject) == 0 or subject.max() < 1 << 16:
        return order
    order = order.astype(np.int32) if len(order) < 1 << 31 else order  # half the memory
    high = (subject[order] >> 16).astype(np.uint16)
    return order[np.argsort(high, kind="stable")]


def _words(table: EventRecords, among: np.ndarray) -> dict[str, tuple[int, str]]:
    """Of each code how many of these events it has, and the word of the first."""
    codes, first, counts = np.unique(table.code[among], return_index=True, return_counts=True)
    words = table.text[among][first]
    return {table.codes[c]: (int(n), table.texts[w]) for c, n, w in zip(codes, counts, words, strict=True)}


def _duplicates(columns: Columns) -> np.ndarray:
    """Places of events that repeat an earlier one, found by a 64-bit hash and confirmed column by column."""
    hashed = np.zeros(len(columns.time), dtype=np.uint64)
    for column in columns:  # the finaliser of splitmix64 after each column
        hashed ^= _bits(column).astype(np.uint64, copy=False)
        hashed += np.uint64(0x9E3779B97F4A7C15)
        hashed = (hashed ^ (hashed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        hashed = (hashed ^ (hashed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        hashed ^= hashed >> np.uint64(31)
    order = np.argsort(hashed, kind="stable")
    first, second = order[:-1], order[1:]
    equal = hashed[first] == hashed[second]
    first, second = first[equal], second[equal]
    for column in columns:
        equal = _bits(column[first]) == _bits(column[second])
        first, second = first[equal], second[equal]
    return second


def _bits(column: np.ndarray) -> np.ndarray:
    """The bits of numbers; 0 and -0 have the same, as have all NaN of one kind."""
    column = column + column.dtype.type(0) if column.dtype.kind == "f" else column
    return column.view(f"u{column.dtype.itemsize}")


def _join(parts: list[np.ndarray], dtype: type) -> np.ndarray:
    joined: np.ndarray = np.concatenate(parts).astype(dtype, copy=False) if parts else np.zeros(0, dtype=dtype)
    parts.clear()
    return joined
