"""Sites in sequences, BED files of them, and how well one set of sites agrees with another.

BED counts from 0, half-open, on the given strand whatever the strand of the site, and its score is a whole number from
0 to 1000. What is written here is BED 6, which `read_sites` reads back as it was; `genomics.sequences.read_bed` reads
BED files of others.
"""

import gzip
import io
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from os import PathLike, fspath
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.training import replacing

from ..sequences.records import SequenceFileError
from ..sequences.text import NumberedLines

HIGHEST = 1000
"""The highest score of BED."""

_WHOLE = re.compile(r"[0-9]+")
_SKIPPED = re.compile(r"#|(track|browser)(\s|$)")


class Site(NamedTuple):
    """A stretch of a sequence, as BED 6 has it.

    Args:
        chrom: Id of the sequence, without blanks.
        start: First base, from 0.
        end: One past the last base.
        name: What was found, such as "head3"; not empty, without tabs.
        score: A whole number, 0 .. 1000.
        strand: "+", "-", or "." where there is none.
    """

    chrom: str
    start: int
    end: int
    name: str
    score: int
    strand: str


def write_sites(sites: Iterable[Site], path: str | PathLike[str]) -> int:
    """Write BED 6, one site after the other as they come; gzip where the name ends in ".gz".

    The file appears when the last site is written, or not at all.

    Args:
        sites: The sites, in the order of the file.
        path: The file; it is replaced.

    Returns:
        How many were written.

    Raises:
        ValueError: A site that BED 6 cannot hold.
    """
    count = 0
    with replacing(Path(path)) as temporary, opened(temporary, fspath(path).endswith(".gz")) as handle:
        for site in sites:
            handle.write(bed_line(site))
            count += 1
    return count


def bed_line(site: Site) -> str:
    """A site as a line of BED 6, with its end of line.

    Raises:
        ValueError: A site that BED 6 cannot hold.
    """
    problem = _problem(site)
    if problem:
        raise ValueError(f"sites: {problem} in {tuple(site)}")
    return "\t".join(map(str, site)) + "\n"


def read_sites(path: str | PathLike[str]) -> Iterator[Site]:
    """The sites of a BED 6 file, plain or gzip: six columns separated by tabs; comments and track lines are left out.

    Args:
        path: The file.

    Raises:
        SequenceFileError: A line is not BED 6; the message begins with "file:line: ".
    """
    with NumberedLines(path) as lines:
        for line in lines:
            if not line.strip() or _SKIPPED.match(line):
                continue
            fields = line.rstrip("\n").split("\t")
            if len(fields) != 6:
                raise SequenceFileError(path, lines.number, f"expected 6 columns, got {len(fields)}")
            for name, field in (("start", fields[1]), ("end", fields[2]), ("score", fields[4])):
                if not _WHOLE.fullmatch(field):
                    raise SequenceFileError(path, lines.number, f"expected {name} as a number from 0, got {field!r}")
            site = Site(fields[0], int(fields[1]), int(fields[2]), fields[3], int(fields[4]), fields[5])
            problem = _problem(site)
            if problem:
                raise SequenceFileError(path, lines.number, problem)
            yield site


class Agreement(NamedTuple):
    """How predicted sites cover true ones, counted base by base whatever the strand.

    With the bases that are TP (in both), FP (predicted alone), FN (true alone) and TN (in neither):

        nCC = (TP TN - FN FP) / sqrt((TP + FN) (TN + FP) (TP + FP) (TN + FN))
        sensitivity = TP / (TP + FN),    precision = TP / (TP + FP)

    Args:
        correlation: nCC, the Pearson correlation of the two indicators of a base; NaN where either is constant.
        sensitivity: NaN where nothing is true.
        precision: NaN where nothing is predicted. Tompa et al. call it the positive predictive value, nPPV.

    References:
        Tompa et al., "Assessing computational tools for the discovery of transcription factor binding sites", Nature
        Biotechnology 23, 2005, box 1.
    """

    correlation: float
    sensitivity: float
    precision: float


def agreement(predicted: Iterable[Site], true: Iterable[Site], lengths: Mapping[str, int]) -> Agreement:
    """Compare two sets of sites base by base.

    Args:
        predicted: Sites to be judged; names, scores and strands do not matter, and overlaps count once.
        true: Sites that are known.
        lengths: Length of every sequence that was searched, by its id; those without sites count too.

    Raises:
        ValueError: A site lies outside of its sequence, or in none of these.
    """
    found, known = _covered(predicted, lengths, "predicted"), _covered(true, lengths, "true")
    tp = fp = fn = 0
    for chrom in set(found) | set(known):
        empty = np.zeros(lengths[chrom], dtype=bool)
        a, b = found.get(chrom, empty), known.get(chrom, empty)
        tp, fp, fn = tp + int((a & b).sum()), fp + int((a & ~b).sum()), fn + int((~a & b).sum())
    tn = sum(lengths.values()) - tp - fp - fn
    product = (tp + fn) * (tn + fp) * (tp + fp) * (tn + fn)
    return Agreement(
        (tp * tn - fn * fp) / math.sqrt(product) if product else math.nan,
        tp / (tp + fn) if tp + fn else math.nan,
        tp / (tp + fp) if tp + fp else math.nan,
    )


def _covered(sites: Iterable[Site], lengths: Mapping[str, int], name: str) -> dict[str, NDArray[np.bool_]]:
    """For each sequence with sites, which of its bases they cover."""
    of: dict[str, list[Site]] = defaultdict(list)
    for site in sites:
        if not 0 <= site.start <= site.end <= lengths.get(site.chrom, -1):
            length = lengths.get(site.chrom)
            where = "none of the sequences" if length is None else f"one of length {length}"
            raise ValueError(f"{name}: expected sites within the sequences, got {tuple(site)} in {where}")
        of[site.chrom].append(site)
    answer = {}
    for chrom, some in of.items():
        answer[chrom] = np.zeros(lengths[chrom], dtype=bool)
        for site in some:
            answer[chrom][site.start : site.end] = True
    return answer


def _problem(site: Site) -> str:
    """What BED 6 does not allow in a site; "" where there is nothing."""
    if not site.chrom or site.chrom.split() != [site.chrom] or _SKIPPED.match(site.chrom):
        return f"expected an id without blanks that does not read as a comment, got {site.chrom!r}"
    if not 0 <= site.start <= site.end:
        return f"expected 0 <= start <= end, got {site.start} and {site.end}"
    if not site.name or any(letter in site.name for letter in "\t\n\r"):
        return f"expected a name without tabs and ends of line, got {site.name!r}"
    if isinstance(site.score, float) or not 0 <= site.score <= HIGHEST:
        return f"expected a whole score of 0 .. {HIGHEST}, got {site.score!r}"
    if site.strand not in ("+", "-", "."):
        return f"expected strand '+', '-' or '.', got {site.strand!r}"
    return ""


@contextmanager
def opened(path: Path, compressed: bool) -> Iterator[IO[str]]:
    """Open a file to write text; gzip holds neither name nor time, so that equal content gives equal files.

    Args:
        path: The file.
        compressed: Write gzip.
    """
    with path.open("wb") as raw, ExitStack() as stack:
        binary = stack.enter_context(gzip.GzipFile("", "wb", fileobj=raw, mtime=0)) if compressed else raw
        text = io.TextIOWrapper(binary, encoding="utf-8", newline="\n")
        yield text
        text.flush()
        text.detach()
