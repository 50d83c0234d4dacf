r"""Where sites of several motifs stand in a sequence: a semi-Markov chain of background letters and sites.

A sequence is background, letter after letter by a Markov chain of order 1; before each letter a site of motif m starts
with probability lambda_m, on either strand with the same chance, and then the motif's letters come instead,

.. math:: f_l = (1 - \Lambda)\, f_{l-1} + \sum_{m,s} \tfrac{\lambda_m}{2}\, R_{ms}(l - w_m)\, f_{l-w_m}, \qquad
          R_{ms}(l) = \frac{P(x_l .. x_{l+w_m-1} \mid \text{motif } m, \text{ strand } s)}
                           {P(x_l .. x_{l+w_m-1} \mid \text{background})}

with Lambda the sum of the rates lambda and f the odds of what ends at base l against background alone. With the same
sum from the other end, b, the chance that a site of m starts at l is

.. math:: \gamma_{msl} = \tfrac{\lambda_m}{2}\, R_{ms}(l)\, f_l\, b_{l+w_m} / f_L .

Sites do not overlap, so that motifs which are alike share the chance of a place: their sum is what is known of it. All
of it is computed in logarithms. Letters other than A, C, G and T say nothing.

References:
    Rabiner 1989, Proceedings of the IEEE 77:257 (forward, backward, explicit durations). Sinha, van Nimwegen and Siggia
    2003, Bioinformatics 19:i292 (motifs and background of order k as such a chain). Bailey and Elkan 1994, ISMB 2:28.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from .matrices import Motif, letter_codes

_CHUNK = 512  # sequences at a time: bounds the memory


@dataclass(frozen=True, eq=False)
class SiteModel:
    """Motifs, how often each starts, and the background between them.

    Args:
        motifs: M motifs; their probabilities, pseudocount included, are those of a site's letters.
        rates: lambda, the chance that a site of a motif starts before a letter.
        transitions: Of the background: row a holds the chances of the letter behind a.

    Shapes:
        rates: (M,); transitions: (4, 4)

    Raises:
        ValueError: No motif, rates that are none, or rows that do not add up to 1.
    """

    motifs: tuple[Motif, ...]
    rates: NDArray[np.float64]
    transitions: NDArray[np.float64]

    def __post_init__(self) -> None:
        if not self.motifs:
            raise ValueError("motifs: expected at least one, got none")
        rates, total = np.asarray(self.rates), float(np.sum(self.rates))
        if rates.shape != (len(self.motifs),) or not (rates > 0).all() or not total < 1:
            raise ValueError(
                f"rates: expected {len(self.motifs)} positive numbers that add up to less than 1, got {rates}"
            )
        rows = np.asarray(self.transitions)
        if rows.shape != (4, 4) or not (rows > 0).all() or np.abs(rows.sum(1) - 1).max() > 1e-6:
            raise ValueError(f"transitions: expected four rows of positive chances that add up to 1, got {rows}")

    @property
    def widths(self) -> NDArray[np.int64]:
        """Positions of each motif, (M,)."""
        return np.array([len(motif) for motif in self.motifs])

    @property
    def letters(self) -> NDArray[np.float64]:
        """Frequencies of A, C, G, T in a long background, (4,)."""
        return stationary(self.transitions)


class Posterior(NamedTuple):
    """What a `SiteModel` knows of some sequences.

    Args:
        first: Index of the first of them.
        codes: Their letters, 4 for those that say nothing and behind a sequence's end.
        sites: gamma: the chance that a site of a motif starts at a base and stands on a strand.
        log_odds: ln f_L: of each whole sequence against background alone, in nats.

    Shapes:
        codes: (n, L); sites: (n, M, 2, L), strand 0 as given, 1 the reverse complement; log_odds: (n,)
    """

    first: int
    codes: NDArray[np.int64]
    sites: NDArray[np.float64]
    log_odds: NDArray[np.float64]

    def coverage(self, widths: NDArray[np.int64]) -> NDArray[np.float64]:
        """The chance that a base belongs to a site of any motif, (n, L).

        Args:
            widths: Of the motifs.
        """
        n, _, _, L = self.sites.shape
        change = np.zeros((n, L + 1))
        for m, width in enumerate(widths.tolist()):
            starts = self.sites[:, m, :, : max(L - width + 1, 0)].sum(1)
            change[:, : starts.shape[1]] += starts
            change[:, width : width + starts.shape[1]] -= starts
        return change[:, :L].cumsum(1)


def stationary(transitions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Frequencies of the letters far from a chain's beginning, (4,) from (4, 4)."""
    far: NDArray[np.float64] = np.linalg.matrix_power(transitions, 2**10)[0]
    return far


def background_chain(sequences: Sequence[str], prior: float = 1.0) -> NDArray[np.float64]:
    """Transitions of the letters of both strands, counted.

    Args:
        sequences: DNA; pairs with another letter than A, C, G, T do not count.
        prior: Added to every count.

    Shapes:
        answer: (4, 4)
    """
    counts = np.zeros((5, 5))
    for sequence in sequences:
        codes = letter_codes(sequence)
        np.add.at(counts, (codes[:-1], codes[1:]), 1)
    both = counts[:4, :4] + counts[:4, :4][::-1, ::-1].T + prior
    shares: NDArray[np.float64] = both / both.sum(1, keepdims=True)
    return shares


def posteriors(model: SiteModel, sequences: Sequence[str]) -> Iterator[Posterior]:
    """What the model knows of sequences, some hundred at a time.

    Args:
        model: The motifs, their rates and the background.
        sequences: DNA; lengths may differ.

    Raises:
        ValueError: An empty sequence.
    """
    for first in range(0, len(sequences), _CHUNK):
        some = sequences[first : first + _CHUNK]
        codes, lengths = padded_codes(some), lengths_of(some)
        sites, log_odds = decode(log_ratios(model, codes, lengths), model.widths, model.rates)
        behind = (codes.shape[1] - lengths) * np.log1p(-model.rates.sum())  # no site starts behind an end
        yield Posterior(first, codes, sites, log_odds - behind)


def padded_codes(sequences: Sequence[str]) -> NDArray[np.int64]:
    """Letters as 0 .. 3, and 4 for the others and behind a sequence's end, (n, L).

    Raises:
        ValueError: An empty sequence.
    """
    lengths = lengths_of(sequences)
    if not lengths.all():
        raise ValueError(f"sequences[{int(lengths.argmin())}]: expected at least one base, got none")
    codes = np.full((len(sequences), int(lengths.max())), 4, dtype=np.int64)
    for row, sequence in zip(codes, sequences, strict=True):
        row[: len(sequence)] = letter_codes(sequence)
    return codes


def lengths_of(sequences: Sequence[str]) -> NDArray[np.int64]:
    """Letters of each."""
    return np.array([len(sequence) for sequence in sequences], dtype=np.int64)


def log_ratios(model: SiteModel, codes: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.float64]:
    """The ratios ln R, (n, M, 2, L): of the window that starts at each base; -inf where it reaches over the end.

    Args:
        model: Motifs and background.
        codes: See `padded_codes`.
        lengths: Of the sequences.
    """
    n, L = codes.shape
    widths, longest = model.widths, int(model.widths.max())
    kernel = np.zeros((len(widths), 2, 4, longest))
    for m, motif in enumerate(model.motifs):
        p = np.log(motif.probabilities)
        kernel[m, 0, :, : len(p)], kernel[m, 1, :, : len(p)] = p.T, p[::-1, ::-1].T
    hot = torch.from_numpy((codes[:, None, :] == np.arange(4)[:, None]).astype(np.float64))
    hot = torch.nn.functional.pad(hot, (0, longest - 1))
    with torch.inference_mode():
        scores = torch.nn.functional.conv1d(hot, torch.from_numpy(kernel.reshape(-1, 4, longest))).numpy()
    scores = scores.reshape(n, len(widths), 2, L).copy()
    nothing = np.zeros((5, 5))  # a letter that says nothing, and the one behind it, which then has its frequency
    nothing[:4, :4], nothing[4, :4] = np.log(model.transitions), np.log(model.letters)
    steps = np.concatenate([nothing[4][codes[:, :1]], nothing[codes[:, :-1], codes[:, 1:]]], axis=1)
    summed = np.concatenate([np.zeros((n, 1)), steps.cumsum(1)], axis=1)
    places = np.arange(L)
    for m, width in enumerate(widths.tolist()):
        inside = places + width <= lengths[:, None]
        background = summed[:, np.minimum(places + width, L)] - summed[:, places]
        scores[:, m] = np.where(inside[:, None], scores[:, m] - background[:, None], -np.inf)
    return scores


def decode(
    ratios: NDArray[np.float64], widths: NDArray[np.int64], rates: NDArray[np.float64], *, sites: bool = True
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Chances gamma and ln f_L of some sequences; without `sites` the first is empty, and half of the work is saved.

    Args:
        ratios: ln R.
        widths: Of the motifs.
        rates: lambda.
        sites: Whether gamma is wanted.

    Shapes:
        ratios: (n, M, 2, L); widths, rates: (M,)
        answer: (n, M, 2, L), (n,)
    """
    n, _, _, L = ratios.shape
    start = np.log(rates / 2)
    total = np.logaddexp(ratios[:, :, 0], ratios[:, :, 1]) + start[:, None]  # (n, M, L)
    by_place = np.ascontiguousarray(total.transpose(2, 1, 0))  # (L, M, n)
    stay = np.log1p(-rates.sum())
    forward = np.full((L + 1, n), 0.0)
    for place in range(1, L + 1):
        fits = np.flatnonzero(widths <= place)
        before = place - widths[fits]
        forward[place] = _log_sum(forward[place - 1] + stay, by_place[before, fits] + forward[before])
    if not sites:
        return np.empty(0), forward[L]
    backward = np.full((L + 1, n), 0.0)
    for place in range(L - 1, -1, -1):
        fits = np.flatnonzero(place + widths <= L)
        behind = place + widths[fits]
        backward[place] = _log_sum(backward[place + 1] + stay, by_place[place, fits] + backward[behind])
    gamma = np.zeros_like(ratios)
    for m, width in enumerate(widths.tolist()):
        last = L - width + 1
        if last > 0:
            rest = (forward[:last] + backward[width:] - forward[L]).T + start[m]
            gamma[:, m, :, :last] = np.exp(ratios[:, m, :, :last] + rest[:, None])
    return gamma, forward[L]


def _log_sum(one: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """ln(e^one + sum of e^others over their rows): (n,) from (n,) and (k, n)."""
    top = np.maximum(one, others.max(0)) if len(others) else one
    total: NDArray[np.float64] = top + np.log(np.exp(one - top) + np.exp(others - top).sum(0))
    return total
