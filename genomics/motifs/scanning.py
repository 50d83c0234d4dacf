r"""Find the sites of a motif in sequences, with exact p-values.

A window x_1 .. x_L scores S = sum_i l_i(x_i) with the motif's log-odds l, rounded to multiples of `step` bits. Of the
rounded score the whole distribution under independent letters of the background follows by dynamic programming,

    P_i(s) = sum_b q_b P_{i-1}(s - l_ib),    P_0(0) = 1,

so that the p-value P(S >= s) of a window is exact: no sampling, no normal approximation.

References:
    Staden, "Methods for calculating the probabilities of finding patterns in sequences", CABIOS 5, 1989. Grant, Bailey,
    Noble, "FIMO: scanning for occurrences of a given motif", Bioinformatics 27, 2011. Pizzi et al., "MOODS: fast search
    for position weight matrix matches in DNA sequences", Bioinformatics 25, 2009.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .matrices import Motif, letter_codes

_LEVELS = 2**22  # the most scores of a motif: with L <= 512, int32 also holds what stands for "never"
_WORD = 4  # positions that one table look-up scores
_CHUNK = 2**16  # windows scored at a time: what fits the processor's cache


@dataclass(frozen=True, eq=False)
class ScoreDistribution:
    """The distribution of a motif's rounded scores under its background.

    Args:
        scores: The log-odds in steps, (L, 4) int64.
        lowest: The lowest score in steps.
        density: density[k] = P(S = lowest + k), for every score up to the highest.
        survival: survival[k] = P(S >= lowest + k).
        step: Bits per step.
    """

    scores: NDArray[np.int64]
    lowest: int
    density: NDArray[np.float64]
    survival: NDArray[np.float64]
    step: float

    @classmethod
    def of(cls, motif: Motif, step: float = 0.001) -> "ScoreDistribution":
        """Round a motif's log-odds and convolve its positions.

        Args:
            motif: A motif whose probabilities are all positive: its pseudocount is, or each of its counts.
            step: Bits to which log-odds are rounded. A score of L positions is off by at most L / 2 steps.

        Raises:
            ValueError: A log-odds of -inf, or a step that is not positive or so small that there would be more
                than 2^22 scores.
        """
        if not step > 0:
            raise ValueError(f"step: expected a positive number of bits, got {step}")
        log_odds = motif.log_odds
        if not np.isfinite(log_odds).all():
            raise ValueError(f"motif: {motif!r} has a count of 0 and no pseudocount; expected a positive pseudocount")
        scores = np.rint(log_odds / step).astype(np.int64)
        shifted = scores - scores.min(1, keepdims=True)
        levels = int(shifted.max(1).sum()) + 1
        if levels > _LEVELS:
            raise ValueError(f"step: expected at most {_LEVELS} scores, got {levels} with step {step:g}")
        density = np.ones(1)
        for row in shifted:
            longer = np.zeros(len(density) + row.max())
            for add, q in zip(row, motif.background, strict=True):
                longer[add : add + len(density)] += q * density
            density = longer
        survival = np.minimum(density[::-1].cumsum()[::-1], 1.0)
        return cls(scores, int(scores.min(1).sum()), density, survival, step)

    def p_values(self, scores: ArrayLike) -> NDArray[np.float64]:
        """P(S >= score), elementwise.

        Args:
            scores: Scores in bits; each is rounded to a whole step.
        """
        return self._p(np.rint(np.asarray(scores, dtype=np.float64) / self.step).astype(np.int64))

    def threshold(self, p: float) -> float:
        """The lowest score in bits whose p-value is at most `p`; inf where even the highest has a larger one.

        Raises:
            ValueError: `p` is not in (0, 1].
        """
        steps = self._threshold(p)
        return np.inf if steps - self.lowest >= len(self.survival) else steps * self.step

    def _p(self, steps: NDArray[np.int64]) -> NDArray[np.float64]:
        k = np.clip(steps - self.lowest, 0, len(self.survival))
        return np.append(self.survival, 0.0)[k]

    def _threshold(self, p: float) -> int:
        if not 0 < p <= 1:
            raise ValueError(f"p: expected 0 < p <= 1, got {p}")
        # Sums of the background round: without this margin p = 4^-L would miss the one word of that probability.
        return self.lowest + int(np.searchsorted(-self.survival, -p * (1 + 1e-9), side="left"))


@dataclass(frozen=True, eq=False)
class Hits:
    """The windows that a scan found, ordered by sequence, start and strand.

    Args:
        sequence: Index of the sequence, from 0.
        start: First base of the window on the given strand of the input, from 0, whatever the strand of the site.
        strand: +1 where the sequence itself reads as the motif, -1 where its reverse complement does.
        score: Log-odds in bits, rounded to the step.
        p_value: P(S >= score) of one window under the background.
        q_value: Its Benjamini-Hochberg value over all windows that were scored, hits or not.
        width: Positions of the motif: a site ends before start + width.
        windows: How many windows were scored, over both strands.

    Shapes:
        all but the last two: (n,)
    """

    sequence: NDArray[np.int64]
    start: NDArray[np.int64]
    strand: NDArray[np.int8]
    score: NDArray[np.float64]
    p_value: NDArray[np.float64]
    q_value: NDArray[np.float64]
    width: int
    windows: int

    def __len__(self) -> int:
        return len(self.start)


def scan(
    motif: Motif,
    sequences: Iterable[str | bytes],
    *,
    p_value: float = 1e-4,
    both_strands: bool = True,
    step: float = 0.001,
) -> Hits:
    """All windows whose p-value is at most `p_value`.

    Windows with a letter other than A, C, G, T (in either case) are not scored. A palindromic site is found on both
    strands. Sequences are taken one by one, in memory that depends on the longest one and the number of hits.

    Args:
        motif: What to look for; its background is the null's.
        sequences: Letters of DNA.
        p_value: The largest p-value of a hit.
        both_strands: Score the reverse complement of each window too, by the same distribution: give the motif a
            background with as much A as T and as much C as G, as the two strands together have.
        step: See `ScoreDistribution.of`.

    Raises:
        ValueError: See `ScoreDistribution`.

    References:
        Benjamini, Hochberg, "Controlling the false discovery rate", J. R. Stat. Soc. B 57, 1995.
    """
    distribution = ScoreDistribution.of(motif, step)
    threshold = distribution._threshold(p_value)
    strands = _strands(distribution, both_strands)
    count = np.zeros(len(distribution.survival), dtype=np.int64)
    found = [np.empty((0, 4), dtype=np.int64)]
    for index, sequence in enumerate(sequences):
        for start, words in _chunks(letter_codes(sequence), len(motif)):
            for strand, scorer in strands:
                scores = scorer(words)
                count += np.bincount(scores[scores >= distribution.lowest] - distribution.lowest, minlength=len(count))
                (hit,) = np.nonzero(scores >= threshold)
                rows = np.empty((len(hit), 4), dtype=np.int64)
                rows[:, 0], rows[:, 1], rows[:, 2], rows[:, 3] = index, hit + start, strand, scores[hit]
                found.append(rows)
    rows = np.concatenate(found)
    rows = rows[np.lexsort((-rows[:, 2], rows[:, 1], rows[:, 0]))]
    p = distribution._p(rows[:, 3])
    q = _q_of_histogram(rows[:, 3] - distribution.lowest, distribution.survival, count)
    score = np.asarray(rows[:, 3] * step, dtype=np.float64)
    return Hits(rows[:, 0], rows[:, 1], rows[:, 2].astype(np.int8), score, p, q, len(motif), int(count.sum()))


def best_scores(
    motif: Motif, sequences: Iterable[str | bytes], *, both_strands: bool = True, step: float = 0.001
) -> NDArray[np.float64]:
    """The highest score of each sequence in bits: the usual baseline of motif classification.

    Args:
        motif: See `scan`, as the other arguments.
        sequences: Letters of DNA.
        both_strands: Score the reverse complement too.
        step: See `ScoreDistribution.of`.

    Shapes:
        answer: (number of sequences,), -inf where no window could be scored
    """
    distribution = ScoreDistribution.of(motif, step)
    strands = _strands(distribution, both_strands)
    best = []
    for sequence in sequences:
        chunks = _chunks(letter_codes(sequence), len(motif))
        highest = max((int(scorer(words).max()) for _, words in chunks for _, scorer in strands), default=None)
        best.append(-np.inf if highest is None or highest < distribution.lowest else highest * step)
    return np.array(best, dtype=np.float64)


def q_values(p_values: ArrayLike) -> NDArray[np.float64]:
    """Benjamini-Hochberg: q_(i) = min over j >= i of p_(j) n / j, with p sorted upwards.

    Args:
        p_values: The p-values of all tests, not of a selection.

    Shapes:
        p_values: (n,)
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p)[::-1]
    q = np.empty(len(p))
    q[order] = np.minimum.accumulate(p[order] * len(p) / np.arange(len(p), 0, -1))
    return np.minimum(q, 1.0)


def _q_of_histogram(wanted: NDArray[np.int64], p: NDArray[np.float64], count: NDArray[np.int64]) -> NDArray[np.float64]:
    """`q_values` of decreasing p-values p[k] that stand count[k] times each, answered at the indices `wanted`."""
    rank = count[::-1].cumsum()[::-1]
    raw = np.where(count > 0, p * count.sum() / np.maximum(rank, 1), np.inf)
    return np.minimum(np.minimum.accumulate(raw)[wanted], 1.0)


def _strands(distribution: ScoreDistribution, both: bool) -> list[tuple[int, "_Scorer"]]:
    strands = [(1, _Scorer(distribution.scores))]
    return [*strands, (-1, _Scorer(distribution.scores[::-1, ::-1]))] if both else strands


class _Scorer:
    """Scores of all windows from their words: one table look-up for `_WORD` positions.

    A window with a letter other than A, C, G, T scores less than any other.
    """

    def __init__(self, scores: NDArray[np.int64]) -> None:
        self.width = len(scores)
        parts = -(-self.width // _WORD)
        never = -(2**30 // parts)
        rows = np.zeros((parts * _WORD, 5), dtype=np.int64)
        rows[: self.width, :4], rows[: self.width, 4] = scores, never
        self.tables = []
        for part in rows.reshape(parts, _WORD, 5):
            table = np.zeros(1, dtype=np.int64)
            for row in part:
                table = (table[:, None] + row).reshape(-1)
            self.tables.append(np.maximum(table, never).astype(np.int32))

    def __call__(self, words: NDArray[np.intp]) -> NDArray[np.int32]:
        """Scores in steps of the windows that start at each place but the last width - 1."""
        n = len(words) - self.width + 1
        total = self.tables[0][words[:n]]
        for i, table in enumerate(self.tables[1:], 1):
            total += table[words[i * _WORD : i * _WORD + n]]
        return total


def _chunks(codes: NDArray[np.uint8], width: int) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """Parts of a sequence: the first window, and at each place the `_WORD` letters from there as a number in base 5."""
    for start in range(0, len(codes) - width + 1, _CHUNK):
        part = codes[start : start + _CHUNK + width - 1]
        padded = np.concatenate([part, np.zeros(_WORD - 1, dtype=np.uint8)]).astype(np.intp)
        words = padded[: len(part)]
        for i in range(1, _WORD):
            words = words * 5 + padded[i : i + len(part)]
        yield start, words
