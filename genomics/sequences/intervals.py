"""Sequences at the intervals of a BED file, cut from a genome in FASTA."""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from os import PathLike, fspath

from .alphabet import reverse_complement
from .readers import read_fasta
from .records import STRICT, Interval, Rules, SequenceFileError, SequenceRecord, admit
from .text import NumberedLines

_NUMBER = re.compile(r"[0-9]+")
_SKIPPED = re.compile(r"#|(track|browser)(\s|$)")


def read_intervals(path: str | PathLike[str]) -> Iterator[tuple[int, Interval, str]]:
    """(line, interval, name) of each feature of a BED file.

    Three columns or more; what lies behind the sixth (BED12, narrowPeak) is not read, nor is the score, and the blocks
    of BED12 are not joined. Columns are separated by tabs, or by blanks where a line has no tab. Comments, "track" and
    "browser" lines and blank lines are passed over. A name that is missing is "", a strand ".".

    Args:
        path: The file, plain or gzip.

    Raises:
        SequenceFileError: A line has fewer than 3 columns, its coordinates are no numbers with start <= end, or its
            strand is none of "+", "-" and ".".
    """
    with NumberedLines(path) as lines:
        for line in lines:
            if not line.strip() or _SKIPPED.match(line):
                continue
            fields = [field.strip() for field in line.split("\t")] if "\t" in line else line.split()
            if len(fields) < 3 or not fields[0]:
                raise SequenceFileError(path, lines.number, f"expected chrom, start and end, got {fields}")
            for name, field in (("start", fields[1]), ("end", fields[2])):
                if not _NUMBER.fullmatch(field):
                    raise SequenceFileError(path, lines.number, f"expected {name} as a number from 0, got {field!r}")
            start, end = int(fields[1]), int(fields[2])
            if start > end:
                raise SequenceFileError(path, lines.number, f"expected start <= end, got {start} > {end}")
            strand = fields[5] if len(fields) > 5 else "."
            if strand not in ("+", "-", "."):
                raise SequenceFileError(path, lines.number, f"expected strand '+', '-' or '.', got {strand!r}")
            name = fields[3] if len(fields) > 3 and fields[3] != "." else ""
            yield lines.number, Interval(fields[0], start, end, strand), name


def read_bed(
    path: str | PathLike[str],
    genome: str | PathLike[str],
    rules: Rules = STRICT,
) -> Iterator[SequenceRecord]:
    """Sequences at the intervals of a BED file, in its order; those on the minus strand are reverse complements.

    The genome is read once, one chromosome at a time. Memory: its longest chromosome, the intervals and what they cut.
    Everything is checked before the first record is yielded.

    Args:
        path: The BED file: 0-based, half-open.
        genome: The genome in FASTA; an id is a chromosome's name.
        rules: As for the other readers. Gaps cannot be dropped, since coordinates count them; ids are intervals, and
            where they may come twice (narrowPeak with several summits), allow duplicates. Chromosomes may not.

    Raises:
        SequenceFileError: A line of the BED file names no chromosome of the genome, ends behind its chromosome, or is
            refused by `rules` or `read_intervals`; or the genome is refused by `read_fasta`.
        ValueError: The rules drop gaps.
    """
    if rules.gaps == "drop":
        raise ValueError("rules: expected gaps='refuse' or 'unknown' for a genome, got 'drop'")
    return admit(_cut(path, genome, rules), path, rules)


def _cut(path: str | PathLike[str], genome: str | PathLike[str], rules: Rules) -> Iterator[SequenceRecord]:
    wanted: dict[str, list[int]] = defaultdict(list)
    records: list[SequenceRecord] = []
    for line, interval, name in read_intervals(path):
        wanted[interval.chrom].append(len(records))
        records.append(SequenceRecord(str(interval), "", name, line, interval))
    if not records:
        return
    for chromosome in read_fasta(genome, replace(rules, duplicates="refuse")):
        for number in wanted.pop(chromosome.id, ()):
            records[number] = _filled(records[number], chromosome.sequence, path)
    if wanted:
        chrom, numbers = next(iter(wanted.items()))
        raise SequenceFileError(
            path, records[numbers[0]].line, f"expected a chromosome of {fspath(genome)}, got {chrom!r}"
        )
    yield from records


def _filled(record: SequenceRecord, chromosome: str, path: str | PathLike[str]) -> SequenceRecord:
    interval = record.interval
    assert interval is not None
    if interval.end > len(chromosome):
        raise SequenceFileError(
            path, record.line, f"expected an end of at most {len(chromosome)} on {interval.chrom}, got {interval.end}"
        )
    cut = chromosome[interval.start : interval.end]
    return replace(record, sequence=reverse_complement(cut) if interval.strand == "-" else cut)
