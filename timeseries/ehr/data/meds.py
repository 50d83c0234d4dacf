"""Events in the Medical Event Data Standard."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from core.training import Split, hash_files

from ...events.cohort import build_samples
from ...events.readers.cache import cached
from ...events.readers.meds import places_of, read_meds, read_meds_labels, read_meds_split, shards
from ...events.samples import EventSamples
from ...events.splits import PARTS, split_by_subject
from ...events.units import unit_rules
from .base import EventDataModule
from .loaded import LoadedEvents


class MedsData(EventDataModule):
    """A folder in the Medical Event Data Standard, with labels.

    The split is that of metadata/subject_splits.parquet where there is one (labels of subjects outside it are left out
    and counted); else subjects are drawn. A record goes on after the prediction time by the standard's design, so
    events after it are left out and counted, unless `after_prediction` is "error".

    Args:
        root: The folder that holds data/ and metadata/.
        labels: File or folder of labels; a relative path is looked up in `root` first.
        label: Which column of the labels; None takes the one with values.
        after_prediction: "drop" and count, or "error".
        window: Hours before the prediction time from which events count; None for all.
        text: Events with a text: "flag" forgets it, "code" makes "<code>=<text>" a code.
        without_events: Labels without any event: "keep", "drop" or "error".
        missing: Numbers that stand for a missing value.
        units: Conversions, see `EventTableData`.
        ranges: Plausible values, see `EventTableData`.
        cache: Folder that keeps the prepared table; None for none.
        options: Of `EventDataModule`.
    """

    licence = "as the owner of the files says"
    source = "Medical Event Data Standard, by a local path"
    reading = (*EventDataModule.reading, "units", "missing", "window", "text")

    def __init__(
        self,
        root: str,
        labels: str = "labels",
        label: str | None = None,
        after_prediction: str = "drop",
        window: float | None = None,
        text: str = "flag",
        without_events: str = "keep",
        missing: Sequence[float] = (),
        units: Mapping[str, Mapping[str, Any]] | None = None,
        ranges: Mapping[str, Sequence[float]] | None = None,
        cache: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.root, self.labels, self.label, self.cache = root, labels, label, cache
        self.cohort_options = {
            "after": after_prediction,
            "window": window,
            "text": text,
            "without_events": without_events,
        }
        self.missing, self.units, self.ranges = tuple(missing), dict(units or {}), dict(ranges or {})

    def load(self) -> LoadedEvents:
        """Read the shards and the labels, and join them."""
        rules = unit_rules(self.units)
        options = {"missing": self.missing, "units": self.units, "ranges": self.ranges}
        table, report = cached(
            self.cache,
            lambda: hash_files(shards(self.root), self.root),
            options,
            lambda: read_meds(self.root, missing=self.missing, units=rules, ranges=self.ranges),
        )
        labels = read_meds_labels(self.labels_path(), self.label, unlabelled=self.all_test)
        samples, joined = build_samples(table, labels, **self.cohort_options)  # type: ignore[arg-type]
        part_of = read_meds_split(self.root)
        if part_of is None:
            return LoadedEvents(samples, None, (report, joined))
        return LoadedEvents(samples, self.given_split(samples, part_of), (report, joined))

    def given_split(self, samples: EventSamples, part_of: dict[str, str]) -> Split:
        """The split of the data."""
        return split_by_subject(samples.subjects, *(places_of(samples.subjects, part_of, part) for part in PARTS))

    def labels_path(self) -> Path:
        """Where the labels are: in the root, or at the path as it is."""
        inside = Path(self.root) / self.labels
        return inside if inside.exists() else Path(self.labels)

    def fingerprint(self) -> str:
        """A hash of shards, labels and split."""
        path = self.labels_path()
        labels = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
        split = Path(self.root) / "metadata" / "subject_splits.parquet"
        return hash_files([*shards(self.root), *labels, *([split] if split.is_file() else [])])
