r"""Call sites: which peaks of a head's attention are sites, by the peaks that decoys have.

A peak is a candidate where its letters fit the head's motif better than the background: log-odds s > 0 at the place
where the motif stands beside the peak (of a head with several parts, the best part's). A decoy is a sequence without
sites that is otherwise alike: a dinucleotide shuffle. Of the candidates with log-odds of at least t, as many as the
decoys have are expected to be false (for as many decoys as sequences), so that

    FDR(t) = #{candidates of decoys with s >= t} / #{candidates with s >= t},

and a motif's threshold is the lowest t with FDR(t) <= fdr. No truth and no known motif is used. Of candidates that
share more than half, of any head, the one with the highest log-odds is the site.

`sites_of_model` calls by letters alone, on every base: what a `SiteModel` holds for likely.

References:
    Elias and Gygi 2007, Nature Methods 4:207 (targets and decoys; there for spectra of peptides).
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ..motifs.matrices import letter_codes
from ..motifs.site_model import SiteModel, posteriors
from ..sequences.alphabet import reverse_complement
from .extract import HeadMotif
from .peaks import Peaks, span
from .records import HIGHEST, Site


class Candidate(NamedTuple):
    """A peak that may be a site.

    Args:
        motif: Which of the heads' motifs, its place in the list.
        sequence: Index of the sequence.
        start: First base, cut at the ends of the sequence.
        end: One past the last.
        strand: 0, or 1 for the reverse complement.
        log_odds: Of its letters, in bits; letters beyond the ends count 0.
    """

    motif: int
    sequence: int
    start: int
    end: int
    strand: int
    log_odds: float


def candidates(heads: Sequence[HeadMotif], peaks: Peaks, sequences: Sequence[str]) -> list[Candidate]:
    """Peaks that add to the logit and whose letters fit a motif of their head, with the motif that they fit best.

    Args:
        heads: What `extract_motifs` answered; those without a motif have none.
        peaks: Where they look in these sequences.
        sequences: The sequences, which need not be those that the motifs come from.
    """
    of_head: dict[int, list[int]] = defaultdict(list)
    tables = []
    for number, head in enumerate(heads):
        tables.append(None if head.motif is None else np.append(head.motif.log_odds, np.zeros((len(head.motif), 1)), 1))
        if head.motif is not None:
            of_head[head.head].append(number)
    found = []
    for number, some in of_head.items():
        for i, k in np.argwhere(peaks.weight[:, number] > 0).tolist():
            position, strand = int(peaks.position[i, number, k]), int(peaks.strand[i, number, k])
            scored = [_candidate(n, heads[n], tables[n], i, sequences[i], position, strand) for n in some]
            best = max(scored, key=lambda candidate: candidate.log_odds)
            if best.log_odds > 0 and best.start < best.end:
                found.append(best)
    return found


def threshold(scores: ArrayLike, decoys: ArrayLike, scale: float, fdr: float) -> float:
    """The lowest score t with scale * #{decoys >= t} <= fdr * #{scores >= t}; inf where there is none.

    Args:
        scores: Of the candidates.
        decoys: Of the decoys' candidates.
        scale: Sequences over decoys.
        fdr: False ones among the called, at most.
    """
    t, d = np.sort(np.asarray(scores, dtype=np.float64))[::-1], np.sort(np.asarray(decoys, dtype=np.float64))
    false = scale * (len(d) - np.searchsorted(d, t, side="left"))
    good = np.flatnonzero(false <= fdr * np.arange(1, len(t) + 1))
    return float(t[good[-1]]) if len(good) else np.inf


def call_sites(
    heads: Sequence[HeadMotif],
    peaks: Peaks,
    sequences: Sequence[str],
    ids: Sequence[str],
    decoy_peaks: Peaks,
    decoys: Sequence[str],
    *,
    fdr: float = 0.05,
) -> list[Site]:
    """The candidates of each motif that its decoys leave, ordered by sequence and start.

    The score is 1000 times the log-odds over the motif's largest.

    Args:
        heads: What `extract_motifs` answered.
        peaks: Where they look in the sequences.
        sequences: The sequences.
        ids: Of the sequences.
        decoy_peaks: Where they look in the decoys.
        decoys: Shuffles of the sequences, one or more of each.
        fdr: False ones among the called, at most.

    Raises:
        ValueError: The rate is outside (0, 1), or there are no decoys.
    """
    if not 0 < fdr < 1:
        raise ValueError(f"fdr: expected 0 < fdr < 1, got {fdr}")
    if not len(decoys):
        raise ValueError("decoys: expected at least one, got none")
    true, false = candidates(heads, peaks, sequences), candidates(heads, decoy_peaks, decoys)
    least, most = {}, {}
    for number in {candidate.motif for candidate in true}:
        own, other = ([c.log_odds for c in some if c.motif == number] for some in (true, false))
        least[number], most[number] = threshold(own, other, len(sequences) / len(decoys), fdr), max(own)
    kept: dict[int, list[Candidate]] = defaultdict(list)
    for candidate in sorted(true, key=lambda c: -c.log_odds):
        rivals = kept[candidate.sequence]
        if candidate.log_odds >= least[candidate.motif] and not any(_same(candidate, other) for other in rivals):
            rivals.append(candidate)
    sites = []
    for i in sorted(kept):
        for c in sorted(kept[i], key=lambda c: (c.start, c.end)):
            score = round(HIGHEST * c.log_odds / most[c.motif])
            sites.append(Site(ids[i], c.start, c.end, heads[c.motif].name, score, "+-"[c.strand]))
    return sites


def sites_of_model(
    model: SiteModel, sequences: Sequence[str], ids: Sequence[str], names: Sequence[str], *, least: float = 0.5
) -> list[Site]:
    """Stretches whose bases belong to a site, of whichever motif, with a mean chance of at least `least`.

    Motifs that are alike and places one base apart share a chance, so that it is the chance of a base that counts. Of
    stretches that share more than half, the one whose own site is the likeliest is called. The score is 1000 times the
    mean chance.

    Args:
        model: Motifs, rates and background, such as `refine` fits.
        sequences: The sequences.
        ids: Of the sequences.
        names: Of the motifs.
        least: The mean chance of a base.

    Returns:
        Sites ordered by sequence and start.

    Raises:
        ValueError: `least` is outside (0, 1), or names and motifs differ in number.
    """
    if not 0 < least < 1:
        raise ValueError(f"least: expected 0 < least < 1, got {least}")
    if len(names) != len(model.motifs):
        raise ValueError(f"names: expected {len(model.motifs)}, got {len(names)}")
    found = []
    for part in posteriors(model, sequences):
        summed = np.pad(part.coverage(model.widths).cumsum(1), ((0, 0), (1, 0)))
        kept: dict[int, list[tuple[float, Candidate]]] = defaultdict(list)
        either = part.sites.sum(2)  # (n, M, L)
        places = np.argwhere(either > least / 10)
        for i, m, start in places[np.argsort(-either[tuple(places.T)], kind="stable")].tolist():
            end = start + len(model.motifs[m])
            chance = (summed[i, end] - summed[i, start]) / (end - start)
            strand = int(part.sites[i, m, :, start].argmax())
            candidate = Candidate(m, part.first + i, start, end, strand, float(np.log2(either[i, m, start])))
            if chance >= least and not any(_same(candidate, other) for _, other in kept[i]):
                kept[i].append((chance, candidate))
        for i in sorted(kept):
            for chance, c in sorted(kept[i], key=lambda item: item[1].start):
                score = min(round(HIGHEST * chance), HIGHEST)
                found.append(Site(ids[c.sequence], c.start, c.end, names[c.motif], score, "+-"[c.strand]))
    return found


def _candidate(
    number: int, head: HeadMotif, table: np.ndarray | None, i: int, sequence: str, position: int, strand: int
) -> Candidate:
    assert table is not None
    start, end = span(position, strand, head.offset, len(table))
    letters = "N" * max(0, -start) + sequence[max(0, start) : max(0, end)]
    letters = letters.ljust(len(table), "N")[: len(table)]
    codes = letter_codes(reverse_complement(letters) if strand else letters)
    log_odds = float(table[np.arange(len(table)), codes].sum())
    return Candidate(number, i, max(0, start), min(end, len(sequence)), strand, log_odds)


def _same(a: Candidate, b: Candidate) -> bool:
    common = min(a.end, b.end) - max(a.start, b.start)
    return 2 * common > min(a.end - a.start, b.end - b.start)
