"""What a reader met, for people."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self


@dataclass(frozen=True)
class ReadReport:
    """What a reader met, for people: nothing here is an error, and nothing of it was mended unseen.

    Args:
        source: What was read.
        rows: Rows that were read.
        events: Events that remain.
        subjects: Subjects, those without events included.
        without_events: Subjects without any event.
        dropped: Rows that were left out, by reason.
        unsorted: Neighbouring rows of one subject that stood against the order of time; rows of others between them do
            not count.
        conflicting_units: Codes that come in several units (after conversion), with the number of events of each.
        out_of_range: Values outside their plausible range, which are kept: code -> (count, smallest, largest).
        converted: Values that were converted to another unit, by code.
        missing_values: Events without value that would be numeric: their code has numbers elsewhere.
        words: Events with a word for a number, of codes that have numbers elsewhere: code -> (count, first word).
        unmatched: Rules (units, ranges) that no event fits, in words.
        lacking: Columns that some files have and others lack: column -> number of files that lack it.
        several: Static values alone: code -> subjects with more than one. The first number stays, every word counts.
        static: The same for the rows that say what does not change; None where there are none.
    """

    source: str
    rows: int = 0
    events: int = 0
    subjects: int = 0
    without_events: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    unsorted: int = 0
    conflicting_units: dict[str, dict[str, int]] = field(default_factory=dict)
    out_of_range: dict[str, tuple[int, float, float]] = field(default_factory=dict)
    converted: dict[str, int] = field(default_factory=dict)
    missing_values: int = 0
    words: dict[str, tuple[int, str]] = field(default_factory=dict)
    unmatched: tuple[str, ...] = ()
    lacking: dict[str, int] = field(default_factory=dict)
    several: dict[str, int] = field(default_factory=dict)
    static: "ReadReport | None" = None

    @classmethod
    def restore(cls, stored: Mapping[str, Any]) -> Self:
        """The report of what `dataclasses.asdict` made of it, after a way through JSON, which knows no tuples."""
        pairs = {name: {code: tuple(x) for code, x in stored[name].items()} for name in ("out_of_range", "words")}
        static = None if stored["static"] is None else cls.restore(stored["static"])
        return cls(**{**stored, **pairs, "unmatched": tuple(stored["unmatched"]), "static": static})

    def __str__(self) -> str:
        head = (
            f"{self.source}: {self.rows:,} rows, {self.events:,} events of {self.subjects:,} subjects "
            f"({self.without_events:,} without events)"
        )
        lines = self._lines()
        if self.static is not None:
            known = self.static.subjects - self.static.without_events
            lines.append(f"static: {self.static.rows:,} rows of {known:,} subjects")
            lines += [f"static, {line}" for line in self.static._lines()]
        lines += [f"rule without effect: {rule}" for rule in self.unmatched]
        return "\n".join([head, *(f"  {line}" for line in lines)])

    def _lines(self) -> list[str]:
        lines = [f"left out: {count:,} ({reason})" for reason, count in self.dropped.items() if count]
        for column, count in self.lacking.items():
            lines.append(f"without the column {column!r}: {count:,} files, others have it")
        if self.unsorted:
            lines.append(f"sorted by time: {self.unsorted:,} rows stood before an earlier one of their subject")
        if self.missing_values:
            lines.append(f"without a number: {self.missing_values:,} events of codes that have numbers elsewhere")
        for code, (count, first) in self.words.items():
            lines.append(f"words among numbers: {code}: {count:,} values read as text, such as {first!r}")
        for code, count in self.several.items():
            lines.append(f"several values: {code}: {count:,} subjects; the first number stays, every word counts")
        for code, count in self.converted.items():
            lines.append(f"converted: {count:,} values of {code}")
        for code, units in self.conflicting_units.items():
            lines.append(f"several units: {code}: " + ", ".join(f"{u or 'none'} ({n:,})" for u, n in units.items()))
        for code, (count, low, high) in self.out_of_range.items():
            lines.append(f"out of range, kept: {code}: {count:,} values, {low:g} .. {high:g}")
        return lines
