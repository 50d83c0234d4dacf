"""Read long tables of events, one row an event, from CSV or parquet; any size that fits as arrays of 28 bytes a row."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from core.training.errors import nearest

from .clocks import Clockwork
from .events import NONE, Clock, Columns, EventRecords, ReadReport, assemble
from .table_files import Rows, columns_of, find_tables, read_rows
from .units import Ranges, UnitRule, check, convert_units

REQUIRED = ("subject", "time", "code")
OPTIONAL = ("value", "unit", "text")
WORDS_FOR_NOTHING = ("NA", "N/A", "NaN", "nan", "NULL", "null", "None")
_NUMBER = r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$"


class ReadTable(NamedTuple):
    """The events of a source, and what was met."""

    table: EventRecords
    report: ReadReport


@dataclass(frozen=True)
class TableRules:
    """How rows are understood.

    Args:
        columns: Which column of the file is the "subject", "time", "code", "value", "unit" and "text"; what is not
            named has that name. The last three may be absent.
        time_unit: Of times that are plain numbers.
        missing: Numbers that stand for a missing value, such as -1; such events are left out and counted. An empty
            value and the words NA, N/A, NaN, null and None make an event without value, which is kept.
        empty_code: "error", or "drop" and count rows without a code.
        empty_time: "error", "drop", or "static": a row without a time says what does not change.
        duplicates: "drop" exact duplicates and count them, or "keep" them.
        units: Unit conversions.
        ranges: Plausible values by code; what lies outside is reported and kept.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    time_unit: str = "hours"
    missing: Sequence[float] = ()
    empty_code: Literal["error", "drop"] = "error"
    empty_time: Literal["error", "drop", "static"] = "error"
    duplicates: Literal["drop", "keep"] = "drop"
    units: Sequence[UnitRule] = ()
    ranges: Ranges = field(default_factory=dict)

    def __post_init__(self) -> None:
        strange = [name for name in self.columns if name not in (*REQUIRED, *OPTIONAL)]
        if strange:
            raise ValueError(f"columns: expected keys of {', '.join((*REQUIRED, *OPTIONAL))}, got {strange[0]!r}")
        if self.empty_code not in ("error", "drop"):
            raise ValueError(f"empty_code: expected 'error' or 'drop', got {self.empty_code!r}")
        if self.empty_time not in ("error", "drop", "static"):
            raise ValueError(f"empty_time: expected 'error', 'drop' or 'static', got {self.empty_time!r}")

    def choose(self, path: Path) -> dict[str, str]:
        """Role -> column of one file.

        Raises:
            ValueError: A column is not there.
        """
        there = columns_of(path)
        chosen = {role: self.columns.get(role, role) for role in (*REQUIRED, *OPTIONAL)}
        for role, column in list(chosen.items()):
            if column in there:
                continue
            if role in REQUIRED or role in self.columns:
                hint = nearest(column, list(there)) or f"; there are {', '.join(there)}"
                raise ValueError(f"columns: expected the column {column!r} ({role}) in {path}, got none{hint}")
            del chosen[role]
        return chosen


def read_table(
    path: str | Path | Sequence[Path],
    rules: TableRules | None = None,
    *,
    progress: bool | None = None,
    one_file: bool = False,
) -> ReadTable:
    """All events of a file, of every file of a folder, or of several files.

    Args:
        path: CSV (.csv, .tsv, either with .gz) or parquet.
        rules: How rows are understood.
        progress: Show a bar on stderr; None: on a terminal only.
        one_file: Refuse a subject that has rows in two files.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A row is not as the rules say; its file and line (parquet: row) are named.
    """
    rules = rules or TableRules()
    files = find_tables(path) if isinstance(path, (str, Path)) else list(path)
    chosen = {file: rules.choose(file) for file in files}
    collector = _Collector(rules)
    for group in _same_columns(files, chosen):
        roles = chosen[group[0]]
        for rows in read_rows(group, list(roles.values()), progress):
            collector.add(rows, roles, one_file)
    return collector.finish(str(path) if isinstance(path, (str, Path)) else f"{len(files)} files")


def _same_columns(files: list[Path], chosen: Mapping[Path, dict[str, str]]) -> list[list[Path]]:
    """Neighbouring files with the same columns, so that one bar serves them all."""
    groups: list[list[Path]] = []
    for file in files:
        if groups and chosen[groups[-1][0]] == chosen[file]:
            groups[-1].append(file)
        else:
            groups.append([file])
    return groups


class _Names:
    """Numbers for names, in the order of first appearance."""

    def __init__(self) -> None:
        self.places: dict[str, int] = {}

    def numbers(self, column: pa.Array) -> np.ndarray:
        """(n,) int32; -1 for an empty name."""
        encoded = column if pa.types.is_dictionary(column.type) else pc.dictionary_encode(column)
        words = encoded.dictionary.cast(pa.string()).to_pylist()
        table = [NONE if word in (None, "") else self.places.setdefault(word, len(self.places)) for word in words]
        index = encoded.indices.fill_null(len(table)).to_numpy(zero_copy_only=False)
        return np.array([*table, NONE], dtype=np.int32)[index]


class _Collector:
    """Takes rows and keeps them as small arrays."""

    def __init__(self, rules: TableRules) -> None:
        self.rules, self.clockwork = rules, Clockwork(rules.time_unit)
        self.subjects, self.codes, self.units, self.texts = _Names(), _Names(), _Names(), _Names()
        self.chunks: list[Columns] = []
        self.static: list[Columns] = []
        self.rows, self.dropped = 0, Counter[str]()
        self.file_of: dict[int, Path] = {}

    def add(self, rows: Rows, roles: Mapping[str, str], one_file: bool) -> None:
        """Keep a batch."""
        n = rows.batch.num_rows
        self.rows += n
        if n == 0:
            return
        column = {role: rows.batch.column(name) for role, name in roles.items()}
        if not _is_name(column["subject"].type):
            raise ValueError(f"{rows.path}: expected subjects as text or whole numbers, got {column['subject'].type}")
        subject = self.subjects.numbers(column["subject"])
        if (subject == NONE).any():
            raise ValueError(f"{rows.where(int((subject == NONE).argmax()))}: expected a subject, got nothing")
        if one_file:
            self._check_file(subject, rows)
        code = self.codes.numbers(column["code"])
        time = self.clockwork.hours(_without_words(column["time"]), rows.where)
        none = np.full(n, NONE, dtype=np.int32)
        unit = self.units.numbers(column["unit"]) if "unit" in column else none
        text = self.texts.numbers(column["text"]) if "text" in column else none
        value = np.full(n, np.nan, dtype=np.float32)
        if "value" in column:
            value, words = _values(column["value"], rows.where, "text" not in column)
            if words is not None:
                text = self.texts.numbers(words)
        keep = self._drop(code == NONE, "code", self.rules.empty_code, rows.where)
        timeless = np.isnan(time) & keep
        if self.rules.empty_time != "static":
            keep &= self._drop(timeless, "time", self.rules.empty_time, rows.where)
        sentinel = keep & np.isin(value, np.array(self.rules.missing, dtype=np.float32))
        if sentinel.any():
            for number in self.rules.missing:
                self.dropped[f"missing value ({number:g})"] += int((sentinel & (value == np.float32(number))).sum())
            keep &= ~sentinel
        columns = Columns(subject, time, code, value, unit, text)
        if self.rules.empty_time == "static" and (timeless & keep).any():
            self.static.append(columns.take(timeless & keep))
            keep &= ~timeless
        self.chunks.append(columns if keep.all() else columns.take(keep))

    def _drop(self, wrong: np.ndarray, name: str, how: str, where: Callable[[int], str]) -> np.ndarray:
        if wrong.any():
            if how == "error":
                raise ValueError(
                    f"{where(int(wrong.argmax()))}: expected a {name}, got nothing (empty_{name}='drop' leaves such "
                    "rows out and counts them)"
                )
            self.dropped[f"empty {name}"] += int(wrong.sum())
        return ~wrong

    def _check_file(self, subject: np.ndarray, rows: Rows) -> None:
        for number in np.unique(subject).tolist():
            if self.file_of.setdefault(number, rows.path) != rows.path:
                name = next(name for name, place in self.subjects.places.items() if place == number)
                raise ValueError(
                    f"{rows.path}: expected every subject in one file, got {name!r} also in {self.file_of[number]}"
                )

    def finish(self, source: str) -> ReadTable:
        """Join and sort what was kept, convert units, and check."""
        subjects, codes = list(self.subjects.places), list(self.codes.places)
        static, names = self._static(len(subjects))
        clock: Clock = self.clockwork.clock or "relative"
        table, report = assemble(
            Columns.join(self.chunks),
            subjects,
            codes,
            units=list(self.units.places),
            texts=list(self.texts.places),
            static=static,
            static_names=names,
            clock=clock,
            report=ReadReport(source, rows=self.rows, dropped=dict(self.dropped)),
            duplicates=self.rules.duplicates,
        )
        table, report = convert_units(table, self.rules.units, report)
        return ReadTable(table, check(table, report, self.rules.ranges))

    def _static(self, count: int) -> tuple[np.ndarray, tuple[str, ...]]:
        """One column per static code: its first number; 1 or 0 for one without number: it is there or not."""
        rows = Columns.join(self.static)
        words, codes = list(self.texts.places), list(self.codes.places)
        keys = [
            codes[code] if text == NONE else f"{codes[code]}={words[text]}"
            for code, text in zip(rows.code.tolist(), rows.text.tolist(), strict=True)
        ]
        names = tuple(sorted(set(keys)))
        place = {name: k for k, name in enumerate(names)}
        column = np.array([place[key] for key in keys], dtype=np.int64)
        static = np.full((count, len(names)), np.nan, dtype=np.float32)
        for k in range(len(names)):
            if np.isnan(rows.value[column == k]).all():
                static[:, k] = 0
                static[rows.subject[column == k], k] = 1
        numeric = np.flatnonzero(~np.isnan(rows.value))[::-1]  # backwards, so that the first number stays
        static[rows.subject[numeric], column[numeric]] = rows.value[numeric]
        return static, names


def _is_name(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_integer(kind)


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _without_words(column: pa.Array) -> pa.Array:
    """Text with the words for nothing as null."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if not _is_text(column.type):
        return column
    nothing = pc.is_in(column, value_set=pa.array(["", *WORDS_FOR_NOTHING], column.type))
    return pc.if_else(nothing, pa.scalar(None, column.type), column)


def _values(column: Any, where: Callable[[int], str], text: bool) -> tuple[np.ndarray, pa.Array | None]:
    """Numbers as float32 with NaN for none, and the words among them where `text` allows words."""
    column = _without_words(column)
    words = None
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    if _is_text(column.type):
        try:
            column = column.cast(pa.float64())
        except pa.ArrowInvalid:
            number = pc.match_substring_regex(column, _NUMBER)
            words = pc.if_else(number, pa.scalar(None, column.type), column)
            if not text:
                row = int(words.is_valid().index(True).as_py())
                raise ValueError(f"{where(row)}: expected a number, got {words[row].as_py()!r}") from None
            trimmed = pc.utf8_trim_whitespace(pc.if_else(number, column, pa.scalar(None, column.type)))
            column = trimmed.cast(pa.float64())
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type) or pa.types.is_null(column.type)):
        raise ValueError(f"{where(0)}: expected values as numbers or text, got {column.type}")
    value = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    large = np.abs(value) > np.finfo(np.float32).max  # infinite ones too
    if large.any():
        row = int(large.argmax())
        raise ValueError(f"{where(row)}: expected a finite number (float32), got {value[row]:g}")
    return value.astype(np.float32), words
