"""What a reader yields, and what it does with letters that are not plain DNA.

`Rules` holds every choice that a file can force on its reader. The defaults refuse whatever would have to be guessed;
each refusal is a `SequenceFileError` that names file and line, and the option that would accept it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from os import PathLike, fspath
from typing import Literal, NamedTuple

from .alphabet import LETTERS

_GAPS = "-."
_PROTEIN = "*EFILPQZJXO"  # letters of protein that are no IUPAC code of DNA


class SequenceFileError(ValueError):
    """A file does not hold what its reader expects; the message begins with "file:line: ".

    Args:
        path: The file.
        line: Line number, from 1.
        message: What was expected and what was got.
    """

    def __init__(self, path: str | PathLike[str], line: int, message: str) -> None:
        super().__init__(f"{fspath(path)}:{line}: {message}")
        self.path = fspath(path)
        self.line = line


class Interval(NamedTuple):
    """A place in a genome: 0-based, half-open, [start, end); strand "+", "-" or "." (none given)."""

    chrom: str
    start: int
    end: int
    strand: str

    def __str__(self) -> str:
        return f"{self.chrom}:{self.start}-{self.end}({self.strand})"


@dataclass(frozen=True, slots=True)
class SequenceRecord:
    """One sequence of a file.

    Args:
        id: First word of the title, accession with version (GenBank), EventID (DeepBind), or the interval (BED).
        sequence: IUPAC codes of DNA; on the minus strand of a BED file already the reverse complement.
        description: What else the file says: rest of the title, DEFINITION, FoldID, or the name column of a BED file.
        line: Line number, from 1, where the record begins.
        interval: Where the sequence lies in its genome; BED only.
        label: Value of DeepBind's column Bound.
        quality: Phred scores of a FASTQ record, one byte a letter (iterating over bytes gives integers).
    """

    id: str
    sequence: str
    description: str
    line: int
    interval: Interval | None = None
    label: float | None = None
    quality: bytes | None = None


@dataclass(frozen=True, slots=True)
class Rules:
    """What a reader does where a file is not plain DNA.

    Args:
        case: "upper" makes lower case (soft masking) upper; "keep" leaves it.
        uracil: U is an error, or read as "thymine".
        gaps: "-" and "." are an error, left out ("drop"), or read as N ("unknown").
        empty: A record without a letter is an error, left out ("skip"), or yielded ("keep").
        duplicates: An id seen before is an error, or allowed. Refusing keeps every id in memory: allow duplicates to
            stream a long FASTQ file in constant memory.

    Raises:
        ValueError: A value is not among these.
    """

    case: Literal["upper", "keep"] = "upper"
    uracil: Literal["refuse", "thymine"] = "refuse"
    gaps: Literal["refuse", "drop", "unknown"] = "refuse"
    empty: Literal["refuse", "skip", "keep"] = "refuse"
    duplicates: Literal["refuse", "allow"] = "refuse"

    def __post_init__(self) -> None:
        choices = {
            "case": ("upper", "keep"),
            "uracil": ("refuse", "thymine"),
            "gaps": ("refuse", "drop", "unknown"),
            "empty": ("refuse", "skip", "keep"),
            "duplicates": ("refuse", "allow"),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}: expected one of {allowed}, got {getattr(self, name)!r}")

    def check(self, letters: str, path: str | PathLike[str], line: int) -> None:
        """Raise unless every letter is an IUPAC code of DNA or is covered by an option.

        Args:
            letters: One line of sequence, or the whole of it.
            path: File to name.
            line: Line to name.

        Raises:
            SequenceFileError: With the first other letter and its column.
        """
        strange = letters.translate(_accepted(self.uracil, self.gaps))
        if strange:
            letter = strange[0]
            column = letters.index(letter) + 1
            raise SequenceFileError(
                path,
                line,
                f"expected IUPAC codes of DNA, got {letter!r} in column {column} of the sequence{_hint(letter)}",
            )

    def convert(self, letters: str) -> str:
        """Apply case, uracil and gaps to letters that passed `check`."""
        if self.uracil == "thymine":
            letters = letters.translate({ord("U"): "T", ord("u"): "t"})
        if self.gaps == "drop":
            letters = letters.translate({ord(gap): None for gap in _GAPS})
        elif self.gaps == "unknown":
            letters = letters.translate({ord(gap): "N" for gap in _GAPS})
        return letters.upper() if self.case == "upper" else letters

    def kept(self, letters: str, aligned: bytes) -> bytes:
        """The part of `aligned`, one byte a letter, whose letters `convert` keeps."""
        if self.gaps != "drop":
            return aligned
        return bytes(value for letter, value in zip(letters, aligned, strict=True) if letter not in _GAPS)


def admit(records: Iterable[SequenceRecord], path: str | PathLike[str], rules: Rules) -> Iterator[SequenceRecord]:
    """Pass records on under the rules for empty records and duplicated ids.

    Args:
        records: What the parser found.
        path: File to name.
        rules: The rules.

    Raises:
        SequenceFileError: An empty record or a duplicated id that the rules refuse, or no record at all.
    """
    line_of: dict[str, int] = {}
    found = False
    for record in records:
        found = True
        if not record.sequence and rules.empty != "keep":
            if rules.empty == "skip":
                continue
            raise SequenceFileError(
                path, record.line, f"expected letters in record {record.id!r}, got none; empty='skip' leaves it out"
            )
        if rules.duplicates == "refuse":
            if record.id in line_of:
                raise SequenceFileError(
                    path,
                    record.line,
                    f"expected ids that differ, got {record.id!r} again (first on line {line_of[record.id]}); "
                    "duplicates='allow' accepts it",
                )
            line_of[record.id] = record.line
        yield record
    if not found:
        raise SequenceFileError(path, 1, "expected at least one record, got none")


STRICT = Rules()
"""The defaults: whatever would have to be guessed is refused."""


@lru_cache
def _accepted(uracil: str, gaps: str) -> dict[int, None]:
    """A table that deletes what is accepted."""
    letters = LETTERS + ("U" if uracil == "thymine" else "")
    return dict.fromkeys(map(ord, letters + letters.lower() + (_GAPS if gaps != "refuse" else "")))


def _hint(letter: str) -> str:
    if letter in "Uu":
        return ": RNA? uracil='thymine' reads it as T"
    if letter in _GAPS:
        return ": an alignment? gaps='drop' or 'unknown' accepts it"
    if letter.upper() in _PROTEIN:
        return ": a protein?"
    if letter.isspace():
        return ": blanks inside a sequence are not skipped"
    return ""
