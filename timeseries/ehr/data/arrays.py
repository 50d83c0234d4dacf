"""Your own events from Python: arrays, tensors, lists, data frames."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from core.training import Split

from ...events.cohort import build_samples
from ...events.readers.arrays import Table, read_array_labels, read_arrays
from ...events.splits import split_by_subject
from ...probabilities.outcomes import Kind
from .base import EventDataModule
from .loaded import LoadedEvents


class EventArrayData(EventDataModule):
    """Events and labels that are in memory; made in Python, not by a configuration.

        EventArrayData(
            {"subject": [1, 1, 2], "time": [0.5, 3.0, 1.0], "code": ["HR", "HR", "Na"], "value": [80, 95, 140]},
            {"subject": [1, 2], "prediction_time": [24, 24], "target": [0, 1]},
        )

    A table is a mapping of columns (numpy, torch, lists), a data frame of pandas or a `Dataset` of Hugging Face. Times
    are hours as numbers, or numpy's datetime64. Labels without a target are there to be predicted, as with `all_test`.

    Args:
        events: Columns "subject", "time", "code" and, if there are any, "value"; one row an event.
        labels: Columns "subject", "prediction_time" and the target's; one row a sample.
        kind: "binary", "multiclass", "multilabel" or "time_to_event" (0 or 1, and a column "duration" of hours).
        static: Column "subject" and others of numbers that do not change; None for none.
        split: part ("train", "val", "test") -> a mask over the labels, or their numbers; no subject may be in two
            parts. None draws subjects.
        target: Which column of the labels; several, or one of shape (N, K), for multilabel.
        target_names: Of the classes (binary: of class 1 alone) or labels.
        after_prediction: Events after the prediction time: "error", or "drop" and count.
        window: Hours before the prediction time from which events count; None for all.
        options: Of `EventDataModule`.

    Shapes:
        every column (n,), of events, of labels or of subjects

    Raises:
        ValueError: A column is not what it should be.
    """

    licence = "as the owner of the data says"
    source = "arrays of events, from Python"
    from_python: ClassVar[bool] = True
    not_stored: ClassVar[tuple[str, ...]] = ("events", "labels", "static", "split")
    reading = (*EventDataModule.reading, "window")

    def __init__(
        self,
        events: Table,
        labels: Table,
        kind: Kind = "binary",
        *,
        static: Table | None = None,
        split: Split | Mapping[str, Any] | None = None,
        target: str | Sequence[str] = "target",
        target_names: Sequence[str] = (),
        after_prediction: Literal["error", "drop"] = "error",
        window: float | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        table, report = read_arrays(events, static)
        wanted, known = read_array_labels(labels, kind, target, target_names)
        self.all_test = self.all_test or not known
        samples, joined = build_samples(table, wanted, after=after_prediction, window=window)
        parts = None if split is None else Split.of_parts(split, len(samples))
        self.given = LoadedEvents(
            samples, None if parts is None else split_by_subject(samples.subjects, *parts), (report, joined)
        )

    def load(self) -> LoadedEvents:
        """What was given."""
        return self.given
