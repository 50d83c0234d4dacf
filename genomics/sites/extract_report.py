"""What was extracted from heads, as tables, files and a picture."""

import csv
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from core.analysis.figures import new_figure
from core.training import write_text

from ..motifs.comparing import Match
from ..motifs.files import write_motifs
from ..motifs.matrices import Motif
from ..sequences.records import SequenceFileError
from ..sequences.text import NumberedLines
from .extract import HeadMotif
from .mutagenesis import HeadEffect
from .peaks import Extent

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

_COLUMNS = (
    "head", "name", "offset", "width", "sites", "bits",
    "match_id", "match_name", "p", "q", "r", "match_offset", "match_strand", "overlap",
)  # fmt: skip


def is_found(match: Match, *, q_value: float = 0.01, correlation: float = 0.9, overlap: int = 8) -> bool:
    """Whether a match is one to rely on: q below, r and the overlap at least these.

    Args:
        match: A match of a head's motif.
        q_value: q stays below it.
        correlation: Least r.
        overlap: Fewest columns that meet.
    """
    return match.q_value < q_value and match.correlation >= correlation and match.overlap >= overlap


def heads_table(heads: Sequence[HeadMotif], effects: Sequence[HeadEffect] = ()) -> str:
    """A Markdown table: a head's sites, its motif, its best match, and what mutating its sites does to the logit.

    Args:
        heads: What `extract_motifs` answered.
        effects: What `mutate_sites` answered for them; none leaves those columns out.
    """
    by_name = {effect.name: effect for effect in effects}
    names = ["head", "sites", "motif", "bits", "best match", "r", "columns", "q"]
    names += ["logit, sites mutated", "elsewhere", "p"] if effects else []
    lines = [f"| {' | '.join(names)} |", "|" + "---|" * len(names)]
    for head in heads:
        cells = [head.name.removeprefix("head"), str(len(head.windows))]
        cells += ["-", "-"] if head.motif is None else [head.motif.consensus, f"{head.information:.1f}"]
        if head.matches:
            best = head.matches[0]
            label = f"{best.target.name} {best.target.id}".strip()
            cells += [label, f"{best.correlation:.2f}", str(best.overlap), f"{best.q_value:.1e}"]
        else:
            cells += ["-"] * 4
        if effects:
            effect = by_name.get(head.name)
            numbers = None if effect is None else (f"{-effect.effect:+.2f}", f"{-effect.control:+.2f}", effect.p_value)
            cells += ["-"] * 3 if numbers is None else [*numbers[:2], f"{numbers[2]:.1e}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def named(heads: Sequence[HeadMotif], *, q_value: float = 0.01) -> dict[str, str]:
    """A longer name for each head with a motif, with that of its best match where it is significant: "head3_YY1".

    Args:
        heads: What `extract_motifs` answered.
        q_value: Matches with a smaller q are significant.
    """
    names = {}
    for head in heads:
        if head.motif is not None:
            best = head.matches[0] if head.matches else None
            known = best is not None and best.q_value < q_value and best.target.name
            suffix = "_" + "_".join(best.target.name.split()) if best is not None and known else ""
            names[head.name] = f"{head.name}{suffix}"
    return names


def write_heads(heads: Sequence[HeadMotif], folder: str | PathLike[str]) -> list[Path]:
    """Write heads.tsv (one row for each motif), motifs.meme and motifs.jaspar into a folder.

    heads.tsv is what `read_extents` and `attention-suite genomics scan --heads` take.

    Args:
        heads: What `extract_motifs` answered.
        folder: Where to; it is made.

    Returns:
        The files; heads.tsv alone where no head has a motif.
    """
    folder, names = Path(folder), named(heads)
    lines = ["\t".join(_COLUMNS)]
    motifs = []
    for head in heads:
        if head.motif is None:
            continue
        row = [head.head, names[head.name], head.offset, len(head.motif), len(head.windows), f"{head.information:.2f}"]
        if head.matches:
            m = head.matches[0]
            row += [m.target.id, m.target.name, f"{m.p_value:.3g}", f"{m.q_value:.3g}", f"{m.correlation:.4f}"]
            row += [m.offset, m.strand, m.overlap]
        else:
            row += [""] * 8
        lines.append("\t".join(map(str, row)))
        motifs.append(Motif(head.motif.counts, id=head.name, name=names[head.name].partition("_")[2]))
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / "heads.tsv"]
    write_text(files[0], "\n".join(lines) + "\n")
    if motifs:
        for form in ("meme", "jaspar"):
            files.append(folder / f"motifs.{form}")
            write_motifs(motifs, files[-1], form)
    return files


def read_extents(path: str | PathLike[str]) -> dict[int, Extent]:
    """Name, offset and width of each head's motif, from a heads.tsv.

    Args:
        path: The file; of its columns head, name, offset and width are read. A head stands in one row: extract with
            `Recipe(parts=1)`.

    Raises:
        SequenceFileError: A line is not as `write_heads` writes it; the message begins with "file:line: ".
    """
    extents: dict[int, Extent] = {}
    with NumberedLines(path) as lines:
        for row in csv.reader(lines, delimiter="\t"):
            if lines.number == 1:
                if tuple(row[:4]) != _COLUMNS[:4]:
                    expected = " ".join(_COLUMNS[:4])
                    raise SequenceFileError(path, 1, f"expected the columns {expected}, got {' '.join(row[:4])!r}")
                continue
            try:
                head, offset, width = int(row[0]), int(row[2]), int(row[3])
            except (ValueError, IndexError):
                raise SequenceFileError(path, lines.number, f"expected head, name, offset, width, got {row}") from None
            if head < 0 or width < 1 or not row[1] or head in extents:
                message = f"expected another head from 0, a name and a width from 1, got {row[:4]}"
                raise SequenceFileError(path, lines.number, message)
            extents[head] = Extent(row[1], offset, width)
    if not extents:
        raise SequenceFileError(path, 1, "expected at least one head, got none")
    return extents


def draw_heads(
    heads: Sequence[HeadMotif],
    *,
    profiles: Mapping[str, NDArray[np.float64]] | None = None,
    captions: Mapping[str, str] | None = None,
    columns: int = 3,
    title: str | None = None,
) -> "Figure":
    """For each head the logo of its motif, what single substitutions do to the logit, and its best match, aligned.

    Args:
        heads: What `extract_motifs` answered; those without a motif are left out.
        profiles: What `site_profile` answered, by name.
        captions: A second line under the head's name, by name.
        columns: Panels side by side.
        title: Above all.

    Raises:
        MissingExtraError: matplotlib is not installed.
        ValueError: No head has a motif.
    """
    shown = [head for head in heads if head.motif is not None]
    if not shown:
        raise ValueError("heads: expected at least one with a motif, got none")
    columns = min(columns, len(shown))
    rows = -(-len(shown) // columns)
    figure = new_figure(4.6 * columns, 3.9 * rows + (0.5 if title else 0), part="draw_heads")
    if title:
        figure.suptitle(title)
    grid = figure.subfigures(rows, columns, squeeze=False)
    for panel, head in zip(grid.flat, shown, strict=False):
        _draw_head(panel, head, (profiles or {}).get(head.name), (captions or {}).get(head.name))
    return figure


def _draw_head(panel: "SubFigure", head: HeadMotif, profile: NDArray[np.float64] | None, caption: str | None) -> None:
    """Three axes over one scale of positions: the head's logo, the profile, the match's logo."""
    from ..motifs.logos import draw_logo

    motif, best = head.motif, head.matches[0] if head.matches else None
    assert motif is not None
    parts = [2.0] + [1.0] * (profile is not None) + [2.0] * (best is not None)
    axes = list(np.atleast_1d(panel.subplots(len(parts), 1, sharex=True, height_ratios=parts)))
    first, end = 0, len(motif)
    label = f"{head.name}: {len(head.windows)} sites, {head.information:.1f} bits"
    axes[0].set_title(label if caption is None else f"{label}\n{caption}", fontsize=9)
    draw_logo(axes[0], motif)
    if profile is not None:
        part = profile[head.start : head.start + len(motif)]
        axes[1].bar(np.arange(1, len(motif) + 1), -part, color="0.35", width=0.7)
        axes[1].axhline(0, color="0.5", linewidth=0.6)
        axes[1].set_ylabel("change\nof logit", fontsize=8)
        axes[1].spines[["top", "right"]].set_visible(False)
    if best is not None:
        target = best.target.reverse_complement() if best.strand == "-" else best.target
        first, end = min(0, -best.offset), max(len(motif), len(target) - best.offset)
        draw_logo(axes[-1], target, start=-best.offset)
        turned = ", reverse complement" if best.strand == "-" else ""
        numbers = f"r = {best.correlation:.2f} over {best.overlap}, q = {best.q_value:.1g}"
        axes[-1].set_title(f"{best.target.name} {best.target.id}{turned}\n{numbers}", fontsize=9)
    axes[-1].set_xlabel("position in the head's motif", fontsize=8)
    for axis in axes:
        axis.set_xlim(first + 0.5, end + 0.5)
        axis.tick_params(labelsize=7)
        axis.yaxis.label.set_size(8)
        axis.set_xticks([k for k in range(first + 1, end + 1) if k == 1 or k % 5 == 0])
