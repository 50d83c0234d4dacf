"""The folders of the PhysioNet/CinC Challenge 2012: one text file per stay in intensive care.

A file has the columns Time (HH:MM since admission), Parameter and Value, and begins with the descriptors at 00:00:
RecordID, Age, Gender, Height, ICUType and Weight, where -1 says that one is missing.

References:
    Silva et al.: Predicting in-hospital mortality of ICU patients: the PhysioNet/Computing in Cardiology Challenge
    2012, Computing in Cardiology 39 (2012).
"""

import math
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from core.training import hash_files

from ..read_report import ReadReport
from ..records import NONE, Columns, EventRecords, assemble
from ..units import check
from .physionet_outcomes import AUXILIARY, parse_outcomes

HOURS = 48.0
STATIC = ("Age", "Gender", "Height", "Weight", "ICUType=1", "ICUType=2", "ICUType=3", "ICUType=4")
_DESCRIPTORS = ("RecordID", "Age", "Gender", "Height", "ICUType", "Weight")
_HEADER = "Time,Parameter,Value"
LARGEST = float(np.finfo(np.float32).max)

RANGES: dict[str, tuple[float, float]] = {
    "DiasABP": (10, 200), "FiO2": (0.2, 1.0), "GCS": (3, 15), "HR": (10, 300), "K": (1, 15), "MAP": (10, 250),
    "Na": (80, 200), "NIDiasABP": (10, 200), "NIMAP": (10, 250), "NISysABP": (20, 300), "PaCO2": (5, 150),
    "PaO2": (10, 700), "pH": (6.5, 8.0), "RespRate": (1, 100), "SaO2": (20, 100), "SysABP": (20, 300),
    "Temp": (25, 45), "Weight": (20, 350),
}  # fmt: skip
"""Plausible values in the units of the challenge; what lies outside is reported and kept."""


class PhysioNetStays(NamedTuple):
    """One set of the challenge: its events, how each stay ended, and what the reader met.

    Shapes:
        died (S,) float32, 0 or 1, in the order of the table's subjects; auxiliary (S, A) float32, the outcomes of
        `physionet_outcomes.AUXILIARY`, NaN where unknown
    """

    table: EventRecords
    died: np.ndarray
    auxiliary: np.ndarray
    report: ReadReport


def find_set(root: str | Path, name: str) -> tuple[Path, Path]:
    """The folder set-<name> (or its archive set-<name>.tar.gz, .tar.xz, .tar) and the file Outcomes-<name>.txt.

    In an archive the outcomes may lie beside the folder; then both paths are the archive's.

    Raises:
        FileNotFoundError: One of them is not under `root`.
    """
    root = Path(root)
    tried = [root / f"set-{name}", *(root / f"set-{name}{ending}" for ending in (".tar.gz", ".tgz", ".tar.xz", ".tar"))]
    found = next((path for path in tried if path.exists()), None)
    if found is None:
        raise FileNotFoundError(f"root: expected the folder set-{name} or its archive (.tar.gz) in {root}, got neither")
    outcomes = root / f"Outcomes-{name}.txt"
    if not outcomes.is_file() and found.is_dir():
        raise FileNotFoundError(f"root: expected the file Outcomes-{name}.txt in {root}, got none")
    return found, outcomes if outcomes.is_file() else found


def fingerprint(root: str | Path, name: str) -> str:
    """A hash of the set's files."""
    stays, outcomes = find_set(root, name)
    files = sorted(stays.glob("*.txt")) if stays.is_dir() else [stays]
    return hash_files([*files, outcomes], root)


def read_physionet(root: str | Path, name: str) -> PhysioNetStays:
    """Read one set of the challenge.

    A value of -1 is missing, in the descriptors and in the series; a row with an empty parameter says nothing. Both
    are left out and counted. Stays without any series are kept. Weights after the first are events.

    Args:
        root: The folder that holds set-<name> and Outcomes-<name>.txt.
        name: "a", "b" or "c".

    Raises:
        FileNotFoundError: A folder or file is not there.
        ValueError: A file is not as described; its name and line are said.
    """
    stays, outcomes = find_set(root, name)
    parser = _Parser()
    ends = None if outcomes == stays else parse_outcomes(outcomes.read_text("utf-8"), str(outcomes))
    for where, text in _files(stays):
        if where.rpartition("/")[2].startswith("Outcomes"):
            ends = parse_outcomes(text, where) if ends is None else ends
        else:
            parser.read(where, text)
    if ends is None:
        raise FileNotFoundError(f"root: expected the file Outcomes-{name}.txt in {root} or {stays}, got none")
    lost = [subject for subject in parser.subjects if subject not in ends]
    if lost:
        raise ValueError(f"{outcomes}: expected a row for every stay, got none for {lost[0]} ({len(lost)} such stays)")
    gone = ends.keys() - set(parser.subjects)
    if gone:
        raise ValueError(f"{stays}: expected a file for every outcome, got none for {min(gone)} ({len(gone)} such)")
    table, report = parser.table(f"PhysioNet 2012, set {name}")
    died = np.array([ends[s].died for s in parser.subjects], dtype=np.float32)
    auxiliary = np.array([ends[s].auxiliary for s in parser.subjects], dtype=np.float32)
    return PhysioNetStays(table, died, auxiliary.reshape(-1, len(AUXILIARY)), report)


class _Parser:
    """Collects the stays one by one."""

    def __init__(self) -> None:
        self.subjects: list[str] = []
        self.codes: dict[str, int] = {}
        self.static: list[list[float]] = []
        self.rows, self.dropped = 0, Counter[str]()
        self.subject: list[int] = []
        self.time: list[float] = []
        self.code: list[int] = []
        self.value: list[float] = []

    def read(self, where: str, text: str) -> None:
        """Read one stay's file."""
        stay = where.rpartition("/")[2].removesuffix(".txt")
        lines = text.splitlines()
        if not lines or lines[0].strip() != _HEADER:
            raise ValueError(f"{where}, line 1: expected {_HEADER!r}, got {lines[0] if lines else ''!r}")
        described: dict[str, float] = {}
        n = len(self.subjects)
        for number, line in enumerate(lines[1:], 2):
            if not line.strip():
                continue
            self.rows += 1
            try:
                clock, parameter, written = (cell.strip() for cell in line.split(","))
                if not parameter:
                    self.dropped["empty parameter"] += 1
                    continue
                hours, minutes = clock.split(":")
                time, value = int(hours) + int(minutes) / 60, float(written)
            except ValueError:
                raise ValueError(f"{where}, line {number}: expected HH:MM,Parameter,number, got {line!r}") from None
            if not abs(value) <= LARGEST or time < 0 or not 0 <= int(minutes) < 60:
                raise ValueError(
                    f"{where}, line {number}: expected HH:MM,Parameter,finite number (float32), got {line!r}"
                )
            if time == 0 and parameter in _DESCRIPTORS and parameter not in described:
                described[parameter] = value
            elif value == -1:
                self.dropped["missing value (-1)"] += 1
            else:
                self.subject.append(n)
                self.time.append(time)
                self.code.append(self.codes.setdefault(parameter, len(self.codes)))
                self.value.append(value)
        if described.get("RecordID", -1) != float(stay if stay.isdigit() else -2):
            got = f"{described['RecordID']:g}" if "RecordID" in described else "none"
            raise ValueError(f"{where}: expected RecordID {stay} (the file's name) at 00:00, got {got}")
        self.subjects.append(stay)
        self.static.append(_static(described, where))

    def table(self, source: str) -> tuple[EventRecords, ReadReport]:
        """The events of all stays, ordered by RecordID."""
        order = np.argsort(np.array(self.subjects, dtype=np.int64), kind="stable")
        rank = np.empty(len(order), dtype=np.int32)
        rank[order] = np.arange(len(order))
        names = sorted(self.codes)
        number = np.array([names.index(code) for code in self.codes], dtype=np.int32)
        none = np.full(len(self.time), NONE, dtype=np.int32)
        columns = Columns(
            rank[np.array(self.subject, dtype=np.int64)],
            np.array(self.time, dtype=np.float64),
            number[np.array(self.code, dtype=np.int64)] if names else none,
            np.array(self.value, dtype=np.float32),
            none,
            none,
        )
        self.subjects = [self.subjects[k] for k in order]
        static = np.array(self.static, dtype=np.float32).reshape(-1, len(STATIC))[order]
        report = ReadReport(source, rows=self.rows, dropped=dict(self.dropped))
        table, report = assemble(columns, self.subjects, names, static=static, static_names=STATIC, report=report)
        return table, check(table, report, RANGES)


def _static(described: dict[str, float], where: str) -> list[float]:
    """Age, gender, height, weight and one column per type of unit; -1 and what is not there are NaN."""
    known = {name: math.nan if value == -1 else value for name, value in described.items()}
    unit = known.get("ICUType", math.nan)
    if not (math.isnan(unit) or unit in (1, 2, 3, 4)):
        raise ValueError(f"{where}: expected ICUType 1, 2, 3 or 4, got {unit:g}")
    one_hot = [math.nan if math.isnan(unit) else float(unit == k) for k in (1, 2, 3, 4)]
    return [known.get(name, math.nan) for name in ("Age", "Gender", "Height", "Weight")] + one_hot


def _files(path: Path) -> Iterator[tuple[str, str]]:
    """Name and text of every .txt file of a folder or an archive."""
    if path.is_dir():
        for file in sorted(path.glob("*.txt")):
            yield f"{path.name}/{file.name}", file.read_text("utf-8")
        return
    with tarfile.open(path) as archive:
        for member in archive:
            if member.isfile() and member.name.endswith(".txt"):
                content = archive.extractfile(member)
                assert content is not None
                yield member.name, content.read().decode("utf-8")
