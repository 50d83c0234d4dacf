"""Streaming readers for FASTA, FASTQ, GenBank and DeepBind's .seq, over Biopython's parsers where it has them.

Each is a generator that holds one record at a time (and the ids seen, unless duplicates are allowed). Any file may be
gzip, recognised by content. What a reader will not guess is a `SequenceFileError` with file and line; `Rules` names the
options. Titles are text in UTF-8; lines may end in LF, CRLF or CR, and a byte order mark is left out.
"""

import math
import warnings
from collections import deque
from collections.abc import Iterator
from itertools import count
from os import PathLike

from Bio import BiopythonParserWarning, SeqIO
from Bio.Seq import UndefinedSequenceError
from Bio.SeqIO.FastaIO import SimpleFastaParser
from Bio.SeqIO.QualityIO import FastqGeneralIterator

from .records import STRICT, Rules, SequenceFileError, SequenceRecord, admit
from .text import NumberedLines

_DEEPBIND = ("FoldID", "EventID", "seq", "Bound")
_BROKEN_SEQUENCE = "Premature end of file|Blank line in sequence|Invalid indentation for seq|Expected sequence length"


def read_fasta(path: str | PathLike[str], rules: Rules = STRICT) -> Iterator[SequenceRecord]:
    """Records of a FASTA file, by `Bio.SeqIO.FastaIO.SimpleFastaParser`.

    The id is the first word of the title. Blank lines and blanks at the ends of lines do not count; text before the
    first ">", a title without a word and blanks inside a line are errors.

    Args:
        path: The file.
        rules: What to do where it is not plain DNA.

    Raises:
        SequenceFileError: At the line that `rules` refuse or that is not FASTA.
    """
    return admit(_fasta(path, rules), path, rules)


def _fasta(path: str | PathLike[str], rules: Rules) -> Iterator[SequenceRecord]:
    titles: deque[int] = deque()

    def checked(lines: NumberedLines) -> Iterator[str]:
        """Check each line as the parser takes it, where its number is known."""
        for line in lines:
            if line.startswith(">"):
                if not line[1:].strip():
                    raise SequenceFileError(path, lines.number, "expected an id after '>', got nothing")
                titles.append(lines.number)
            elif titles:
                rules.check(line.rstrip(), path, lines.number)
            elif line.strip():
                raise SequenceFileError(path, lines.number, f"expected a title after '>', got {_shown(line)}")
            yield line

    with NumberedLines(path) as lines:
        for title, letters in SimpleFastaParser(checked(lines)):
            identifier, description = _words(title)
            yield SequenceRecord(identifier, rules.convert(letters), description, titles.popleft())


def read_fastq(path: str | PathLike[str], rules: Rules = STRICT, offset: int = 33) -> Iterator[SequenceRecord]:
    """Records of a FASTQ file with their Phred scores, by `Bio.SeqIO.QualityIO.FastqGeneralIterator`.

    Sequence and qualities may be wrapped. An error names the line where its record begins; one in the structure of the
    file also names the line where it was noticed.

    Args:
        path: The file.
        rules: What to do where it is not plain DNA. A gap that is dropped drops its quality.
        offset: ASCII code of score 0: 33 (Sanger, Illumina 1.8 and later) or 64 (Illumina 1.3 to 1.7).

    Raises:
        SequenceFileError: A record is truncated, its lengths differ, a score is outside 0 .. 126 - offset, or the
            letters are refused.
        ValueError: The offset is neither 33 nor 64.
    """
    if offset not in (33, 64):
        raise ValueError(f"offset: expected 33 or 64, got {offset}")
    return admit(_fastq(path, rules, offset), path, rules)


def _fastq(path: str | PathLike[str], rules: Rules, offset: int) -> Iterator[SequenceRecord]:
    with NumberedLines(path) as lines:
        known = dict.fromkeys(range(offset, 127))
        scores = bytes(max(code - offset, 0) for code in range(256))
        parsed = FastqGeneralIterator(lines)  # type: ignore[arg-type]  # it takes any iterable of lines
        start = 1
        while True:
            try:
                entry = next(parsed, None)
            except SequenceFileError:
                raise
            except ValueError as error:
                raise SequenceFileError(
                    path, start, f"expected a FASTQ record; on line {lines.number}: {error}"
                ) from None
            if entry is None:
                return
            title, letters, codes = entry
            rules.check(letters, path, start)
            strange = codes.translate(known)
            if strange:
                raise SequenceFileError(
                    path, start, f"expected quality codes {chr(offset)!r} .. '~' (offset={offset}), got {strange[0]!r}"
                )
            quality = codes.encode("ascii").translate(scores)
            identifier, description = _words(title)
            if not identifier:
                raise SequenceFileError(path, start, "expected an id after '@', got nothing")
            yield SequenceRecord(
                identifier, rules.convert(letters), description, start, quality=rules.kept(letters, quality)
            )
            start = lines.number  # the parser has read the next title, and nothing behind it


def read_genbank(path: str | PathLike[str], rules: Rules = STRICT) -> Iterator[SequenceRecord]:
    """Records of a GenBank flat file, by `Bio.SeqIO`; the line of a record is that of its LOCUS.

    The id is the accession with its version, the description the DEFINITION. Features are parsed and left out. The
    sequence is upper case: GenBank writes all of it in lower case, and Biopython turns it. Irregularities outside the
    sequence that Biopython can read around are its warnings.

    Args:
        path: The file.
        rules: What to do where it is not plain DNA.

    Raises:
        SequenceFileError: A record has no sequence (only a CONTIG line), fewer or more letters than its LOCUS says,
            or ends early; or its letters are refused.
    """
    return admit(_genbank(path, rules), path, rules)


def _genbank(path: str | PathLike[str], rules: Rules) -> Iterator[SequenceRecord]:
    with _LocusLines(path) as lines:
        parsed = SeqIO.parse(lines, "genbank")
        for number in count():
            try:
                with warnings.catch_warnings():
                    warnings.filterwarnings("error", message=_BROKEN_SEQUENCE, category=BiopythonParserWarning)
                    record = next(parsed, None)
                if record is None:
                    return
                letters = str(record.seq)
            except (SequenceFileError, OSError):
                raise
            except UndefinedSequenceError:
                message = "expected a sequence under ORIGIN, got none"
                raise SequenceFileError(path, lines.starts[number], message) from None
            except Exception as error:  # the parser raises what it stumbles over: IndexError, AssertionError, ...
                start = lines.starts[number] if number < len(lines.starts) else max(lines.number, 1)
                message = f"expected a GenBank record; on line {lines.number}: {str(error) or repr(error)}"
                raise SequenceFileError(path, start, message) from error
            rules.check(letters, path, lines.starts[number])
            yield SequenceRecord(record.id, rules.convert(letters), record.description, lines.starts[number])


class _LocusLines(NumberedLines):
    """Numbered lines that note where records begin."""

    def __init__(self, path: str | PathLike[str]) -> None:
        super().__init__(path)
        self.starts: list[int] = []

    def readline(self) -> str:
        line = super().readline()
        if line.startswith("LOCUS "):
            self.starts.append(self.number)
        return line


def read_deepbind(path: str | PathLike[str], rules: Rules = STRICT) -> Iterator[SequenceRecord]:
    """Records of DeepBind's .seq: a header "FoldID EventID seq Bound", then a sequence a line, separated by tabs.

    Args:
        path: The file.
        rules: What to do where it is not plain DNA.

    Raises:
        SequenceFileError: The header or the number of columns is another, Bound is not a finite number, an id is
            missing, or the letters are refused.

    References:
        Alipanahi et al. 2015, Nature Biotechnology 33:831 (its data's format).
    """
    return admit(_deepbind(path, rules), path, rules)


def _deepbind(path: str | PathLike[str], rules: Rules) -> Iterator[SequenceRecord]:
    with NumberedLines(path) as lines:
        header = lines.readline()
        if not header:
            return
        if tuple(header.rstrip().split("\t")) != _DEEPBIND:
            expected = "\t".join(_DEEPBIND)
            raise SequenceFileError(path, 1, f"expected the header {expected!r}, got {_shown(header)}")
        for line in lines:
            if not line.strip():
                continue
            fields = [field.strip() for field in line.rstrip("\n").split("\t")]
            if len(fields) != len(_DEEPBIND):
                raise SequenceFileError(path, lines.number, f"expected 4 columns, got {len(fields)} in {_shown(line)}")
            fold, identifier, letters, bound = fields
            try:
                label = float(bound)
            except ValueError:
                label = math.nan
            if not math.isfinite(label):
                raise SequenceFileError(path, lines.number, f"expected a finite number in column Bound, got {bound!r}")
            if not identifier:
                raise SequenceFileError(path, lines.number, "expected an id in column EventID, got nothing")
            rules.check(letters, path, lines.number)
            yield SequenceRecord(identifier, rules.convert(letters), fold, lines.number, label=label)


def _words(title: str) -> tuple[str, str]:
    """First word and the rest."""
    words = title.split(None, 1)
    return (words[0] if words else ""), (words[1].rstrip() if len(words) > 1 else "")


def _shown(line: str) -> str:
    """The line, shortened for a message."""
    line = line.rstrip("\n")
    return repr(line if len(line) <= 60 else line[:57] + "...")
