"""Read what is to be predicted: one row a sample, from CSV or parquet."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import pyarrow as pa

from attention_suite import nearest

from ...probabilities.outcomes import Kind
from ..cohort import Labels, iso
from ..records import Clock
from .cells import WORDS_FOR_NOTHING
from .clocks import Clockwork
from .table_files import Rows, columns_of, find_tables, read_rows

ROLES = ("subject", "prediction_time", "target", "duration")
_TRUTH = {"true": 1.0, "false": 0.0}


def read_labels(
    path: str | Path | Sequence[Path],
    *,
    kind: Kind = "binary",
    columns: Mapping[str, str | Sequence[str]] | None = None,
    time_unit: str = "hours",
    prediction_time: float | None = None,
    classes: Sequence[str] | None = None,
    unlabelled: bool = False,
    auxiliary: Sequence[str] = (),
) -> Labels:
    """The labels of a file or of every file of a folder.

    A subject has one label at a time: one that repeats another exactly is left out and counted (`Labels.repeated`), one
    that contradicts it is refused.

    Args:
        path: CSV or parquet, or a list of such files.
        kind: What the target is. binary: 0 and 1 (or false and true); multiclass: numbers 0, 1, 2, ... or names;
            multilabel: several columns of 0, 1 or nothing (unknown); time_to_event: the column "target" says whether
            the event occurred, "duration" when it did or observation ended, in `time_unit` from the prediction time.
        columns: Which column is the "subject", "prediction_time", "target" (a list of columns for multilabel) and
            "duration"; what is not named has that name.
        time_unit: Of prediction times that are plain numbers, and of durations.
        prediction_time: One time for all in `time_unit`, on the relative clock, in place of a column.
        classes: Names of the classes in the order of their numbers; None sorts the names that occur.
        unlabelled: Whether targets (and durations) may be missing: NaN in their place, single ones or whole columns.
        auxiliary: Columns of further outcomes, see `timeseries.ehr.auxiliary`: numbers (or false and true), or nothing.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A column is not there, a row is not as said, or two rows contradict each other; file and line
            (parquet: row) are named. The kind is not known, or a class is named twice.
    """
    if kind not in get_args(Kind):
        raise ValueError(
            f"target: expected one of {', '.join(get_args(Kind))}, got {kind!r}{nearest(kind, list(get_args(Kind)))}"
        )
    twice = [name for name in classes or () if list(classes or ()).count(name) > 1]
    if twice:
        raise ValueError(f"classes: expected every class once, got {twice[0]!r} twice")
    given = {**{role: role for role in ROLES}, **(columns or {})}
    strange = [name for name in given if name not in ROLES]
    if strange:
        raise ValueError(f"columns: expected keys of {', '.join(ROLES)}, got {strange[0]!r}")
    if isinstance(given["target"], str) == (kind == "multilabel"):
        raise ValueError(f"columns: target: expected a list of columns for multilabel alone, got {given['target']!r}")
    targets = [given["target"]] if isinstance(given["target"], str) else [str(name) for name in given["target"]]
    needed = [str(given["subject"])] + ([str(given["prediction_time"])] if prediction_time is None else [])
    outcome = [*targets, *([str(given["duration"])] if kind == "time_to_event" else [])]
    files = find_tables(path) if isinstance(path, (str, Path)) else list(path)
    for file in files:
        _check_columns(file, needed if unlabelled else [*needed, *outcome, *auxiliary])
    there = [name for name in (*outcome, *auxiliary) if all(name in columns_of(file) for file in files)]
    clockwork, lasting = Clockwork(time_unit), Clockwork(time_unit)
    subjects: list[str] = []
    times, found, stamps = [np.zeros(0)], [np.zeros((0, len(outcome)))], []
    places: list[Rows] = []
    further = [np.zeros((0, len(auxiliary)))]
    read = _Targets(kind, unlabelled, classes)
    for rows in read_rows(files, list(dict.fromkeys([*needed, *there])), progress=False):
        places.append(Rows(rows.path, rows.first, rows.batch.select([])))
        subjects += _subjects(rows, needed[0])
        if prediction_time is None:
            column = clockwork.parse(rows.batch.column(needed[1]), rows.where)
            times.append(_hours(clockwork, column, rows, needed[1]))
            stamps.append(_stamps(column, clockwork.clock or "relative"))
        block = np.full((rows.batch.num_rows, len(outcome)), np.nan)
        for k, name in enumerate(outcome):
            if name in there:
                block[:, k] = (
                    read(rows, name) if name in targets else _durations(lasting, rows, name, needed[0], unlabelled)
                )
        found.append(block)
        block = np.full((rows.batch.num_rows, len(auxiliary)), np.nan)
        for k, name in enumerate(auxiliary):
            if name in there:
                block[:, k] = _numbers(rows, name)
        further.append(block)
    if lasting.clock not in (None, "relative"):
        raise ValueError(f"{files[0]}: expected durations in {given['duration']!r} as plain numbers, got dates")
    target, names = read.finish(np.concatenate(found), targets)
    if prediction_time is not None:
        clockwork.clock, times = "relative", [np.full(len(subjects), prediction_time * clockwork.scale)]
        stamps = [np.full(len(subjects), float(prediction_time))]
    who, when = np.array(subjects, dtype=np.str_), np.concatenate(times)
    keep = _first_of_each(who, when, np.concatenate([np.concatenate(found), np.concatenate(further)], axis=1), places)
    return Labels(
        who[keep],
        when[keep],
        target[keep],
        kind,
        names,
        clockwork.clock or "relative",
        np.concatenate(further).astype(np.float32)[keep],
        tuple(auxiliary),
        np.concatenate(stamps)[keep] if stamps else np.zeros(0),
        int((~keep).sum()),
    )


class _Targets:
    """Targets as numbers; names of classes are numbered when all are known."""

    def __init__(self, kind: Kind, unlabelled: bool, classes: Sequence[str] | None) -> None:
        self.kind, self.open, self.given = kind, unlabelled or kind == "multilabel", classes
        self.classes: dict[str, int] = {name: k for k, name in enumerate(classes or ())}

    def __call__(self, rows: Rows, column: str) -> np.ndarray:
        """(n,) numbers of one column: 0 and 1, or numbers for classes in the order of appearance; NaN for unknown."""
        words = rows.batch.column(column).to_pylist()
        return np.array([self._number(word, n, rows.where) for n, word in enumerate(words)], dtype=np.float64)

    def _number(self, word: object, n: int, where: Callable[[int], str]) -> float:
        text = _text(word)
        if not text:
            if self.open:
                return math.nan
            raise ValueError(f"{where(n)}: expected a target, got nothing")
        if self.kind == "multiclass":
            if self.given is not None and text not in self.classes:
                raise ValueError(f"{where(n)}: expected one of the classes {', '.join(self.given)}, got {text!r}")
            return self.classes.setdefault(text, len(self.classes))
        try:
            number = _number(text)
        except ValueError:
            number = math.nan
        if number not in (0.0, 1.0):
            raise ValueError(f"{where(n)}: expected 0 or 1, got {text!r}")
        return number

    def finish(self, found: np.ndarray, columns: list[str]) -> tuple[np.ndarray, tuple[str, ...]]:
        """The targets as `Labels` holds them, and their names.

        Classes keep the order that was given; else they are numbered by value if all are numbers, or by name.
        """
        if self.kind == "multilabel":
            return found.astype(np.float32), tuple(columns)
        if self.kind == "time_to_event":
            return found[:, ::-1].astype(np.float32), (columns[0],)
        if self.kind == "binary" or self.given is not None:
            return found[:, 0].astype(np.float32), tuple(self.given or columns)
        words = list(self.classes)
        if all(word.isdecimal() for word in words):
            number = {word: int(word) for word in words}
            names = tuple(str(k) for k in range(max(number.values(), default=-1) + 1))
        else:
            names = tuple(sorted(words))
            number = {word: names.index(word) for word in words}
        table = np.array([number[word] for word in words] + [np.nan], dtype=np.float32)
        return table[np.nan_to_num(found[:, 0], nan=-1).astype(np.int64)], names


def _text(word: object) -> str:
    """A cell as text; empty for nothing and the words for it."""
    text = "" if word is None else str(word).strip()
    return "" if text in WORDS_FOR_NOTHING else text


def _number(text: str) -> float:
    """A number, 0 for false or 1 for true; ValueError for anything else."""
    return _TRUTH[text.lower()] if text.lower() in _TRUTH else float(text)


def _numbers(rows: Rows, column: str) -> np.ndarray:
    """A column of finite numbers, false or true; NaN for nothing."""
    values = np.full(rows.batch.num_rows, np.nan)
    for n, word in enumerate(rows.batch.column(column).to_pylist()):
        text = _text(word)
        if not text:
            continue
        try:
            values[n] = _number(text)
        except ValueError:
            raise ValueError(f"{rows.where(n)}: expected a number in {column!r}, got {text!r}") from None
        if not math.isfinite(values[n]):
            raise ValueError(f"{rows.where(n)}: expected a finite number in {column!r}, got {text!r}")
    return values


def _check_columns(file: Path, wanted: list[str]) -> None:
    there = columns_of(file)
    for column in wanted:
        if column not in there:
            hint = nearest(column, list(there)) or f"; there are {', '.join(there)}"
            raise ValueError(f"columns: expected the column {column!r} in {file}, got none{hint}")


def _subjects(rows: Rows, column: str) -> list[str]:
    names = rows.batch.column(column)
    if pa.types.is_floating(names.type):
        raise ValueError(f"{rows.path}: expected subjects as text or whole numbers, got {names.type}")
    words: list[str | None] = names.cast(pa.string()).to_pylist()
    if None in words:
        raise ValueError(f"{rows.where(words.index(None))}: expected a subject, got nothing")
    return [word for word in words if word is not None]


def _hours(clockwork: Clockwork, column: pa.Array, rows: Rows, name: str, may_lack: bool = False) -> np.ndarray:
    hours = clockwork.hours(column, rows.where)
    if np.isnan(hours).any() and not may_lack:
        raise ValueError(f"{rows.where(int(np.isnan(hours).argmax()))}: expected a time in {name!r}, got nothing")
    return hours


def _durations(clockwork: Clockwork, rows: Rows, column: str, subject: str, may_lack: bool) -> np.ndarray:
    hours = _hours(clockwork, rows.batch.column(column), rows, column, may_lack)
    if (hours < 0).any():
        row = int((hours < 0).argmax())
        got, of = (rows.batch.column(name)[row] for name in (column, subject))
        raise ValueError(
            f"{rows.where(row)}: expected a duration of 0 or more in {column!r}, got {got} of subject {of}"
        )
    return hours


def _stamps(column: pa.Array, clock: Clock) -> np.ndarray:
    """Prediction times that the clockwork has parsed, as they are written: numbers, or timestamps in ISO 8601."""
    if clock == "relative":
        return column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    if pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("us"))
    return iso(column.to_numpy(zero_copy_only=False), clock)


def _first_of_each(subjects: np.ndarray, times: np.ndarray, values: np.ndarray, places: list[Rows]) -> np.ndarray:
    """Which labels are the first of their subject and time, (N,); the others must say the same."""
    order = np.lexsort((times, subjects))  # stable: rows of one subject and time stay in the order of the files
    new = np.ones(len(order), dtype=bool)
    new[1:] = (subjects[order][1:] != subjects[order][:-1]) | (times[order][1:] != times[order][:-1])
    first = order[np.maximum.accumulate(np.where(new, np.arange(len(order)), 0))] if len(order) else order
    same = (values[order] == values[first]) | (np.isnan(values[order]) & np.isnan(values[first]))
    wrong = order[~same.all(axis=1)]
    if len(wrong):
        later = int(wrong.min())
        earlier = int(first[np.flatnonzero(order == later)[0]])
        raise ValueError(
            f"{_where(places, later)}: expected one label per subject and prediction time, got two: subject "
            f"{subjects[later]} has another one for the same time in {_where(places, earlier)}"
        )
    keep = np.ones(len(order), dtype=bool)
    keep[order[~new]] = False
    return keep


def _where(places: list[Rows], row: int) -> str:
    """The place of a row of all files."""
    for rows in places:
        if row < rows.batch.num_rows:
            return rows.where(row)
        row -= rows.batch.num_rows
    raise IndexError(f"row: expected one of the files, got {row} behind their end")
