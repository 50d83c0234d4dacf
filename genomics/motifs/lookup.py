"""Find the matrices that an option names: a motif file or ids of JASPAR."""

import re
from collections.abc import Sequence
from pathlib import Path

from .files import jaspar, read_motifs
from .matrices import Motif

_ID = re.compile(r"[A-Z]{2}\d{4}(\.\d+)?")


def find_motifs(names: str | Sequence[str]) -> list[Motif]:
    """The motifs of a file, or the matrices of JASPAR with these ids.

    Args:
        names: One path or id, or a list of ids; an id without a version is its latest.

    Raises:
        FileNotFoundError: One name, which is neither a file nor an id.
        SequenceFileError: The file holds no motifs.
        ValueError: A name in a list is no id, or JASPAR has no such matrix.
    """
    if isinstance(names, str):
        if Path(names).expanduser().is_file():
            return read_motifs(Path(names).expanduser())
        if not _ID.fullmatch(names):
            raise FileNotFoundError(f"motif: expected a motif file or a JASPAR id such as MA0095.2, got {names!r}")
        names = [names]
    for name in names:
        if not _ID.fullmatch(name):
            raise ValueError(f"motif: expected JASPAR ids such as MA0095.2 in a list, got {name!r}")
    return jaspar(ids=list(names))
