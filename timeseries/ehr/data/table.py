"""Your own events, from CSV or parquet."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from core.training import hash_files

from ...events.cohort import build_samples
from ...events.readers.cache import cached
from ...events.readers.labels import read_labels
from ...events.readers.table_files import find_tables
from ...events.readers.tables import TableRules, read_table
from ...events.units import unit_rules
from .base import EventDataModule
from .loaded import LoadedEvents


class EventTableData(EventDataModule):
    """A long table of events, one row an event, and a table of labels, one row a sample.

    Args:
        path: The events: a file or folder, .csv, .tsv (either with .gz) or .parquet.
        labels: The labels: the same kinds of files.
        columns: Which column is the "subject", "time", "code", "value", "unit", "text"; default: those names.
        label_columns: Which column is the "subject", "prediction_time", "target" (several: a list), "duration".
        target: "binary", "multiclass", "multilabel" or "time_to_event".
        classes: multiclass: names in the order of their numbers; None sorts those that occur.
        auxiliary: Columns of the labels with further outcomes, for training alone, see `timeseries.ehr.auxiliary`.
        prediction_time: One relative time for all samples, in `time_unit`, in place of a column of the labels.
        time_unit: Of times that are plain numbers: "seconds", "minutes", "hours" or "days".
        after_prediction: Events after the prediction time: "error", or "drop" and count.
        window: Hours before the prediction time from which events count; None for all.
        text: Events with a word: "code" makes "<code>=<word>" a code, "flag" forgets the word.
        without_events: Labels without any event: "keep", "drop" or "error".
        missing: Numbers that stand for a missing value; such rows are left out and counted.
        empty_code: Rows without a code: "error", or "drop" and count.
        empty_time: Rows without a time: "error", "drop", or "static" (what does not change).
        units: Conversions, such as {glucose: {to: mg/dL, mmol/L: 18.016}}.
        ranges: Plausible values, such as {HR: [10, 300]}; what lies outside is reported and kept.
        cache: Folder that keeps the prepared table; None for none.
        options: Of `EventDataModule`.
    """

    licence = "as the owner of the files says"
    source = "a table of events, by a local path"
    reading = (*EventDataModule.reading, "units", "missing", "time_unit", "window", "text", "empty_time")
    noted = ("columns",)

    def __init__(
        self,
        path: str,
        labels: str,
        columns: dict[str, str] | None = None,
        label_columns: dict[str, str | list[str]] | None = None,
        target: str = "binary",
        classes: list[str] | None = None,
        auxiliary: list[str] | None = None,
        prediction_time: float | None = None,
        time_unit: str = "hours",
        after_prediction: str = "error",
        window: float | None = None,
        text: str = "code",
        without_events: str = "keep",
        missing: Sequence[float] = (),
        empty_code: str = "error",
        empty_time: str = "error",
        units: Mapping[str, Mapping[str, Any]] | None = None,
        ranges: Mapping[str, Sequence[float]] | None = None,
        cache: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.path, self.labels, self.target, self.time_unit = path, labels, target, time_unit
        self.classes, self.auxiliary = classes, auxiliary
        self.label_columns, self.prediction_time, self.cache = label_columns, prediction_time, cache
        self.cohort_options = {
            "after": after_prediction,
            "window": window,
            "text": text,
            "without_events": without_events,
        }
        self.rules = TableRules(
            columns=dict(columns or {}),
            time_unit=time_unit,
            missing=tuple(missing),
            empty_code=empty_code,  # type: ignore[arg-type]
            empty_time=empty_time,  # type: ignore[arg-type]
            units=unit_rules(units or {}),
            ranges={code: list(limits) for code, limits in (ranges or {}).items()},
        )

    def load(self) -> LoadedEvents:
        """Read events and labels, and join them."""
        table, report = cached(
            self.cache,
            lambda: hash_files(find_tables(self.path), _root(self.path)),
            asdict(self.rules),
            lambda: read_table(self.path, self.rules),
        )
        labels = read_labels(
            self.labels,
            kind=self.target,  # type: ignore[arg-type]
            columns=self.label_columns,
            time_unit=self.time_unit,
            prediction_time=self.prediction_time,
            classes=self.classes,
            unlabelled=self.all_test,
            auxiliary=self.auxiliary or (),
        )
        samples, joined = build_samples(table, labels, **self.cohort_options)  # type: ignore[arg-type]
        return LoadedEvents(samples, None, (report, joined))

    def fingerprint(self) -> str:
        """A hash of the files."""
        return hash_files([*find_tables(self.path), *find_tables(self.labels)])


def _root(path: str) -> Path | None:
    return Path(path) if Path(path).is_dir() else None
