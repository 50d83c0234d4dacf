"""Read the Medical Event Data Standard (MEDS): shards of events, labels with prediction times, the subjects' split.

    data/**/*.parquet                  subject_id int64, time timestamp (null: static), code, numeric_value, text_value
    metadata/subject_splits.parquet    subject_id, split: "train", "tuning" or "held_out"
    labels: any parquet file or folder with subject_id, prediction_time and one of boolean_value, integer_value,
            float_value, categorical_value

References:
    MEDS 0.4, https://github.com/Medical-Event-Data-Standard/meds, meds/schema.py.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from ...probabilities.outcomes import Kind
from ..cohort import Labels
from ..units import Ranges, UnitRule
from .labels import read_labels
from .table_files import columns_of, is_parquet
from .tables import OPTIONAL, ReadTable, TableRules, read_table

COLUMNS = {
    "subject": "subject_id",
    "time": "time",
    "code": "code",
    "value": "numeric_value",
    "text": "text_value",
    "unit": "unit",
}
SPLITS = {"train": "train", "tuning": "val", "held_out": "test"}
LABELS: dict[str, Kind] = {
    "boolean_value": "binary",
    "integer_value": "multiclass",
    "categorical_value": "multiclass",
}


def shards(root: str | Path) -> list[Path]:
    """The files under data/, in the order of their names.

    Raises:
        FileNotFoundError: There is none.
    """
    folder = Path(root) / "data"
    files = sorted(folder.rglob("*.parquet")) if folder.is_dir() else []
    if not files:
        raise FileNotFoundError(f"root: expected MEDS shards data/**/*.parquet in {root}, got none")
    return files


def read_meds(
    root: str | Path,
    *,
    missing: Sequence[float] = (),
    units: Sequence[UnitRule] = (),
    ranges: Ranges | None = None,
    progress: bool | None = None,
) -> ReadTable:
    """All events of all shards; rows without a time are static.

    A column "unit" (a code modifier that some data have) is taken as the unit. A shard may lack that column, the values
    or the texts: its rows then have none; the report says how many shards lack what others have.

    Args:
        root: The folder that holds data/.
        missing: As in `TableRules`.
        units: As in `TableRules`.
        ranges: As in `TableRules`.
        progress: As in `read_table`.

    Raises:
        FileNotFoundError: There is no shard.
        ValueError: A shard does not follow the standard: it lacks a column, a type differs, a time has a zone, or a
            subject is in two shards.
    """
    files = shards(root)
    for file in files:
        _check_schema(file)
    rules = TableRules(
        columns=COLUMNS, may_lack=OPTIONAL, empty_time="static", missing=missing, units=units, ranges=ranges or {}
    )
    table, report = read_table(files, rules, progress=progress, one_file=True)
    return ReadTable(table, replace(report, source=f"MEDS, {len(files)} shards"))


def _check_schema(file: Path) -> None:
    types = columns_of(file)
    checks = {
        "subject_id": (pa.types.is_int64, "int64"),
        "time": (lambda kind: pa.types.is_timestamp(kind) and kind.tz is None, "timestamp without a zone"),
        "code": (lambda kind: _is_text(kind), "string"),
        "numeric_value": (lambda kind: pa.types.is_floating(kind) or pa.types.is_null(kind), "float"),
        "text_value": (lambda kind: _is_text(kind) or pa.types.is_null(kind), "string"),
    }
    for name, (fits, expected) in checks.items():
        if name not in types and name in ("subject_id", "time", "code"):
            raise ValueError(f"{file}: expected the MEDS column {name!r}, got {', '.join(types)}")
        if name in types and not fits(types[name]):
            raise ValueError(f"{file}: expected {name} as {expected}, got {types[name]}")


def _is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def read_meds_labels(path: str | Path, column: str | None = None, unlabelled: bool = False) -> Labels:
    """Labels with prediction times; data up to and including that time may be used.

    Args:
        path: A parquet file, or a folder of such; files of a folder with other endings are not read.
        column: "boolean_value" (binary), "integer_value" or "categorical_value" (multiclass); None takes the one that
            is there.
        unlabelled: Whether labels may lack values.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: No column, or more than one, could be meant.
    """
    path = Path(path)
    files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
    if not files or not files[0].is_file() or not is_parquet(files[0]):
        raise FileNotFoundError(f"labels: expected a parquet file or a folder of such, got {path}")
    if column is None:
        there = [name for name in LABELS if any(_has_values(file, name) for file in files)]
        there = ["boolean_value"] if unlabelled and not there else there
        if len(there) != 1:
            found = ", ".join(there) or "none of them"
            raise ValueError(f"label: expected one of {', '.join(LABELS)} with values in {files[0]}, got {found}")
        column = there[0]
    elif column not in LABELS:
        raise ValueError(f"label: expected one of {', '.join(LABELS)}, got {column!r}")
    columns = {"subject": "subject_id", "prediction_time": "prediction_time", "target": column}
    return read_labels(files, kind=LABELS[column], columns=columns, unlabelled=unlabelled)


def _has_values(file: Path, column: str) -> bool:
    if column not in columns_of(file):
        return False
    values = pyarrow.parquet.read_table(file, columns=[column]).column(0)
    return values.null_count < len(values)


def read_meds_split(root: str | Path) -> dict[str, str] | None:
    """Subject -> "train", "val" or "test"; None where the data have no split of their own.

    Raises:
        ValueError: A column is not there, a subject is in two parts, or a part has another name.
    """
    path = Path(root) / "metadata" / "subject_splits.parquet"
    if not path.is_file():
        return None
    for column in ("subject_id", "split"):
        if column not in (there := columns_of(path)):
            raise ValueError(f"{path}: expected the column {column!r}, got {', '.join(there)}")
    table = pyarrow.parquet.read_table(path, columns=["subject_id", "split"])
    part_of: dict[str, str] = {}
    for subject, split in zip(table["subject_id"].to_pylist(), table["split"].to_pylist(), strict=True):
        if split not in SPLITS:
            raise ValueError(f"{path}: expected the splits {', '.join(SPLITS)}, got {split!r}")
        if part_of.setdefault(str(subject), SPLITS[split]) != SPLITS[split]:
            raise ValueError(f"{path}: expected every subject in one part, got {subject} in two")
    return part_of


def places_of(subjects: np.ndarray, part_of: dict[str, str], part: str) -> np.ndarray:
    """Which samples belong to a part, by their subjects."""
    return np.flatnonzero([part_of.get(subject) == part for subject in subjects.tolist()])
