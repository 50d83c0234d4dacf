"""Sequence logos in bits, and the logos of two motifs one above the other, aligned (needs the extra viz).

The letters are outlines of the font that matplotlib brings along, stretched to their height.
"""

from typing import TYPE_CHECKING

import numpy as np

from core.analysis.figures import new_figure

from .matrices import LETTERS, Motif

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.path import Path

    from .comparing import Match

COLOURS = {"A": "#109648", "C": "#255c99", "G": "#f7b32b", "T": "#d62839"}
"""Green, blue, orange, red: the usual colours of A, C, G, T."""


def logo(motif: Motif, *, title: str | None = None, small_sample: bool = False) -> "Figure":
    """A sequence logo: at position i, letter b is f_ib * I_i bits high, the most frequent on top.

    Args:
        motif: The motif.
        title: Above the picture; None takes id and name.
        small_sample: See `Motif.information`.

    Raises:
        MissingExtraError: matplotlib is not installed.

    References:
        Schneider, Stephens, "Sequence logos: a new way to display consensus sequences", Nucleic Acids
        Research 18, 1990.
    """
    figure = new_figure(max(1.4 + 0.36 * len(motif), 3.6), 2.2, part="logo")
    axes = figure.subplots()
    draw_logo(axes, motif, small_sample=small_sample)
    axes.set_xlabel("position")
    axes.set_title(_label(motif) if title is None else title)
    return figure


def match_logo(query: Motif, match: "Match", *, title: str = "query") -> "Figure":
    """The logo of a query above that of its match, on the match's strand and at its offset; the overlap is shaded.

    Args:
        query: What was searched for.
        match: What `MotifDatabase.search` answered.
        title: What to call the query.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    target = match.target.reverse_complement() if match.strand == "-" else match.target
    first = min(0, -match.offset)
    end = max(len(query), len(target) - match.offset)
    figure = new_figure(max(1.4 + 0.36 * (end - first), 3.6), 4.0, part="logo")
    upper, lower = figure.subplots(2, 1, sharex=True)
    shaded = max(0, -match.offset)
    for axes, motif, start in ((upper, query, 0), (lower, target, -match.offset)):
        axes.axvspan(shaded + 0.5, shaded + match.overlap + 0.5, color="0.93", linewidth=0, zorder=0)
        draw_logo(axes, motif, start=start)
    upper.set_xlim(first + 0.5, end + 0.5)
    lower.set_xlabel("position in the query")
    upper.set_title(title)
    turned = ", reverse complement" if match.strand == "-" else ""
    lower.set_title(
        f"{_label(match.target)}{turned}\nr = {match.correlation:.2f}, p = {match.p_value:.1g}, q = {match.q_value:.1g}"
    )
    return figure


def draw_logo(axes: "Axes", motif: Motif, *, start: int = 0, small_sample: bool = False) -> None:
    """Draw a logo into axes of yours, without titles.

    Args:
        axes: Where to; position i of the motif is centred on x = start + i + 1.
        motif: The motif.
        start: How many positions to shift it to the right.
        small_sample: See `Motif.information`.
    """
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path
    from matplotlib.ticker import MaxNLocator, MultipleLocator

    outlines = {letter: _outline(letter) for letter in LETTERS}
    bits = motif.information(small_sample=small_sample)
    for i, (row, total) in enumerate(zip(motif.frequencies, bits, strict=True)):
        bottom = 0.0
        for b in np.argsort(row, kind="stable"):
            height = row[b] * total
            if height > 1e-3:  # thinner than any line
                outline = outlines[LETTERS[b]]
                vertices = np.asarray(outline.vertices) * [0.94, height] + [start + i + 0.53, bottom]
                axes.add_patch(
                    PathPatch(Path(vertices, outline.codes), facecolor=COLOURS[LETTERS[b]], linewidth=0, zorder=2)
                )
            bottom += height
    most = float(-np.log2(min(motif.background)))  # 2 bits with a uniform background
    axes.set_xlim(start + 0.5, start + len(motif) + 0.5)
    axes.set_ylim(0, most)
    axes.set_ylabel("information (bits)")
    axes.xaxis.set_major_locator(MultipleLocator(1))
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 5, 10]))
    axes.spines[["top", "right"]].set_visible(False)


def _outline(letter: str) -> "Path":
    """The letter's outline, stretched to the unit square."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.path import Path
    from matplotlib.textpath import TextPath

    path = TextPath((0, 0), letter, size=1, prop=FontProperties(family="DejaVu Sans", weight="bold"))
    box = path.get_extents()
    return Path((path.vertices - box.min) / box.size, path.codes)


def _label(motif: Motif) -> str:
    return " ".join(filter(None, (motif.id, motif.name))) or "motif"
