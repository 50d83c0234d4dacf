"""How the stays of the PhysioNet/CinC Challenge 2012 ended: the file Outcomes-<set>.txt.

In-hospital_death is the target. The other columns are outcomes of their own, for training alone (`auxiliary`): Survival
is the day of death counted from the admission, -1 where no death is on record; Length_of_stay are days in hospital;
SAPS-I and SOFA score how ill a patient is on the first day. In these three, -1 is missing.

References:
    Silva et al.: Predicting in-hospital mortality of ICU patients: the PhysioNet/Computing in Cardiology Challenge
    2012, Computing in Cardiology 39 (2012).
"""

import math
from typing import NamedTuple

TARGET = "In-hospital_death"
DEATH_DAYS = (4, 7, 14, 30, 90, 365)
STAY_DAYS = (5, 8, 12, 20)
AUXILIARY = (
    *(f"death within {days} d" for days in DEATH_DAYS),
    "death on record",
    *(f"stay over {days} d" for days in STAY_DAYS),
    "SAPS-I",
    "SOFA",
)
"""Names of the outcomes beside the target."""


class StayOutcome(NamedTuple):
    """Of one stay: 1 for a death in hospital, and the outcomes of `AUXILIARY`, NaN where unknown."""

    died: float
    auxiliary: tuple[float, ...]


def parse_outcomes(text: str, where: str) -> dict[str, StayOutcome]:
    """Read the file.

    Args:
        text: What it holds.
        where: Its name, for messages.

    Returns:
        RecordID -> outcome. Columns beside RecordID and the target may lack.

    Raises:
        ValueError: A line is not as described; it is named.
    """
    lines = [(number, line.split(",")) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    header = [name.strip() for name in lines[0][1]] if lines else []
    if "RecordID" not in header or TARGET not in header:
        raise ValueError(f"{where}, line 1: expected the columns RecordID and {TARGET}, got {','.join(header)!r}")
    found: dict[str, StayOutcome] = {}
    for number, fields in lines[1:]:
        row = dict(zip(header, (field.strip() for field in fields), strict=False))
        if len(fields) != len(header) or row[TARGET] not in ("0", "1"):
            raise ValueError(f"{where}, line {number}: expected {TARGET} 0 or 1, got {','.join(fields)!r}")
        if row["RecordID"] in found:
            raise ValueError(f"{where}, line {number}: expected every RecordID once, got {row['RecordID']} again")
        try:
            survival, stay, saps, sofa = (
                float(row.get(name, "nan")) for name in ("Survival", "Length_of_stay", "SAPS-I", "SOFA")
            )
        except ValueError:
            raise ValueError(f"{where}, line {number}: expected numbers, got {','.join(fields)!r}") from None
        found[row["RecordID"]] = _outcome(row[TARGET] == "1", survival, stay, saps, sofa)
    return found


def _outcome(died: bool, survival: float, stay: float, saps: float, sofa: float) -> StayOutcome:
    if survival == -1:
        survival = math.nan if died else math.inf  # a death without its day, or none
    stay, saps, sofa = (math.nan if value == -1 else value for value in (stay, saps, sofa))
    deaths = (_flag(survival, survival <= days) for days in DEATH_DAYS)
    stays = (_flag(stay, stay > days) for days in STAY_DAYS)
    recorded = 1.0 if died else _flag(survival, survival < math.inf)
    return StayOutcome(float(died), (*deaths, recorded, *stays, saps, sofa))


def _flag(known: float, value: bool) -> float:
    return math.nan if math.isnan(known) else float(value)
