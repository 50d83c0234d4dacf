r"""Refine motifs on all bases of unlabelled sequences: expectation maximisation from what heads found.

A head's windows are its best ones, aligned by the head and cut to a flank. From those matrices a `SiteModel` is fitted:
the E-step asks for the chance gamma of a site at every base, the M-step counts letters with it,

.. math:: n_{mia} = \sum_{s,l} \gamma_{msl}\, [x_{l+i} = a], \qquad
          \lambda_m = \frac{\sum \gamma_m}{\text{letters of background} + \text{sites}}

(on strand 1 the complement, counted from the site's end). No motif is known to it: this is what MEME and its kin do
from starts of their own, and here the heads are the start. On the way

- a column beside a motif joins it, and one at its end leaves it, by whether its letters differ both from the
  background's and from what the background puts beside the neighbouring column (likelihood ratio, `alpha`);
- of motifs that are alike (r >= `alike` over most of the shorter one) the one with fewer sites goes, and after that
  each whose loss costs less log-likelihood than its parameters are worth, (3 w + 1) / 2 ln n (BIC, n its expected
  sites).

References:
    Bailey and Elkan 1994, ISMB 2:28 (MEME). Schwarz 1978, Annals of Statistics 6:461 (BIC).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from ..motifs.comparing import Match, MotifDatabase, correlation
from ..motifs.matrices import Motif
from ..motifs.site_model import (
    SiteModel,
    background_chain,
    decode,
    lengths_of,
    log_ratios,
    padded_codes,
    posteriors,
)
from .extract import HeadMotif


@dataclass(frozen=True)
class Refinement:
    """How motifs are refined.

    Args:
        bits: A head's motif with less information in all is not a start.
        steps: Of expectation maximisation, before and again after motifs are dropped.
        alike: Pearson's r from which two motifs are one.
        alpha: Level of the test that adds and drops columns.
        widest: Columns of a motif, at most.
        narrowest: Columns of a motif, at least.
        sites: A motif with fewer expected sites goes.
        rate: All motifs' rates together at the start: sites per base.
        judged: Sequences that decide which motifs are needed, the first ones.

    Raises:
        ValueError: A number out of range.
    """

    bits: float = 8.0
    steps: int = 9
    alike: float = 0.985
    alpha: float = 1e-3
    widest: int = 31
    narrowest: int = 6
    sites: float = 20.0
    rate: float = 0.015
    judged: int = 3000

    def __post_init__(self) -> None:
        if self.steps < 1 or not 1 <= self.narrowest <= self.widest:
            raise ValueError(
                f"steps, narrowest, widest: expected at least 1 step and 1 <= narrowest <= widest, got {self.steps}, "
                f"{self.narrowest}, {self.widest}"
            )
        for name, value in (("alpha", self.alpha), ("rate", self.rate), ("alike", self.alike)):
            if not 0 < value < 1:
                raise ValueError(f"{name}: expected a number in (0, 1), got {value}")


DEFAULT = Refinement()
"""Nine steps, twice."""


@dataclass(frozen=True, eq=False)
class RefinedMotif:
    """What a head's motif became.

    Args:
        name: Of the head that it started from: "head3", "head3a".
        motif: Expected counts of the letters of its sites.
        rate: Sites per base of background.
        matches: In a database, best first.
    """

    name: str
    motif: Motif
    rate: float
    matches: tuple[Match, ...] = ()


@dataclass(frozen=True, eq=False)
class Refined:
    """Refined motifs, and the model they are part of.

    Args:
        motifs: By falling rate.
        model: The same motifs in the same order, with the background.
        log_likelihood: Nats by which the model beats the background alone, per sequence, before the last step.
    """

    motifs: tuple[RefinedMotif, ...]
    model: SiteModel
    log_likelihood: float = 0.0


def refine(
    heads: Sequence[HeadMotif],
    sequences: Sequence[str],
    *,
    database: MotifDatabase | None = None,
    recipe: Refinement = DEFAULT,
    matches: int = 5,
) -> Refined | None:
    """Fit motifs to sequences, from those of heads.

    Args:
        heads: What `extract_motifs` answered; those without a motif, or with a faint one, are no start.
        sequences: Sequences with sites, such as a few thousand of the training part.
        database: Motifs to compare the refined ones with.
        recipe: See `Refinement`.
        matches: The best ones in the database that are kept.

    Returns:
        None where no head has a motif to start from, or none is left.
    """
    starts = [(head.name, head.motif) for head in heads if head.motif is not None and head.information >= recipe.bits]
    if not starts:
        return None
    names, motifs = [name for name, _ in starts], [motif for _, motif in starts]
    weights = [motif.sites * float(motif.information().sum()) for motif in motifs]
    kept = distinct(motifs, weights, recipe.alike)
    names, motifs = [names[k] for k in kept], [motifs[k] for k in kept]
    rates = np.full(len(motifs), min(recipe.rate, 0.5) / len(motifs))
    model = SiteModel(tuple(motifs), rates, background_chain(sequences))
    for again in (False, True):
        for step in range(recipe.steps):
            model, expected, log_likelihood = _step(model, sequences, recipe, resize=step % 3 == 2)
        if again:
            break
        kept = [k for k in distinct(model.motifs, expected.tolist(), recipe.alike) if expected[k] >= recipe.sites]
        if not kept:
            return None
        names, model = [names[k] for k in kept], _only(model, kept)
        kept = needed(model, sequences[: recipe.judged])
        names, model = [names[k] for k in kept], _only(model, kept)
    order = np.argsort(-model.rates, kind="stable").tolist()
    model = _only(model, order)
    found = []
    for k, motif, rate in zip(order, model.motifs, model.rates.tolist(), strict=True):
        hits = () if database is None else tuple(database.search(motif)[:matches])
        found.append(RefinedMotif(names[k], replace(motif, id=names[k]), rate, hits))
    return Refined(tuple(found), model, log_likelihood / len(sequences))


def distinct(motifs: Sequence[Motif], weights: Sequence[float], alike: float) -> list[int]:
    """Which motifs are left when of those that are alike the lighter goes; in their order.

    Alike: Pearson's r of at least `alike` over at least four fifths of the shorter one.

    Args:
        motifs: Motifs.
        weights: Of each.
        alike: The least r.
    """
    kept: list[int] = []
    for k in np.argsort(-np.asarray(weights), kind="stable").tolist():
        if kept:
            best = max(_likeness(motifs[k], motifs[other]) for other in kept)
            if best >= alike:
                continue
        kept.append(k)
    return sorted(kept)


def needed(model: SiteModel, sequences: Sequence[str]) -> list[int]:
    """Which motifs are worth their parameters (BIC): the one that costs least to lose goes first.

    The three that seem the cheapest are tried with the rates of the others fitted again.

    Args:
        model: Motifs with rates.
        sequences: Sequences with sites.
    """
    codes, lengths = padded_codes(sequences), lengths_of(sequences)
    ratios, widths, rates = log_ratios(model, codes, lengths), model.widths, model.rates.copy()
    bases, kept = int(lengths.sum()), list(range(len(widths)))
    penalty = (3 * widths + 1) / 2 * np.log(np.maximum(rates * bases, 2))
    whole, rates = _refitted(ratios, widths, rates, bases)
    while len(kept) > 1:
        rough = []
        for k in kept:
            others = [other for other in kept if other != k]
            value = float(decode(ratios[:, others], widths[others], rates[others], sites=False)[1].sum())
            rough.append((whole - value - penalty[k], k))
        without = []
        for _, k in sorted(rough)[:3]:
            others = [other for other in kept if other != k]
            value, some = _refitted(ratios[:, others], widths[others], rates[others], bases)
            without.append((whole - value - penalty[k], k, value, some))
        excess, k, value, some = min(without, key=lambda item: item[:2])
        if excess > 0:
            break
        kept.remove(k)
        whole, rates[kept] = value, some
    return kept


def resized(
    counts: NDArray[np.float64], first: int, last: int, model: SiteModel, recipe: Refinement
) -> tuple[int, int]:
    """Which columns a motif has from now on: [first, last), moved by what stands at its ends and beside them.

    A column beside the motif joins where its letters differ from the background's and from what the chain puts beside
    the neighbour (likelihood ratio, chi-squared with 3 degrees of freedom); one at the end that does not differ leaves.

    Args:
        counts: Expected letters from some columns before the motif to some behind it.
        first: The motif's first column.
        last: One past its last.
        model: For its background.
        recipe: Level and widths.

    Shapes:
        counts: (w + more, 4)
    """
    forth = model.transitions
    back = (forth * model.letters[:, None]).T
    back = back / back.sum(1, keepdims=True)
    limit = chi2.isf(recipe.alpha, 3)

    def tells(column: int, neighbour: int, chain: NDArray[np.float64]) -> bool:
        n = counts[column]
        some = n > 0
        observed = n[some] * np.log(n[some] / n.sum())
        chained = counts[neighbour] / counts[neighbour].sum() @ chain
        return all(
            2 * (observed - n[some] * np.log(expected[some])).sum() > limit for expected in (chained, model.letters)
        )

    start, end = first, last
    while start > 0 and end - start < recipe.widest and tells(start - 1, start, back):
        start -= 1
    while end < len(counts) and end - start < recipe.widest and tells(end, end - 1, forth):
        end += 1
    while start >= first and end - start > recipe.narrowest and not tells(start, start + 1, back):
        start += 1
    while end <= last and end - start > recipe.narrowest and not tells(end - 1, end - 2, forth):
        end -= 1
    return start, end


def _step(
    model: SiteModel, sequences: Sequence[str], recipe: Refinement, *, resize: bool, more: int = 3
) -> tuple[SiteModel, NDArray[np.float64], float]:
    """One step of expectation maximisation: the model, its expected sites, the log-likelihood before it."""
    widths = model.widths
    counts = [np.zeros((width + 2 * more, 4)) for width in widths]
    expected, log_likelihood = np.zeros(len(widths)), 0.0
    for part in posteriors(model, sequences):
        log_likelihood += float(part.log_odds.sum())
        expected += part.sites.sum((0, 2, 3))
        for m, width in enumerate(widths.tolist()):
            _count(counts[m], part.codes, part.sites[:, m], width, more)
    motifs = []
    for motif, some, width in zip(model.motifs, counts, widths.tolist(), strict=True):
        some = some + model.letters * 1e-3  # a column that no site has
        start, end = resized(some, more, more + width, model, recipe) if resize else (more, more + width)
        motifs.append(Motif(some[start:end], motif.name, motif.id, pseudocount=motif.pseudocount))
    rates = _rates(expected, widths, int(lengths_of(sequences).sum()))
    return SiteModel(tuple(motifs), rates, model.transitions), expected, log_likelihood


def _count(
    counts: NDArray[np.float64], codes: NDArray[np.int64], sites: NDArray[np.float64], width: int, more: int
) -> None:
    """Add the letters of sites (n, 2, L) and of `more` columns beside them to `counts`."""
    L = codes.shape[1]
    for strand in (0, 1):
        row, start = np.nonzero(sites[:, strand] > 1e-4)
        weight = sites[row, strand, start]
        for column in range(-more, width + more):
            place = start + column
            inside = (place >= 0) & (place < L)
            letter = codes[row[inside], place[inside]]
            of_letter = np.bincount(letter, weight[inside], 5)[:4]
            if strand:
                counts[width - 1 - column + more] += of_letter[::-1]
            else:
                counts[column + more] += of_letter


def _rates(expected: NDArray[np.float64], widths: NDArray[np.int64], bases: int) -> NDArray[np.float64]:
    """lambda: sites over the places where one could have started."""
    return np.maximum(expected, 1e-6) / max(bases - float((expected * (widths - 1)).sum()), 1.0)


def _refitted(
    ratios: NDArray[np.float64], widths: NDArray[np.int64], rates: NDArray[np.float64], bases: int
) -> tuple[float, NDArray[np.float64]]:
    """Log-likelihood after one step on the rates alone, and the rates."""
    sites, _ = decode(ratios, widths, rates)
    rates = _rates(sites.sum((0, 2, 3)), widths, bases)
    return float(decode(ratios, widths, rates, sites=False)[1].sum()), rates


def _only(model: SiteModel, kept: Sequence[int]) -> SiteModel:
    return SiteModel(tuple(model.motifs[k] for k in kept), model.rates[list(kept)], model.transitions)


def _likeness(a: Motif, b: Motif) -> float:
    """The largest r of the two over at least four fifths of the shorter one, either strand."""
    shorter, longer = sorted((a.frequencies, b.frequencies), key=len)
    least, best = -(-4 * len(shorter) // 5), -1.0
    for other in (longer, longer[::-1, ::-1]):
        for offset in range(least - len(shorter), len(longer) - least + 1):
            first, last = max(0, -offset), min(len(shorter), len(longer) - offset)
            best = max(best, correlation(shorter[first:last], other[first + offset : last + offset]))
    return best
