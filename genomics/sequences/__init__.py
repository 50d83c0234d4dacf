"""Reading, encoding, shuffling and grouping sequences of DNA: the names that other parts of the package use.

Each idea has its own file: `text` (lines and gzip), `records` (what a reader yields, and its rules), `readers` and
`intervals` (formats), `alphabet` (one-hot, tokens, strands), `shuffle`, `splits`.
"""

import os
import stat
from collections.abc import Callable, Iterator
from os import PathLike
from typing import Literal

from .alphabet import (
    BASES,
    LETTERS,
    PAD,
    Batch,
    decode,
    encode,
    one_hot,
    reverse_complement,
    reverse_complement_one_hot,
    reverse_complement_tokens,
    tokens,
)
from .fasta_windows import fasta_windows
from .intervals import read_bed, read_intervals
from .readers import read_deepbind, read_fasta, read_fastq, read_genbank
from .records import STRICT, Interval, Rules, SequenceFileError, SequenceRecord
from .shuffle import dinucleotide_shuffle, dinucleotide_shuffles
from .splits import group_by_chromosome, group_by_shared_kmers, shares_kmer
from .text import NumberedLines

__all__ = [
    "BASES",
    "LETTERS",
    "PAD",
    "STRICT",
    "Batch",
    "Interval",
    "Rules",
    "SequenceFileError",
    "SequenceRecord",
    "decode",
    "dinucleotide_shuffle",
    "dinucleotide_shuffles",
    "encode",
    "fasta_windows",
    "group_by_chromosome",
    "group_by_shared_kmers",
    "one_hot",
    "read_bed",
    "read_deepbind",
    "read_fasta",
    "read_fastq",
    "read_genbank",
    "read_intervals",
    "read_sequences",
    "reverse_complement",
    "reverse_complement_one_hot",
    "reverse_complement_tokens",
    "shares_kmer",
    "tokens",
]

Format = Literal["fasta", "fastq", "genbank", "deepbind"]

_READERS: dict[str, Callable[[str | PathLike[str], Rules], Iterator[SequenceRecord]]] = {
    "fasta": read_fasta,
    "fastq": read_fastq,
    "genbank": read_genbank,
    "deepbind": read_deepbind,
}
_BEGINNINGS = {">": "fasta", "@": "fastq", "LOCUS ": "genbank", "FoldID\t": "deepbind"}


def read_sequences(
    path: str | PathLike[str],
    rules: Rules = STRICT,
    form: Format | None = None,
) -> Iterator[SequenceRecord]:
    """Records of a file in any of the formats; plain or gzip.

    Args:
        path: The file.
        rules: What to do where it is not plain DNA.
        form: The format; None recognises it by the first line that is not blank, never by the file's name.

    Raises:
        SequenceFileError: The first line is that of no format, or the reader refuses the file.
        ValueError: There is no such format, or none is named for a pipe.
    """
    if form is not None and form not in _READERS:
        raise ValueError(f"form: expected one of {sorted(_READERS)}, got {form!r}")
    return _READERS[form or _recognised(path)](path, rules)


def _recognised(path: str | PathLike[str]) -> str:
    if stat.S_ISFIFO(os.stat(path).st_mode):
        raise ValueError(f"form: expected a format for {os.fspath(path)}, a pipe that can be read only once, got None")
    with NumberedLines(path) as lines:
        for line in lines:
            for beginning, form in _BEGINNINGS.items():
                if line.startswith(beginning):
                    return form
            if line.strip():
                raise SequenceFileError(
                    path,
                    lines.number,
                    "expected the beginning of FASTA ('>'), FASTQ ('@'), GenBank ('LOCUS') or DeepBind ('FoldID'), "
                    f"got {line[:40].rstrip()!r}",
                )
    raise SequenceFileError(path, 1, "expected at least one record, got none")
