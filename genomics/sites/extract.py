"""From the heads of a trained detector to motifs: what stands where a head looks, as a matrix.

The windows round a head's peaks of largest weight (`genomics.sites.peaks`), each read on the strand that the head read,
are counted column by column as they stand: nothing is realigned, and no motif is known to any step before the search in
a database. A head may stand at a constant distance from its motif, for sites are aligned by the head; the windows have
to be wide enough for it.

Three controls go the same way. `random_control` draws as many windows from the same sequences at random. The others are
models, one that was not trained and one trained on shuffled labels, each given to `extract_motifs` like any other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..motifs.comparing import Match, MotifDatabase
from ..motifs.matrices import Motif
from ..motifs.mixture import part_windows
from .peaks import Peaks, Window, best_windows, find_peaks, letters_of, span
from .records import HIGHEST, Site


@dataclass(frozen=True)
class Recipe:
    """How windows become a motif.

    Args:
        flank: Bases on each side of a peak.
        most: Windows of largest weight that are counted; a stretch that two peaks share counts once.
        fewest: A head with fewer windows has no motif: of a handful of sites every column looks informative.
        bits: Flanking columns with less information than this are dropped.
        min_width: Columns that are left all the same, for a search that asks for as many to meet.
        matches: The best ones in the database that are kept.
        parts: A head may read several motifs: its windows are parted into so many sets at most
            (`genomics.motifs.mixture`), each counted for itself. 1 counts all windows of a head together.
        seed: Of the starts of that mixture.

    Raises:
        ValueError: A number out of range.
    """

    flank: int = 9
    most: int = 150
    fewest: int = 20
    bits: float = 0.3
    min_width: int = 8
    matches: int = 5
    parts: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (
            ("flank", 0),
            ("most", 1),
            ("fewest", 1),
            ("bits", 0),
            ("min_width", 1),
            ("matches", 1),
            ("parts", 1),
        ):
            if not getattr(self, name) >= least:
                raise ValueError(f"{name}: expected at least {least}, got {getattr(self, name)}")


DEFAULT = Recipe()
"""Windows of 19 bases, the best 150."""


@dataclass(frozen=True, eq=False)
class HeadMotif:
    """What one head reads.

    Args:
        head: Its number, from 0.
        windows: Its windows, by falling weight.
        aligned: The windows counted column by column; None where there is no window.
        motif: `aligned` without its flanks; None where windows are too few or no column has enough information.
        start: First column of `aligned` that `motif` has.
        matches: The best matches of `motif` in the database, best first; none without a motif or a database.
        part: Number of the set of windows, from 0, where a head has several; else None.
    """

    head: int
    windows: tuple[Window, ...]
    aligned: Motif | None
    motif: Motif | None
    start: int
    matches: tuple[Match, ...] = ()
    part: int | None = None

    @property
    def name(self) -> str:
        """As in "head3"; where the head has several parts "head3a", "head3b", ..."""
        return f"head{self.head}" + ("" if self.part is None else chr(ord("a") + self.part))

    @property
    def information(self) -> float:
        """Bits of `motif` in all, less what so few sites have by chance; 0 where there is none."""
        return 0.0 if self.motif is None else float(self.motif.information(small_sample=True).sum())

    @property
    def offset(self) -> int:
        """Bases from the peak to the first position of `motif`, in the direction of reading."""
        return self.start - (0 if self.aligned is None else len(self.aligned) // 2)

    def sites(self, ids: Sequence[str]) -> list[Site]:
        """The part of each window that `motif` covers, in the order of the windows; none without a motif.

        The score is 1000 times the weight over the largest weight.

        Args:
            ids: Of the sequences.
        """
        if self.motif is None:
            return []
        sites = []
        for window in self.windows:
            start, end = span(window.position, window.strand, self.offset, len(self.motif))
            score = round(HIGHEST * window.weight / self.windows[0].weight)
            sites.append(Site(ids[window.sequence], start, end, self.name, score, "+-"[window.strand]))
        return sites


def extract_motifs(
    model: Any,
    sequences: Sequence[str],
    *,
    peaks: Peaks | None = None,
    database: MotifDatabase | None = None,
    recipe: Recipe = DEFAULT,
    batch_size: int = 256,
) -> list[HeadMotif]:
    """What each head reads: windows round its peaks, their matrix, and the known motifs that it is like.

    Args:
        model: A `MotifDetector`, or whatever has its `look`.
        sequences: Sequences of the class to explain, such as a thousand bound ones. None of them needs a label.
        peaks: What `find_peaks` answered for the same sequences, where it is there already.
        database: Motifs to compare with; None compares with none.
        recipe: How windows become a motif.
        batch_size: Sequences at a time.

    Returns:
        One for each head in their order; with `recipe.parts`, one for each part of at least `recipe.fewest` windows.

    Raises:
        ValueError: What `find_peaks` raises.
    """
    if peaks is None:
        peaks = find_peaks(model, sequences, batch_size=batch_size)
    found = []
    for head in range(peaks.heads):
        windows = best_windows(peaks, sequences, head, flank=recipe.flank, most=recipe.most)
        for part, some in _parted(windows, recipe):
            found.append(motif_of_windows(head, some, part=part, database=database, recipe=recipe))
    return found


def random_control(
    sequences: Sequence[str],
    heads: Sequence[HeadMotif],
    generator: np.random.Generator,
    *,
    database: MotifDatabase | None = None,
    recipe: Recipe = DEFAULT,
) -> list[HeadMotif]:
    """The same with windows at random: as many from each sequence as a head took, any place, either strand.

    Args:
        sequences: What the heads looked at.
        heads: What `extract_motifs` answered.
        generator: Of the places.
        database: Motifs to compare with.
        recipe: What `extract_motifs` went by.
    """
    of_head: dict[int, list[Window]] = {}
    for head in heads:
        of_head.setdefault(head.head, []).extend(head.windows)
    answer = []
    for number, taken in of_head.items():
        windows = []
        for window in taken:
            sequence, flank = sequences[window.sequence], len(window.letters) // 2
            position, strand = int(generator.integers(flank, len(sequence) - flank)), int(generator.integers(2))
            letters = letters_of(sequence, position, strand, flank)
            windows.append(window._replace(position=position, strand=strand, letters=letters))
        for part, some in _parted(windows, recipe):
            answer.append(motif_of_windows(number, some, part=part, database=database, recipe=recipe))
    return answer


def motif_of_windows(
    head: int,
    windows: Sequence[Window],
    *,
    part: int | None = None,
    database: MotifDatabase | None = None,
    recipe: Recipe = DEFAULT,
) -> HeadMotif:
    """Count windows, drop flanks and search.

    Args:
        head: Number of the head.
        windows: Its windows, all of one width, by falling weight.
        part: Which part of a head's windows they are.
        database: Motifs to compare with.
        recipe: What to count and to drop.
    """
    if not windows:
        return HeadMotif(head, (), None, None, 0, part=part)
    aligned = Motif.from_sites([window.letters for window in windows], id=f"head{head}")
    information = aligned.information()
    if len(windows) < recipe.fewest or not (information >= recipe.bits).any():
        return HeadMotif(head, tuple(windows), aligned, None, 0, part=part)
    start, end = trimmed(information, recipe.bits, recipe.min_width)
    motif = Motif(aligned.counts[start:end], id=f"head{head}")
    matches = database.search(motif)[: recipe.matches] if database is not None else []
    return HeadMotif(head, tuple(windows), aligned, motif, start, tuple(matches), part)


def _parted(windows: list[Window], recipe: Recipe) -> list[tuple[int | None, list[Window]]]:
    """The windows of each part with enough of them; all of them where there is one part, or none has enough."""
    if recipe.parts == 1 or len(windows) < 2 * recipe.fewest:
        return [(None, windows)]
    labels = part_windows([w.letters for w in windows], recipe.parts, np.random.default_rng(recipe.seed))
    parts = [[w for w, k in zip(windows, labels, strict=True) if k == part] for part in range(labels.max() + 1)]
    parts = [part for part in parts if len(part) >= recipe.fewest]
    return list(enumerate(parts)) if len(parts) > 1 else [(None, windows)]


def trimmed(information: NDArray[np.float64], bits: float, min_width: int) -> tuple[int, int]:
    """First and last column (exclusive) that are left: from the first to the last one of at least `bits` bits.

    Where those are fewer than `min_width`, the better one of the two neighbouring columns is added until they are as
    many (or no more are there).

    Args:
        information: Bits of each column.
        bits: The threshold; at least one column reaches it.
        min_width: Columns at least.
    """
    kept = np.flatnonzero(information >= bits)
    start, end = int(kept[0]), int(kept[-1]) + 1
    while end - start < min(min_width, len(information)):
        before = information[start - 1] if start > 0 else -1.0
        behind = information[end] if end < len(information) else -1.0
        start, end = (start - 1, end) if before >= behind else (start, end + 1)
    return start, end
