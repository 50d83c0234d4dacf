"""Read long tables of events, one row an event, from CSV or parquet; any size that fits as arrays of 28 bytes a row."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from attention_suite import nearest

from ..read_report import ReadReport
from ..records import NONE, Clock, Columns, EventRecords, assemble
from ..static_values import static_values
from ..units import Ranges, UnitRule, check, convert_units, unmatched_rules
from .cells import is_text, values, without_words
from .clocks import Clockwork
from .table_files import Rows, columns_of, find_tables, read_rows

REQUIRED = ("subject", "time", "code")
OPTIONAL = ("value", "unit", "text")


class ReadTable(NamedTuple):
    """The events of a source, and what was met."""

    table: EventRecords
    report: ReadReport


@dataclass(frozen=True)
class TableRules:
    """How rows are understood.

    Args:
        columns: Which column of the file is the "subject", "time", "code", "value", "unit" and "text"; what is not
            named has that name. The last three may be absent where they are not named.
        may_lack: Those of the last three that may be absent although they are named; a file that lacks one has nothing
            there.
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
    may_lack: Sequence[str] = ()
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
        strange = [name for name in self.may_lack if name not in OPTIONAL]
        if strange:
            raise ValueError(f"may_lack: expected some of {', '.join(OPTIONAL)}, got {strange[0]!r}")
        role_of: dict[str, str] = {}
        for role in (*REQUIRED, *(role for role in OPTIONAL if role in self.columns)):
            column = self.columns.get(role, role)
            if role_of.setdefault(column, role) != role:
                raise ValueError(
                    f"columns: expected a column of its own for every role, got {column!r} for {role_of[column]} and "
                    f"{role}"
                )
        if self.empty_code not in ("error", "drop"):
            raise ValueError(f"empty_code: expected 'error' or 'drop', got {self.empty_code!r}")
        if self.empty_time not in ("error", "drop", "static"):
            raise ValueError(f"empty_time: expected 'error', 'drop' or 'static', got {self.empty_time!r}")

    def choose(self, path: Path) -> dict[str, str]:
        """Role -> column of one file.

        Raises:
            ValueError: A column is not there.
        """
        there, named = columns_of(path), set(self.columns.values())
        chosen = {}
        for role in (*REQUIRED, *OPTIONAL):
            column = self.columns.get(role, role)
            if role not in self.columns and column in named:
                continue  # an optional column that another role has taken
            if column in there:
                chosen[role] = column
            elif role in REQUIRED or (role in self.columns and role not in self.may_lack):
                hint = nearest(column, list(there)) or f"; there are {', '.join(there)}"
                raise ValueError(f"columns: expected the column {column!r} ({role}) in {path}, got none{hint}")
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
    for role in OPTIONAL:
        lacking = sum(role not in roles for roles in chosen.values())
        if 0 < lacking < len(files):
            collector.lacking[rules.columns.get(role, role)] = lacking
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
    """Numbers for names, in the order of first appearance.

    Args:
        strip: Whether white space around a name does not count; a name of nothing else is empty in any case.
    """

    def __init__(self, strip: bool = True) -> None:
        self.strip = strip
        self.places: dict[str, int] = {}

    def numbers(self, column: pa.Array) -> np.ndarray:
        """(n,) int32; -1 for an empty name."""
        encoded = column if pa.types.is_dictionary(column.type) else pc.dictionary_encode(column)
        table = [self._number(word or "") for word in encoded.dictionary.cast(pa.string()).to_pylist()]
        index = encoded.indices.fill_null(len(table)).to_numpy(zero_copy_only=False)
        return np.array([*table, NONE], dtype=np.int32)[index]

    def _number(self, word: str) -> int:
        bare = word.strip()
        return self.places.setdefault(bare if self.strip else word, len(self.places)) if bare else NONE


class _Collector:
    """Takes rows and keeps them as small arrays."""

    def __init__(self, rules: TableRules) -> None:
        self.rules, self.clockwork = rules, Clockwork(rules.time_unit)
        self.subjects = _Names(strip=False)  # labels name them too
        self.codes, self.units, self.texts = _Names(), _Names(), _Names()
        self.chunks: list[Columns] = []
        self.static: list[Columns] = []
        self.rows, self.dropped = 0, Counter[str]()
        self.lacking: dict[str, int] = {}
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
        code = self._numbers("code", rows, roles)
        time = self.clockwork.hours(without_words(column["time"]), rows.where)
        none = np.full(n, NONE, dtype=np.int32)
        unit = self._numbers("unit", rows, roles) if "unit" in column else none
        text = self._numbers("text", rows, roles) if "text" in column else none
        value = np.full(n, np.nan, dtype=np.float32)
        if "value" in column:
            value, words = values(column["value"], rows.where, "text" not in column)
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

    def _numbers(self, role: str, rows: Rows, roles: Mapping[str, str]) -> np.ndarray:
        column, names = rows.batch.column(roles[role]), {"code": self.codes, "unit": self.units, "text": self.texts}
        try:
            return names[role].numbers(column)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise ValueError(
                f"{rows.path}: expected the column {roles[role]!r} ({role}) as text or numbers, got {column.type}"
            ) from error

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
        units, texts = list(self.units.places), list(self.texts.places)
        rows = Columns.join(self.static)
        count = len(rows.time)
        still, of_static = assemble(
            rows._replace(time=np.zeros(count)),
            subjects,
            codes,
            units=units,
            texts=texts,
            report=ReadReport(source, rows=count),
        )
        converted, of_static = convert_units(still, self.rules.units, of_static)
        static = static_values(converted)
        of_static = replace(check(converted, of_static, self.rules.ranges), several=static.several)
        clock: Clock = self.clockwork.clock or "relative"
        table, report = assemble(  # a call by ** would hold on to the chunks, 28 bytes a row
            Columns.join(self.chunks),
            subjects,
            codes,
            units=units,
            texts=texts,
            static=static.values,
            static_names=static.names,
            static_flags=static.flags,
            clock=clock,
            report=ReadReport(source, rows=self.rows, dropped=dict(self.dropped), lacking=self.lacking),
            duplicates=self.rules.duplicates,
        )
        unmatched = unmatched_rules((table, still), self.rules.units, self.rules.ranges)
        table, report = convert_units(table, self.rules.units, report)
        report = replace(report, unmatched=unmatched, static=of_static if count else None)
        return ReadTable(table, check(table, report, self.rules.ranges))


def _is_name(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return is_text(kind) or bool(pa.types.is_integer(kind))
