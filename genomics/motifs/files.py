"""Motif files (MEME, JASPAR, TRANSFAC; plain or gzip) and the JASPAR database.

MEME's minimal format is read and written here: Biopython reads it without naming lines and cannot write it. JASPAR and
TRANSFAC go through Biopython, record by record, so that its errors too come with file and line.

What a format cannot hold is lost: JASPAR and TRANSFAC keep counts but no background, and JASPAR two decimals of them;
MEME keeps frequencies and one number of sites, so that counts come back where all positions have the same total. No
format holds the pseudocount.
"""

import gzip
import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from os import PathLike, fspath
from pathlib import Path
from typing import Literal

from core.extras import MissingExtraError

from ..sequences.records import SequenceFileError
from ..sequences.text import NumberedLines
from .matrices import LETTERS, UNIFORM, Motif

Format = Literal["meme", "jaspar", "transfac"]
Lines = list[tuple[int, str]]

_WITHOUT_SITES = 20.0  # what MEME takes where a file does not say nsites


def read_motifs(path: str | PathLike[str], format: Format | None = None, *, pseudocount: float = 0.8) -> list[Motif]:
    """All motifs of a file.

    Args:
        path: The file, plain or gzip.
        format: "meme" (text or minimal, DNA), "jaspar" or "transfac"; None goes by the first line.
        pseudocount: See `Motif`.

    Raises:
        SequenceFileError: A ValueError that begins with "file:line: ", for whatever the format does not allow and for a
            file without motifs.
    """
    with NumberedLines(path) as handle:
        lines = [(handle.number, line.rstrip("\n")) for line in handle]
    lines = [(number, line) for number, line in lines if line.strip()]
    if not lines:
        raise SequenceFileError(path, 1, "expected motifs, got an empty file")
    if format is None:
        format = _guess(path, lines[0])
    if format not in _READERS:
        raise ValueError(f"format: expected one of {sorted(_READERS)}, got {format!r}")
    motifs = list(_READERS[format](path, lines, pseudocount))
    if not motifs:
        raise SequenceFileError(path, lines[-1][0], f"expected at least one motif in the format {format}, got none")
    return motifs


def write_motifs(motifs: Sequence[Motif], path: str | PathLike[str], format: Format = "meme") -> None:
    """Write motifs to a file, gzip where its name ends in ".gz".

    Args:
        motifs: At least one.
        path: The file; it is replaced.
        format: "meme" (minimal format, version 4), "jaspar" or "transfac".

    Raises:
        ValueError: No motif, or one that the format cannot hold: MEME needs one background for all, and ids and names
            without spaces.
    """
    if len(motifs) == 0:
        raise ValueError("motifs: expected at least one, got none")
    if format not in _WRITERS:
        raise ValueError(f"format: expected one of {sorted(_WRITERS)}, got {format!r}")
    data = _WRITERS[format](motifs).encode()
    if fspath(path).endswith(".gz"):
        data = gzip.compress(data, mtime=0)
    Path(path).write_bytes(data)


def jaspar(
    *,
    release: str = "JASPAR2026",
    collection: str = "CORE",
    tax_group: str | None = "vertebrates",
    all_versions: bool = True,
    ids: Sequence[str] | None = None,
    pseudocount: float = 0.8,
) -> list[Motif]:
    """Matrices of JASPAR, from the database that the package pyjaspar brings along; no download.

    Licence of the data: JASPAR, CC BY 4.0, https://jaspar.elixir.no. It takes some seconds for the whole of CORE.

    Args:
        release: "JASPAR2014" to "JASPAR2026", every second year.
        collection: "CORE" is the curated, non-redundant one.
        tax_group: "vertebrates", "plants", "fungi", "insects", "nematodes", "urochordates", "diatoms", or None for all.
        all_versions: Older versions of a matrix too: MA0095.2 is YY1 on 12 positions, MA0095.4 on fewer.
        ids: Only these, "MA0095.2", or "MA0095" for the latest version; collection and group are not asked then.
        pseudocount: See `Motif`.

    Raises:
        MissingExtraError: pyjaspar is not installed.
        ValueError: The release does not exist, or nothing was found.

    References:
        Rauluseviciute et al., "JASPAR 2024: 20th anniversary of the open-access database of transcription factor
        binding profiles", Nucleic Acids Research 52, 2024.
    """
    try:
        import pyjaspar
    except ModuleNotFoundError as error:
        raise MissingExtraError("jaspar", error, "data") from error
    from Bio import BiopythonWarning

    if release not in pyjaspar.jaspar_releases:
        raise ValueError(f"release: expected one of {sorted(pyjaspar.jaspar_releases)}, got {release!r}")
    database = pyjaspar.jaspardb(release=release)
    with closing(database.conn), warnings.catch_warnings():
        warnings.simplefilter("ignore", BiopythonWarning)  # that nothing was found, which is raised below
        if ids is None:
            found = database.fetch_motifs(collection=collection, tax_group=tax_group, all_versions=all_versions)
        else:
            found = [database.fetch_motif_by_id(id) for id in ids]
            missing = [id for id, motif in zip(ids, found, strict=True) if motif is None]
            if missing:
                raise ValueError(f"ids: expected matrices of {release}, got {missing}")
    if not found:
        raise ValueError(
            f"collection, tax_group: expected some that {release} has matrices of, got {collection!r} and {tax_group!r}"
        )
    return [Motif.from_biopython(motif, pseudocount=pseudocount) for motif in found]


def _guess(path: str | PathLike[str], first: tuple[int, str]) -> Format:
    number, line = first
    if line.startswith("MEME version") or set(line.strip()) == {"*"}:
        return "meme"
    if line.startswith(">"):
        return "jaspar"
    if line[:2].isalpha() and line[:2].isupper() and not line[2:3].strip():
        return "transfac"
    raise SequenceFileError(path, number, f"expected the first line of MEME, JASPAR or TRANSFAC, got {line[:60]!r}")


def _read_meme(path: str | PathLike[str], lines: Lines, pseudocount: float) -> Iterator[Motif]:
    background: tuple[float, ...] = UNIFORM
    title: tuple[int, list[str]] | None = None
    if not any(line.startswith("MEME version") for _, line in lines):
        raise SequenceFileError(path, lines[0][0], f'expected "MEME version", got {lines[0][1][:60]!r}')
    at = 0
    while at < len(lines):
        number, line = lines[at]
        at += 1
        if line.startswith("ALPHABET"):
            letters = line.partition("=")[2].strip() or line.removeprefix("ALPHABET").strip().strip('"')
            if letters not in (LETTERS, "DNA", 'DNA" DNA-LIKE'):
                raise SequenceFileError(path, number, f"expected the alphabet ACGT, got {letters!r}")
        elif line.startswith("Background letter frequencies"):
            words: list[str] = []
            while len(words) < 8 and at < len(lines):
                number = lines[at][0]
                words += lines[at][1].split()
                at += 1
            if words[::2] != list(LETTERS):
                got = " ".join(words)
                raise SequenceFileError(path, number, f"expected A, C, G, T with a number each, got {got!r}")
            background = tuple(_number(path, number, word) for word in words[1::2])
        elif line.startswith("MOTIF"):
            if title is not None:
                raise SequenceFileError(path, number, f"expected the matrix of motif {title[1][0]!r} first, got MOTIF")
            title = number, line.split()[1:3]
            if not title[1]:
                raise SequenceFileError(path, number, "expected an id after MOTIF, got none")
        elif line.startswith("letter-probability matrix:"):
            if title is None:
                raise SequenceFileError(path, number, "expected MOTIF before its matrix, got a matrix")
            width, sites = _matrix_header(path, number, line)
            rows: list[list[float]] = []
            while at < len(lines) and (width is None or len(rows) < width) and _is_row(lines[at][1]):
                rows.append([_number(path, lines[at][0], word) for word in lines[at][1].split()])
                if len(rows[-1]) != 4:
                    raise SequenceFileError(path, lines[at][0], f"expected 4 probabilities, got {len(rows[-1])}")
                at += 1
            if not rows or (width and len(rows) != width):
                raise SequenceFileError(path, number, f"expected {width or 'some'} rows, got {len(rows)}")
            id, name = [*title[1], ""][:2]
            fields = {"name": name, "id": id, "background": background, "pseudocount": pseudocount}
            yield _checked(path, number, partial(Motif.from_probabilities, rows, sites, **fields))
            title = None
    if title is not None:
        raise SequenceFileError(path, title[0], f"expected a letter-probability matrix for {title[1][0]!r}, got none")


def _matrix_header(path: str | PathLike[str], number: int, line: str) -> tuple[int | None, float]:
    """Width (None where it is not said) and sites of "letter-probability matrix: alength= 4 w= 8 nsites= 20 E= 0"."""
    words = line.partition(":")[2].replace("=", " = ").split()
    values = {words[i]: words[i + 2] for i in range(len(words) - 2) if words[i + 1] == "="}
    if values.get("alength", "4") != "4":
        raise SequenceFileError(path, number, f"expected alength= 4, got {values['alength']}")
    width = values.get("w")
    if width is not None and not (width.isdecimal() and int(width) > 0):
        raise SequenceFileError(path, number, f"expected a positive whole number after w=, got {width!r}")
    sites = _number(path, number, values["nsites"]) if "nsites" in values else _WITHOUT_SITES
    return (None if width is None else int(width)), sites


def _is_row(line: str) -> bool:
    return line.split()[0][0] in "0123456789.+-" and not line.startswith("---")


def _number(path: str | PathLike[str], number: int, word: str) -> float:
    try:
        return float(word)
    except ValueError:
        raise SequenceFileError(path, number, f"expected a number, got {word!r}") from None


def _checked(path: str | PathLike[str], number: int, make: Callable[[], Motif]) -> Motif:
    """What `make` answers; its errors, Biopython's included, with file and line."""
    try:
        return make()
    except (ValueError, KeyError, IndexError, UnboundLocalError) as error:
        raise SequenceFileError(path, number, f"expected a motif, got: {error}") from error


def _read_jaspar(path: str | PathLike[str], lines: Lines, pseudocount: float) -> Iterator[Motif]:
    from Bio.motifs import jaspar

    if not lines[0][1].startswith(">"):
        raise SequenceFileError(path, lines[0][0], f'expected ">" and an id, got {lines[0][1][:60]!r}')
    starts = [i for i, (_, line) in enumerate(lines) if line.startswith(">")]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        number = lines[start][0]
        if end - start != 5:
            raise SequenceFileError(path, number, f"expected 4 lines of counts behind the id, got {end - start - 1}")
        block = "".join(line + "\n" for _, line in lines[start:end])
        widths = {len(line.replace("[", " ").replace("]", " ").split()) - 1 for _, line in lines[start + 1 : end]}
        bare = [line.split()[0][0] for _, line in lines[start + 1 : end]]
        if len(widths) != 1 or bare != list(LETTERS):
            raise SequenceFileError(path, number + 1, "expected the rows A, C, G, T of one length, got others")

        def make(block: str = block) -> Motif:
            (found,) = jaspar.read(io.StringIO(block), "jaspar")
            return Motif.from_biopython(found, pseudocount=pseudocount)

        yield _checked(path, number, make)


def _read_transfac(path: str | PathLike[str], lines: Lines, pseudocount: float) -> Iterator[Motif]:
    from Bio.motifs import transfac

    start = 0
    for at, (_, line) in enumerate(lines):
        if line.split()[0] != "//":
            continue
        block = lines[start : at + 1]
        start = at + 1
        matrix = [number for number, line in block if line.startswith(("P0", "PO"))]
        if not matrix:
            continue  # a header, "VV" alone

        def make(block: Lines = block) -> Motif:
            (found,) = transfac.read(io.StringIO("".join(line + "\n" for _, line in block)), strict=False)
            found.name = found.get("NA") or found.get("ID") or ""
            found.matrix_id = found.get("AC") or ""
            return Motif.from_biopython(found, pseudocount=pseudocount)

        yield _checked(path, matrix[0], make)
    if start < len(lines):
        raise SequenceFileError(path, lines[-1][0], "expected // behind the last record, got the end of the file")


def _meme(motifs: Sequence[Motif]) -> str:
    background = motifs[0].background
    parts = [
        "MEME version 4\n\nALPHABET= ACGT\n\nstrands: + -\n\nBackground letter frequencies\n",
        " ".join(f"{letter} {q:.9g}" for letter, q in zip(LETTERS, background, strict=True)) + "\n",
    ]
    for motif in motifs:
        if motif.background != background:
            raise ValueError(f"motifs: expected one background for all, got {background} and {motif.background}")
        words = [word for word in (motif.id, motif.name) if word]
        if not words or any(word.split() != [word] for word in words):
            raise ValueError(f"motifs: expected an id or a name, without spaces, got {motif.id!r} and {motif.name!r}")
        parts.append(f"\nMOTIF {' '.join(words)}\n")
        parts.append(f"letter-probability matrix: alength= 4 w= {len(motif)} nsites= {motif.sites:.10g} E= 0\n")
        parts += [" ".join(f"{p:.9f}" for p in row) + "\n" for row in motif.frequencies]
    return "".join(parts)


def _jaspar(motifs: Sequence[Motif]) -> str:
    from Bio.motifs import jaspar

    text: str = jaspar.write([motif.to_biopython() for motif in motifs], "jaspar")
    return text


def _transfac(motifs: Sequence[Motif]) -> str:
    from Bio.motifs import transfac

    records = []
    for motif in motifs:
        counts = {letter: column.tolist() for letter, column in zip(LETTERS, motif.counts.T, strict=True)}
        record = transfac.Motif(alphabet=LETTERS, counts=counts)
        record.update({key: value for key, value in (("AC", motif.id), ("ID", motif.name)) if value})
        records.append(record)
    text: str = transfac.write(records)
    return text


_READERS = {"meme": _read_meme, "jaspar": _read_jaspar, "transfac": _read_transfac}
_WRITERS = {"meme": _meme, "jaspar": _jaspar, "transfac": _transfac}
