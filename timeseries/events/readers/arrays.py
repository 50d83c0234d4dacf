"""Events and labels that are in memory already: columns of numpy arrays, torch tensors or lists.

A table is a mapping from names to columns, or whatever answers `table[name]` and lists its names as `columns` (a data
frame of pandas) or `column_names` (a `Dataset` of Hugging Face); neither package is imported.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from core.training.data import as_array, column_names

from ...probabilities.outcomes import Kind
from ..cohort import Labels
from ..read_report import ReadReport
from ..records import NONE, Clock, Columns, EventRecords, assemble

Table = Any
"""A table as this file takes it."""


def read_arrays(events: Table, static: Table | None = None) -> tuple[EventRecords, ReadReport]:
    """Records from columns, one row an event, in any order; exact duplicates are left out and counted.

    Args:
        events: Columns "subject", "time" and "code", and "value" if there are any (NaN or None: an event without).
            Times are hours as numbers, or numpy's datetime64; codes and subjects are words or whole numbers.
        static: Column "subject", each once, and any others of numbers that do not change: NaN where missing.

    Raises:
        ValueError: A column is not there, or not what it should be.
    """
    columns = column_names("events", events)
    for name in ("subject", "time", "code"):
        if name not in columns:
            raise ValueError(f"events: expected a column {name!r}, got {', '.join(columns) or 'none'}")
    strange = [name for name in columns if name not in ("subject", "time", "code", "value")]
    if strange:
        raise ValueError(f"events: expected columns subject, time, code, value, got {strange[0]!r}")
    who = words("events.subject", events["subject"])
    n = len(who)
    time, clock = hours("events.time", events["time"], n)
    what = words("events.code", events["code"], n)
    value = numbers("events.value", events["value"], n) if "value" in columns else np.full(n, np.nan)
    wide = np.isinf(value.astype(np.float32))
    if wide.any():
        raise ValueError(f"events.value: expected finite numbers of float32 or NaN, got {value[wide][0]:g}")
    subjects, own = np.unique(who, return_inverse=True)
    names: list[str] = []
    table = np.zeros((len(subjects), 0), dtype=np.float32)
    if static is not None:
        names = [name for name in column_names("static", static) if name != "subject"]
        if "subject" not in column_names("static", static):
            raise ValueError(f"static: expected a column 'subject', got {', '.join(names) or 'none'}")
        people = words("static.subject", static["subject"])
        if len(np.unique(people)) != len(people):
            raise ValueError("static.subject: expected every subject once, got one twice")
        subjects = np.union1d(subjects, people)
        own = np.searchsorted(subjects, who)
        table = np.full((len(subjects), len(names)), np.nan, dtype=np.float32)
        places = np.searchsorted(subjects, people)
        for k, name in enumerate(names):
            table[places, k] = numbers(f"static.{name}", static[name], len(people))
    codes, code = np.unique(what, return_inverse=True)
    none = np.full(n, NONE, dtype=np.int32)
    rows = Columns(own.astype(np.int32), time, code.astype(np.int32), value.astype(np.float32), none, none)
    return assemble(
        rows,
        subjects.tolist(),
        codes.tolist(),
        static=table,
        static_names=tuple(names),
        clock=clock,
        report=ReadReport("arrays", rows=n),
    )


def read_array_labels(
    labels: Table,
    kind: Kind = "binary",
    target: str | Sequence[str] = "target",
    target_names: Sequence[str] = (),
    duration: str = "duration",
) -> tuple[Labels, bool]:
    """Labels from columns, one row a sample, and whether any target is there.

    Args:
        labels: Columns "subject", "prediction_time" (as the events' times) and the target's.
        kind: Which kind of target it is.
        target: Its column; for multilabel several, or one of shape (N, K). Not there at all: unknown.
        target_names: Of the classes (binary: of class 1 alone) or labels. Classes may come by these names; where they
            come by others, or by none, the names are those that occur, sorted.
        duration: Column of the hours to the event or the end of observation, for time_to_event.

    Raises:
        ValueError: A column is not there, or not what it should be.
    """
    columns = column_names("labels", labels)
    for name in ("subject", "prediction_time"):
        if name not in columns:
            raise ValueError(f"labels: expected a column {name!r}, got {', '.join(columns) or 'none'}")
    who = words("labels.subject", labels["subject"])
    when, clock = hours("labels.prediction_time", labels["prediction_time"], len(who))
    several = [target] if isinstance(target, str) else list(target)
    there = [name for name in several if name in columns]
    if there and len(there) < len(several):
        lacking = next(name for name in several if name not in columns)
        raise ValueError(f"labels: expected columns {', '.join(several)}, got none named {lacking!r}")
    names = tuple(target_names) or (() if isinstance(target, str) else tuple(several))
    n = len(who)
    if not there:
        shape: tuple[int, ...] = (n,)
        if kind in ("multilabel", "time_to_event"):
            shape = (n, 2 if kind == "time_to_event" else len(names))
        return Labels(who, when, np.full(shape, np.nan, dtype=np.float32), kind, names, clock), False
    found = [labels[name] for name in there]
    if kind == "multiclass":
        answer, names = _classes(found[0], n, names)
    elif kind == "multilabel" and len(found) == 1:
        answer = _matrix(f"labels.{there[0]}", found[0], n)
    elif kind == "multilabel":
        answer = np.stack([numbers(f"labels.{a}", b, n) for a, b in zip(there, found, strict=True)], axis=1)
    else:
        answer = numbers(f"labels.{there[0]}", found[0], n)
    if kind == "time_to_event":
        if duration not in columns:
            raise ValueError(f"labels: expected a column {duration!r} of hours, got {', '.join(columns)}")
        answer = np.stack([numbers(f"labels.{duration}", labels[duration], n), answer], axis=1)
    if kind == "multilabel" and names and answer.shape[1] != len(names):
        raise ValueError(f"target_names: expected {answer.shape[1]}, one a label, got {len(names)}")
    return Labels(who, when, answer.astype(np.float32), kind, names, clock), True


def words(name: str, column: Any, n: int | None = None) -> np.ndarray:
    """Words or whole numbers as words, (n,) of str.

    Raises:
        ValueError: They are something else, or too many or few.
    """
    found = as_array(name, column)
    _check_shape(name, found, n)
    if found.dtype.kind in "iuU":
        return found.astype(np.str_)
    if found.dtype.kind in "OT":
        for item in found.tolist():
            if isinstance(item, bool) or not isinstance(item, (str, int)):
                raise ValueError(f"{name}: expected words or whole numbers, got {item!r}")
        return found.astype(np.str_)
    if found.size == 0:
        return np.zeros(0, dtype=np.str_)
    raise ValueError(f"{name}: expected words or whole numbers, got {found.dtype}")


def numbers(name: str, column: Any, n: int) -> np.ndarray:
    """Numbers (n,) of float64; NaN and None are NaN.

    Raises:
        ValueError: They are something else, infinite, or too many or few.
    """
    found = _float(name, column)
    _check_shape(name, found, n)
    if np.isinf(found).any():
        raise ValueError(f"{name}: expected finite numbers or NaN, got {found[np.isinf(found)][0]}")
    return found


def hours(name: str, column: Any, n: int) -> tuple[np.ndarray, Clock]:
    """Times (n,) in hours, and their clock: numbers are relative, datetime64 counts from 1970.

    Raises:
        ValueError: They are something else, not known, or too many or few.
    """
    found = as_array(name, column)
    clock: Clock = "naive" if found.dtype.kind == "M" else "relative"
    if clock == "naive":
        _check_shape(name, found, n)
        if np.isnat(found).any():
            raise ValueError(f"{name}: expected times, got NaT")
        return found.astype("datetime64[us]").astype(np.int64) / 3.6e9, clock
    answer = numbers(name, column, n)
    if np.isnan(answer).any():
        raise ValueError(f"{name}: expected hours, got NaN")
    return answer, clock


def _check_shape(name: str, found: np.ndarray, n: int | None) -> None:
    if found.ndim != 1 or (n is not None and len(found) != n):
        raise ValueError(f"{name}: expected ({'n' if n is None else n},), got {found.shape}")


def _float(name: str, column: Any) -> np.ndarray:
    found = as_array(name, column)
    if found.dtype.kind not in "biufO":
        raise ValueError(f"{name}: expected numbers, got {found.dtype}")
    try:
        return found.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: expected numbers, got {error}") from error


def _matrix(name: str, column: Any, n: int) -> np.ndarray:
    found = _float(name, column)
    if found.ndim != 2 or len(found) != n:
        raise ValueError(f"{name}: expected ({n}, K) of 0, 1 or NaN, got {found.shape}")
    return found


def _classes(column: Any, n: int, names: tuple[str, ...]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Class numbers (n,), and the names of the classes."""
    found = as_array("labels.target", column)
    if found.dtype.kind in "UT" or (found.dtype.kind == "O" and any(isinstance(item, str) for item in found.tolist())):
        given = words("labels.target", column, n)
        names = names or tuple(np.unique(given).tolist())
        place = {name: k for k, name in enumerate(names)}
        strange = [word for word in given.tolist() if word not in place]
        if strange:
            raise ValueError(f"labels.target: expected one of {', '.join(names)}, got {strange[0]!r}")
        return np.array([place[word] for word in given.tolist()], dtype=np.float64), names
    answer = numbers("labels.target", column, n)
    most = np.nanmax(answer, initial=-1)
    if names and most >= len(names):
        raise ValueError(f"labels.target: expected class numbers 0 .. {len(names) - 1}, got {most:g}")
    if not names and most >= n:
        raise ValueError(f"labels.target: expected class numbers below the {n} labels, got {most:g}")
    return answer, names
