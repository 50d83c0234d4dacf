r"""Part aligned windows that show several motifs: a mixture of matrices, without moving any window.

A window x_1 .. x_w comes from part k with probability pi_k and then has independent letters,

.. math:: P(x) = \sum_k \pi_k \prod_{i=1}^{w} \theta_{k i x_i},

fitted by expectation maximisation from several starts, with one letter of the background (`prior` in all) added to each
column. The number of parts is the one with the least BIC, -2 log L + (3 w K + K - 1) log n. Letters other than A, C, G
and T say nothing.

References:
    Dempster, Laird, Rubin, "Maximum likelihood from incomplete data via the EM algorithm", J. R. Stat. Soc. B 39, 1977.
    Schwarz, "Estimating the dimension of a model", Annals of Statistics 6, 1978. Bailey, Elkan, ISMB 1994 (mixtures of
    motifs and background; there over all positions of a sequence).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .matrices import letter_codes


def part_windows(
    windows: Sequence[str], most: int, generator: np.random.Generator, *, starts: int = 4, prior: float = 1.0
) -> NDArray[np.int64]:
    """The part of each window; parts are numbered by falling size.

    Args:
        windows: Letters of one length.
        most: Parts, at most.
        generator: Of the starts.
        starts: For each number of parts; the most likely fit counts.
        prior: Windows of the uniform background that are added to each column of each part.

    Shapes:
        answer: (n,)

    Raises:
        ValueError: Windows of several lengths, or a number out of range.
    """
    if most < 1 or starts < 1 or not prior > 0:
        raise ValueError(f"most, starts, prior: expected at least 1, 1 and above 0, got {most}, {starts}, {prior}")
    lengths = {len(window) for window in windows}
    if len(lengths) != 1:
        raise ValueError(f"windows: expected at least one, all of one length, got lengths {sorted(lengths)}")
    codes = np.stack([letter_codes(window) for window in windows])
    x = (codes[:, :, None] == np.arange(4)).astype(np.float32)  # (n, w, 4)
    n, w = codes.shape
    best, least = np.zeros(n, dtype=np.int64), np.inf
    for parts in range(1, min(most, n) + 1):
        fits = [_fit(x, parts, generator, prior) for _ in range(starts if parts > 1 else 1)]
        likelihood, responsibility = max(fits, key=lambda fit: fit[0])
        bic = -2 * likelihood + (3 * w * parts + parts - 1) * np.log(n)
        if bic < least:
            best, least = responsibility.argmax(1), bic
    sizes = np.bincount(best)
    rank = np.empty(len(sizes), dtype=np.int64)
    rank[np.argsort(-sizes, kind="stable")] = np.arange(len(sizes))
    return rank[best]


def _fit(
    x: NDArray[np.float32], parts: int, generator: np.random.Generator, prior: float, steps: int = 100
) -> tuple[float, NDArray[np.float32]]:
    """Log-likelihood and responsibilities (n, K) of one run; it starts from K windows, each far from those before."""
    flat = x.reshape(len(x), -1)
    seeds = [int(generator.integers(len(x)))]
    while len(seeds) < parts:  # k-means++ by the number of letters that differ
        far = (x.shape[1] - (flat @ flat[seeds].T).max(1)).clip(min=0).astype(np.float64) ** 2
        total = far.sum()
        seeds.append(int(generator.choice(len(x), p=far / total if total > 0 else None)))
    logits = flat @ flat[seeds].T
    responsibility = np.exp(logits - logits.max(1, keepdims=True))
    responsibility /= responsibility.sum(1, keepdims=True)
    before = -np.inf
    for _ in range(steps):
        counts = (responsibility.T @ flat).reshape(parts, -1, 4) + prior / 4
        log_theta = np.log(counts / counts.sum(2, keepdims=True)).reshape(parts, -1)
        weight = responsibility.sum(0) + prior
        joint = flat @ log_theta.T + np.log(weight / weight.sum())
        top = joint.max(1, keepdims=True)
        each = top[:, 0] + np.log(np.exp(joint - top).sum(1))
        responsibility = np.exp(joint - each[:, None])
        likelihood = float(each.sum(dtype=np.float64))
        if likelihood - before < 1e-5 * abs(likelihood):
            break
        before = likelihood
    return likelihood, responsibility
