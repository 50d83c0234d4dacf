"""Motifs as position weight matrices: frequencies, information, log-odds, trimming, conversion to Biopython's."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

LETTERS = "ACGT"
"""The order of the four columns of every matrix; reversed, it is the order of the complements."""

UNIFORM = (0.25, 0.25, 0.25, 0.25)


@dataclass(frozen=True, eq=False)
class Motif:
    r"""A position weight matrix: counts of A, C, G, T per position.

    With the counts n_ib of letter b at position i, N_i = sum_b n_ib, the background q and the pseudocount s:

        frequencies     f_ib = n_ib / N_i
        probabilities   p_ib = (n_ib + s q_b) / (N_i + s)
        log-odds        l_ib = log2(p_ib / q_b)
        information     I_i  = sum_b f_ib log2(f_ib / q_b), in bits

    Frequencies, information, files and logos show the matrix as it was counted; only probabilities and log-odds, which
    score sequences, take the pseudocount. The arithmetic is checked against `Bio.motifs` in the tests.

    Args:
        counts: The counts, one row per position, in the order A, C, G, T. They need not be whole numbers, nor add up to
            the same total in each row.
        name: What the motif is called, such as the factor: "YY1".
        id: Its accession: "MA0095.2".
        background: Probability of A, C, G, T outside of sites.
        pseudocount: Total pseudocount of a position, shared out by the background. 0.8 is what Nishida et al.
            recommend on average.

    Shapes:
        counts: (L, 4), L >= 1

    Raises:
        ValueError: A matrix of another shape, a negative or non-finite count, a position without counts, or a
            background that is no distribution with four positive parts.

    References:
        Stormo, "DNA binding sites: representation and discovery", Bioinformatics 16, 2000. Nishida, Frith, Nakai,
        "Pseudocounts for transcription factor binding sites", Nucleic Acids Research 37, 2009.
    """

    counts: NDArray[np.float64] = field(repr=False)
    name: str = ""
    id: str = ""
    background: tuple[float, ...] = UNIFORM
    pseudocount: float = 0.8

    def __post_init__(self) -> None:
        counts = np.array(self.counts, dtype=np.float64)
        if counts.ndim != 2 or counts.shape[1] != 4 or counts.shape[0] == 0:
            raise ValueError(f"counts: expected the shape (L, 4) with L >= 1, got {counts.shape}")
        if not np.isfinite(counts).all() or (counts < 0).any():
            raise ValueError("counts: expected finite numbers of at least 0")
        if (counts.sum(1) <= 0).any():
            row = int(np.flatnonzero(counts.sum(1) <= 0)[0])
            raise ValueError(f"counts: expected a positive total at every position, got 0 at position {row}")
        background = tuple(float(x) for x in self.background)
        if len(background) != 4 or not all(x > 0 for x in background) or abs(sum(background) - 1) > 1e-3:
            raise ValueError(f"background: expected four positive numbers that add up to 1, got {background}")
        if not (np.isfinite(self.pseudocount) and self.pseudocount >= 0):
            raise ValueError(f"pseudocount: expected a finite number of at least 0, got {self.pseudocount}")
        counts.flags.writeable = False
        object.__setattr__(self, "counts", counts)
        total = sum(background)
        if abs(total - 1) > 1e-12:  # the rounding of a file
            background = tuple(x / total for x in background)
        object.__setattr__(self, "background", background)

    @classmethod
    def from_probabilities(cls, probabilities: ArrayLike, sites: float = 20, **fields: Any) -> "Motif":
        """A motif from the probabilities of the letters: counts = sites * probabilities.

        Args:
            probabilities: One row per position; each is divided by its sum, which may be off 1 by rounding.
            sites: How many sites stand behind them, for the pseudocount; MEME takes 20 where a file does not say.
            fields: `name`, `id`, `background`, `pseudocount`.

        Shapes:
            probabilities: (L, 4)

        Raises:
            ValueError: A row whose sum is off 1 by more than 0.01, sites that are not positive, or what `Motif` raises.
        """
        p = np.array(probabilities, dtype=np.float64)
        if p.ndim == 2 and (np.abs(p.sum(1) - 1) > 0.01).any():
            row = int(np.flatnonzero(np.abs(p.sum(1) - 1) > 0.01)[0])
            raise ValueError(f"probabilities: expected rows that add up to 1, got {p[row].sum():g} in row {row}")
        if not sites > 0:
            raise ValueError(f"sites: expected a positive number, got {sites}")
        return cls(p / p.sum(-1, keepdims=True) * sites, **fields)

    @classmethod
    def from_sites(cls, sites: Sequence[str], **fields: Any) -> "Motif":
        """Count the letters of aligned sites; letters other than A, C, G, T (in either case) count nowhere.

        Args:
            sites: Strings of one length.
            fields: `name`, `id`, `background`, `pseudocount`.

        Raises:
            ValueError: No site, or sites of several lengths.
        """
        lengths = {len(site) for site in sites}
        if len(lengths) != 1:
            raise ValueError(f"sites: expected at least one site, all of one length, got lengths {sorted(lengths)}")
        codes = np.stack([letter_codes(site) for site in sites])
        return cls((codes[:, :, None] == np.arange(4)).sum(0), **fields)

    @classmethod
    def from_biopython(cls, motif: Any, *, pseudocount: float = 0.8) -> "Motif":
        """Take over a `Bio.motifs.Motif`: counts, background, name, and `matrix_id` where it is one of JASPAR's.

        Args:
            motif: The motif; its alphabet has the letters A, C, G, T.
            pseudocount: See `Motif`; Biopython's own, which are per letter, are not taken over.
        """
        counts = np.array([motif.counts[letter] for letter in LETTERS], dtype=np.float64).T
        background = tuple(float(motif.background[letter]) for letter in LETTERS)
        id = getattr(motif, "matrix_id", None) or ""
        return cls(counts, motif.name or "", id, background=background, pseudocount=pseudocount)

    def to_biopython(self) -> Any:
        """The same as a `Bio.motifs.jaspar.Motif`, with the pseudocounts that give the same `pssm`."""
        from Bio.motifs import jaspar

        counts = {letter: column.tolist() for letter, column in zip(LETTERS, self.counts.T, strict=True)}
        motif = jaspar.Motif(self.id, self.name, counts=counts)
        motif.background = dict(zip(LETTERS, self.background, strict=True))
        motif.pseudocounts = {letter: self.pseudocount * q for letter, q in motif.background.items()}
        return motif

    def __len__(self) -> int:
        return len(self.counts)

    def __repr__(self) -> str:
        label = " ".join(filter(None, (self.id, self.name)))
        return f"Motif({label or 'unnamed'}, {self.consensus}, {self.sites:g} sites)"

    @property
    def sites(self) -> float:
        """The number of sites: the largest total of a position."""
        return float(self.counts.sum(1).max())

    @property
    def frequencies(self) -> NDArray[np.float64]:
        """The counts over their totals, (L, 4), without pseudocount."""
        shares: NDArray[np.float64] = self.counts / self.counts.sum(1, keepdims=True)
        return shares

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """The frequencies with the pseudocount, (L, 4)."""
        pseudo = self.pseudocount * np.array(self.background)
        shares: NDArray[np.float64] = (self.counts + pseudo) / (self.counts.sum(1, keepdims=True) + self.pseudocount)
        return shares

    @property
    def log_odds(self) -> NDArray[np.float64]:
        """log2(probabilities / background) in bits, (L, 4); -inf where a probability is 0."""
        with np.errstate(divide="ignore"):
            bits: NDArray[np.float64] = np.log2(self.probabilities / np.array(self.background))
        return bits

    @property
    def consensus(self) -> str:
        """The consensus in IUPAC codes, by the rule of Cavener 1987 as Biopython has it."""
        return str(self.to_biopython().degenerate_consensus)

    def information(self, *, small_sample: bool = False) -> NDArray[np.float64]:
        """Information content of each position in bits: sum_b f_b log2(f_b / q_b).

        With a uniform background that is 2 minus the entropy, between 0 and 2 bits.

        Args:
            small_sample: Subtract 3 / (2 N ln 2), which N sites of the background have on average by chance, and
                answer 0 where less than that is left. It holds for a uniform background.

        Shapes:
            answer: (L,)

        References:
            Schneider et al., "Information content of binding sites on nucleotide sequences", J. Mol. Biol. 188, 1986,
            appendix, approximation for large N.
        """
        f = self.frequencies
        bits = np.where(f > 0, f * np.log2(np.where(f > 0, f, 1) / np.array(self.background)), 0).sum(1)
        if small_sample:
            bits = bits - 3 / (2 * np.log(2) * self.counts.sum(1))
        return np.asarray(np.maximum(bits, 0))

    def reverse_complement(self) -> "Motif":
        """The motif as the other strand shows it, background included."""
        return replace(self, counts=self.counts[::-1, ::-1], background=self.background[::-1])

    def trim(self, bits: float = 0.3) -> "Motif":
        """Drop the positions before the first and after the last one of at least this information.

        Args:
            bits: The threshold; positions between two that reach it stay, whatever they have.

        Raises:
            ValueError: No position reaches it.
        """
        kept = np.flatnonzero(self.information() >= bits)
        if len(kept) == 0:
            raise ValueError(
                f"bits: expected at most {self.information().max():g}, the most of a position of {self!r}, got {bits:g}"
            )
        return replace(self, counts=self.counts[kept[0] : kept[-1] + 1])


_CODES = np.full(256, 4, dtype=np.uint8)
for _code, _letter in enumerate(LETTERS):
    _CODES[[ord(_letter), ord(_letter.lower())]] = _code


def letter_codes(sequence: str | bytes) -> NDArray[np.uint8]:
    """A, C, G, T (either case) as 0 to 3, every other letter as 4, one byte per base."""
    data = sequence.encode("ascii", "replace") if isinstance(sequence, str) else sequence
    return _CODES[np.frombuffer(data, dtype=np.uint8)]
