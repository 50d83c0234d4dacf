r"""Call sites: which peaks of a head's attention are heavy enough, by the peaks that decoys have.

A decoy is a sequence without sites that is otherwise alike: a dinucleotide shuffle. Of the peaks with a weight of at
least t, as many as the decoys have are expected to be false (for as many decoys as sequences), so that

    FDR(t) = #{decoy peaks with weight >= t} / #{peaks with weight >= t},

and a head's threshold is the lowest weight t with FDR(t) <= fdr. No truth is used.

References:
    Elias and Gygi 2007, Nature Methods 4:207 (targets and decoys; there for spectra of peptides).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .extract import HeadMotif
from .peaks import Peaks, span
from .sites import HIGHEST, Site


def decoy_thresholds(peaks: Peaks, decoys: Peaks, fdr: float = 0.05) -> NDArray[np.float64]:
    """The least weight of a site for each head; inf where no weight keeps the decoys out.

    Args:
        peaks: Of the sequences.
        decoys: Of their shuffles; counts are scaled where there are more or fewer.
        fdr: False ones among the called, at most.

    Shapes:
        answer: (H,)

    Raises:
        ValueError: The rate is outside (0, 1), or the heads are not as many.
    """
    if not 0 < fdr < 1:
        raise ValueError(f"fdr: expected 0 < fdr < 1, got {fdr}")
    if peaks.heads != decoys.heads:
        raise ValueError(f"decoys: expected {peaks.heads} heads, got {decoys.heads}")
    scale = len(peaks.logits) / len(decoys.logits)
    pairs = ((peaks.weight[:, head].ravel(), decoys.weight[:, head].ravel()) for head in range(peaks.heads))
    return np.array([_threshold(weight, false, scale, fdr) for weight, false in pairs])


def call_sites(
    heads: Sequence[HeadMotif],
    peaks: Peaks,
    sequences: Sequence[str],
    ids: Sequence[str],
    thresholds: NDArray[np.float64],
) -> list[Site]:
    """Peaks of at least the threshold's weight, as wide as their head's motif, ordered by sequence and start.

    What reaches over an end of its sequence is cut there. The score is 1000 times the weight over the head's largest.

    Args:
        heads: What `extract_motifs` answered; those without a motif call nothing.
        peaks: Where they look in these sequences.
        sequences: The sequences, which need not be those that the motifs come from.
        ids: Of the sequences.
        thresholds: See `decoy_thresholds`.

    Shapes:
        thresholds: (H,)
    """
    found: list[tuple[int, Site]] = []
    for head in heads:
        if head.motif is None:
            continue
        weight = peaks.weight[:, head.head]
        chosen = (weight >= thresholds[head.head]) & (weight > 0)
        for i, k in np.argwhere(chosen).tolist():
            position, strand = int(peaks.position[i, head.head, k]), int(peaks.strand[i, head.head, k])
            start, end = span(position, strand, head.offset, len(head.motif))
            start, end = max(0, start), min(end, len(sequences[i]))
            if start < end:
                score = round(HIGHEST * float(weight[i, k] / weight.max()))
                found.append((i, Site(ids[i], start, end, f"head{head.head}", score, "+-"[strand])))
    return [site for _, site in sorted(found, key=lambda pair: (pair[0], pair[1].start, pair[1].end, pair[1].name))]


def _threshold(targets: NDArray[np.float32], decoys: NDArray[np.float32], scale: float, fdr: float) -> float:
    t = np.sort(targets[targets > 0].astype(np.float64))[::-1]
    d = np.sort(decoys[decoys > 0].astype(np.float64))
    if not len(t):
        return np.inf
    above = len(d) - np.searchsorted(d, t, side="left")  # decoys of at least each weight
    good = scale * above <= fdr * np.arange(1, len(t) + 1)
    return float(t[np.flatnonzero(good)[-1]]) if good.any() else np.inf
