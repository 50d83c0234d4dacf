r"""Which known motif does a matrix look like: Tomtom's search, with exact null distributions.

A column of the query against a column of a target scores Pearson's correlation of their four frequencies (0 where
either is flat), rounded to `levels` steps. The null hypothesis: each query column meets an independent column drawn
from the database, both strands. Under it the sum over columns a .. b of the query has the distribution

    D_ab = D_a * D_(a+1) * .. * D_b    (convolution; D_i is the histogram of column i against the database),

which is computed in full for every stretch, with no sampling and no fit. An alignment is an offset and a strand; its
score is the sum over the overlap, less the sum of the medians of D_i there: a query column outside of the overlap
counts as a typical match does, and short overlaps do not win (the complete score of Tanaka et al.). The target's
p-value is that of its best alignment among all of them,

    p = 1 - prod_k P(S_k < s),    S_k ~ the null of alignment k,

which takes alignments as independent. They are not, for they share columns; but whatever their dependence, a target
of the null has p <= a with a chance of at most -ln(1 - a) (union bound), so that small p-values hold.

Why correlation: a flat query scores 0 against everything, its null is 0 as well, and p = 1. By Euclidean distance a
flat query would find flat targets significant.

References:
    Gupta et al., "Quantifying similarity between motifs", Genome Biology 8:R24, 2007; their 1 - (1 - p)^n is the same
    for alignments of one null distribution. Tanaka et al., "Improved similarity scores for comparing motifs",
    Bioinformatics 27, 2011.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .matrices import Motif
from .scanning import q_values

_Ints = NDArray[np.int64]


class Match(NamedTuple):
    """A target of a search.

    Args:
        target: The motif of the database, as it is there.
        index: Its index in the database.
        p_value: Chance that a target of the same width has an alignment as good.
        e_value: p times the size of the database: targets as good that are expected by chance.
        q_value: Benjamini-Hochberg's, over the database.
        offset: Query column i meets target column i + offset, of the reverse complement where strand is "-"; Tomtom's
            convention.
        strand: "+", or "-" where the target's reverse complement is the better match.
        overlap: Columns that meet.
        correlation: Pearson's r over the 4 * overlap frequencies that meet; 0 where one side is flat.
    """

    target: Motif
    index: int  # type: ignore[assignment]  # a column's name, not the method of tuples
    p_value: float
    e_value: float
    q_value: float
    offset: int
    strand: str
    overlap: int
    correlation: float


class MotifDatabase:
    """Motifs to search in.

    Args:
        motifs: The targets. Their columns, as they are and complemented, are the null distribution too: give them all,
            not those of interest only.
        min_overlap: Columns that have to meet; fewer where the query or the target has fewer. Below 8 a few informative
            columns align with much that is unrelated.
        both_strands: Try the reverse complement of each target.
        levels: Steps of a column's score between -1 and 1.

    Raises:
        ValueError: No motif, or a number out of range.
    """

    def __init__(
        self, motifs: Sequence[Motif], *, min_overlap: int = 8, both_strands: bool = True, levels: int = 200
    ) -> None:
        if len(motifs) == 0:
            raise ValueError("motifs: expected at least one, got none")
        if min_overlap < 1:
            raise ValueError(f"min_overlap: expected at least 1, got {min_overlap}")
        if levels < 2:
            raise ValueError(f"levels: expected at least 2, got {levels}")
        self.motifs = tuple(motifs)
        self.min_overlap = min_overlap
        self.both_strands = both_strands
        self.levels = levels
        self._widths = np.array([len(motif) for motif in self.motifs])
        # Columns of all targets in one matrix; row t of _columns[strand] lists those of target t, -1 behind its end.
        self._frequencies = [motif.frequencies for motif in self.motifs]
        flat = np.concatenate(self._frequencies)
        self._unit = np.concatenate([_unit(flat), _unit(flat[:, ::-1])])
        first = np.cumsum(self._widths) - self._widths
        place = np.arange(self._widths.max())
        inside = place < self._widths[:, None]
        forward = np.where(inside, first[:, None] + place, -1)
        backward = np.where(inside, len(flat) + first[:, None] + self._widths[:, None] - 1 - place, -1)
        self._columns = [forward, backward] if both_strands else [forward]

    def __len__(self) -> int:
        return len(self.motifs)

    def search(self, query: Motif) -> list[Match]:
        """Compare a motif with every target.

        Args:
            query: The motif. Trim it first (`Motif.trim`): flanks without information cost power.

        Returns:
            One match for each target, best first: by p-value, then correlation, then the order of the database.
        """
        scores = self._scores(query)
        null = _Null(scores, self.levels + 1, int(self._widths.max()))
        best = np.full(len(self), -np.inf)
        chosen = np.zeros((2, len(self)), dtype=np.int64)  # strand, offset
        for strand, columns in enumerate(self._columns):
            for offset, first, last, total in self._alignments(len(query), scores, columns):
                excess = np.where(first < last, total - null.median(first, last), -np.inf)
                better = excess > best
                best[better] = excess[better]
                chosen[0, better], chosen[1, better] = strand, offset
        p = self._p_values(len(query), null, best)
        q = q_values(p)
        matches = []
        for t, motif in enumerate(self.motifs):
            strand, offset = int(chosen[0, t]), int(chosen[1, t])
            start, end = max(0, -offset), min(len(query), len(motif) - offset)
            target = self._frequencies[t][::-1, ::-1] if strand else self._frequencies[t]
            r = correlation(query.frequencies[start:end], target[start + offset : end + offset])
            expected = float(p[t]) * len(self)
            sign = "-" if strand else "+"
            matches.append(Match(motif, t, float(p[t]), expected, float(q[t]), offset, sign, end - start, r))
        return sorted(matches, key=lambda match: (match.p_value, -match.correlation, match.index))

    def _scores(self, query: Motif) -> _Ints:
        """Steps 0 .. levels of each query column against each database column, both strands; (w, columns)."""
        correlation = np.clip(_unit(query.frequencies) @ self._unit.T, -1, 1)
        steps: _Ints = np.rint((correlation + 1) / 2 * self.levels).astype(np.int64)
        return steps if self.both_strands else steps[:, : steps.shape[1] // 2]

    def _alignments(self, width: int, scores: _Ints, columns: _Ints) -> Iterator[tuple[int, _Ints, _Ints, _Ints]]:
        """For each offset: the query columns [first, last) of the overlap and their summed scores, for all targets.

        first = last = 0 where too few columns meet.
        """
        padded = np.concatenate([scores, np.zeros((len(scores), 1), dtype=scores.dtype)], axis=1)  # what -1 finds
        by_target = padded[:, columns]  # (w, targets, widest)
        needed = np.minimum(self.min_overlap, np.minimum(width, self._widths))
        widest = columns.shape[1]
        for offset in range(1 - width, widest):
            first, last = self._stretch(width, offset, needed)
            if (first < last).any():
                rows = np.arange(max(0, -offset), min(width, widest - offset))
                yield offset, first, last, by_target[rows, :, rows + offset].sum(0)

    def _stretch(self, width: int, offset: int, needed: _Ints) -> tuple[_Ints, _Ints]:
        """The query columns [first, last) that meet each target at an offset; first = last = 0 where too few do."""
        last = np.minimum(width, self._widths - offset)
        valid = last - max(0, -offset) >= needed
        return np.where(valid, max(0, -offset), 0), np.where(valid, last, 0)

    def _p_values(self, width: int, null: "_Null", best: NDArray[np.float64]) -> NDArray[np.float64]:
        """1 - prod over alignments of P(S < best): the same alignments on both strands, each with its own null."""
        needed = np.minimum(self.min_overlap, np.minimum(width, self._widths))
        log_none = np.zeros(len(self))
        for offset in range(1 - width, int(self._widths.max())):
            first, last = self._stretch(width, offset, needed)
            use = first < last
            if use.any():
                tail = null.survival(first[use], last[use], best[use])
                with np.errstate(divide="ignore"):
                    log_none[use] += np.log1p(-tail)
        return -np.expm1(log_none * len(self._columns))


class _Null:
    """Exact distributions of the sums over each stretch [first, last) of the query's columns.

    Args:
        scores: 0 .. size - 1, one row per query column.
        size: How many values a score can take.
        longest: Columns of the longest stretch that is asked for.
    """

    def __init__(self, scores: _Ints, size: int, longest: int) -> None:
        width = len(scores)
        density = [np.bincount(row, minlength=size) / scores.shape[1] for row in scores]
        medians = np.array([int(np.searchsorted(d.cumsum(), 0.5 - 1e-12)) for d in density])
        self._medians = np.concatenate([[0], medians.cumsum()])
        self._start = np.zeros((width, width + 1), dtype=np.int64)
        self._length = np.zeros((width, width + 1), dtype=np.int64)
        tables, n = [], 0
        for first in range(width):
            summed = np.ones(1)
            for last in range(first + 1, min(width, first + longest) + 1):
                summed = np.convolve(summed, density[last - 1])
                table = np.append(np.minimum(summed[::-1].cumsum()[::-1], 1.0), 0.0)
                self._start[first, last], self._length[first, last] = n, len(table)
                tables.append(table)
                n += len(table)
        self._tables = np.concatenate(tables)

    def median(self, first: _Ints, last: _Ints) -> _Ints:
        """Summed medians of the columns first .. last - 1."""
        total: _Ints = self._medians[last] - self._medians[first]
        return total

    def survival(self, first: _Ints, last: _Ints, excess: NDArray[np.float64]) -> NDArray[np.float64]:
        """P(sum - summed medians >= excess)."""
        score = np.rint(excess).astype(np.int64) + self.median(first, last)
        index = np.clip(score, 0, self._length[first, last] - 1)
        chance: NDArray[np.float64] = self._tables[self._start[first, last] + index]
        return chance


def _unit(frequencies: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows less their mean, at length 1: their products are correlations. Flat rows become 0."""
    centred = frequencies - frequencies.mean(1, keepdims=True)
    norm = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.where(norm > 1e-9, centred / np.where(norm > 1e-9, norm, 1), 0.0)


def correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Pearson's r of all frequencies of two aligned stretches (columns, 4); 0 where one is flat."""
    return float((_unit(a.reshape(1, -1)) * _unit(b.reshape(1, -1))).sum())
