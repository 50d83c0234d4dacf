"""Read what is to be predicted: one row a sample, from CSV or parquet."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from core.training.errors import nearest

from .clocks import Clockwork
from .cohort import Labels
from .samples import Kind
from .table_files import Rows, columns_of, find_tables, read_rows
from .table_reader import WORDS_FOR_NOTHING

ROLES = ("subject", "prediction_time", "target", "duration")
_TRUTH = {"true": 1.0, "false": 0.0}


def read_labels(
    path: str | Path,
    *,
    kind: Kind = "binary",
    columns: Mapping[str, str | Sequence[str]] | None = None,
    time_unit: str = "hours",
    prediction_time: float | None = None,
) -> Labels:
    """The labels of a file or of every file of a folder.

    Args:
        path: CSV or parquet.
        kind: What the target is. binary: 0 and 1 (or false and true); multiclass: numbers 0, 1, 2, ... or names, which
            are numbered in their sorted order; multilabel: several columns of 0, 1 or nothing (unknown);
            time_to_event: the column "target" says whether the event occurred, "duration" when it did or observation
            ended, in `time_unit` from the prediction time.
        columns: Which column is the "subject", "prediction_time", "target" (a list of columns for multilabel) and
            "duration"; what is not named has that name.
        time_unit: Of prediction times that are plain numbers, and of durations.
        prediction_time: One time for all in `time_unit`, on the relative clock, in place of a column.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A column is not there or a row is not as said; file and line (parquet: row) are named.
    """
    given = {**{role: role for role in ROLES}, **(columns or {})}
    strange = [name for name in given if name not in ROLES]
    if strange:
        raise ValueError(f"columns: expected keys of {', '.join(ROLES)}, got {strange[0]!r}")
    one = isinstance(given["target"], str)
    if one == (kind == "multilabel"):
        raise ValueError(f"columns: target: expected a list of columns for multilabel alone, got {given['target']!r}")
    targets = [str(given["target"])] if one else [str(name) for name in given["target"]]
    subject, moment, duration = (str(given[role]) for role in ("subject", "prediction_time", "duration"))
    wanted = [subject, *targets]
    wanted += [moment] if prediction_time is None else []
    wanted += [duration] if kind == "time_to_event" else []
    files = find_tables(path)
    for file in files:
        _check_columns(file, wanted)
    clockwork, lasting = Clockwork(time_unit), Clockwork(time_unit)
    subjects: list[str] = []
    times, ends, found = [], [], []
    read = _Targets(kind)
    for rows in read_rows(files, wanted, progress=False):
        subjects += _subjects(rows, subject)
        if prediction_time is None:
            times.append(_hours(clockwork, rows, moment))
        if kind == "time_to_event":
            ends.append(_hours(lasting, rows, duration))
        found.append(np.stack([read(rows, name) for name in targets], axis=1))
    if lasting.clock not in (None, "relative"):
        raise ValueError(f"{files[0]}: expected durations in {duration!r} as plain numbers, got dates")
    target, names = read.finish(np.concatenate(found or [np.zeros((0, len(targets)))]), targets)
    if kind == "time_to_event":
        target = np.stack([np.concatenate(ends or [np.zeros(0)]).astype(np.float32), target], axis=1)
    if prediction_time is None:
        time = np.concatenate(times or [np.zeros(0)])
    else:
        clockwork.clock = "relative"
        time = np.full(len(subjects), prediction_time * clockwork.scale)
    return Labels(np.array(subjects, dtype=np.str_), time, target, kind, names, clockwork.clock or "relative")


class _Targets:
    """Targets as numbers; names of classes are numbered when all are known."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.classes: dict[str, int] = {}

    def __call__(self, rows: Rows, column: str) -> np.ndarray:
        """(n,) numbers of one column: 0 and 1, class numbers, or numbers for names in the order of appearance."""
        words = rows.batch.column(column).to_pylist()
        return np.array([self._number(word, n, rows.where) for n, word in enumerate(words)], dtype=np.float64)

    def _number(self, word: object, n: int, where: Callable[[int], str]) -> float:
        text = "" if word is None else str(word).strip()
        if text == "" or text in WORDS_FOR_NOTHING:
            if self.kind == "multilabel":
                return math.nan
            raise ValueError(f"{where(n)}: expected a target, got nothing")
        if self.kind == "multiclass":
            return self.classes.setdefault(text, len(self.classes))
        try:
            number = _TRUTH.get(text.lower(), math.nan) if text.lower() in _TRUTH else float(text)
        except ValueError:
            number = math.nan
        if number not in (0.0, 1.0):
            raise ValueError(f"{where(n)}: expected 0 or 1, got {text!r}")
        return number

    def finish(self, target: np.ndarray, columns: list[str]) -> tuple[np.ndarray, tuple[str, ...]]:
        """Targets (n,) or (n, K) and their names; classes are numbered by value if all are numbers, else by name."""
        if self.kind == "multilabel":
            return target.astype(np.float32), tuple(columns)
        if self.kind != "multiclass":
            return target[:, 0].astype(np.float32), (columns[0],)
        words = list(self.classes)
        if all(word.isdecimal() for word in words):
            number = {word: int(word) for word in words}
            names = tuple(str(k) for k in range(max(number.values(), default=-1) + 1))
        else:
            names = tuple(sorted(words))
            number = {word: names.index(word) for word in words}
        table = np.array([number[word] for word in words], dtype=np.float32)
        return table[target[:, 0].astype(np.int64)], names


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
    words: list[str] = names.cast(pa.string()).to_pylist()
    if None in words:
        raise ValueError(f"{rows.where(words.index(None))}: expected a subject, got nothing")
    return words


def _hours(clockwork: Clockwork, rows: Rows, column: str) -> np.ndarray:
    hours = clockwork.hours(rows.batch.column(column), rows.where)
    if np.isnan(hours).any():
        raise ValueError(f"{rows.where(int(np.isnan(hours).argmax()))}: expected a time in {column!r}, got nothing")
    return hours
