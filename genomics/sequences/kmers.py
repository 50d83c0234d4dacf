"""k-mers as numbers, and how often each stands in a sequence."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from .alphabet import LETTERS

_AMBIGUOUS, _STRANGE = 4, 5
_CODES = np.full(256, _STRANGE, dtype=np.uint8)
for _letter in LETTERS:
    _CODES[[ord(_letter), ord(_letter.lower())]] = "ACGT".index(_letter) if _letter in "ACGT" else _AMBIGUOUS


def kmer_codes(
    sequences: Sequence[str], k: int, both_strands: bool = True
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Every k-mer of A, C, G and T as a number of two bits a letter, A = 0 .. T = 3, the first letter the highest.

    Args:
        sequences: DNA in either case; k-mers with another letter are left out.
        k: Letters, 1 .. 32.
        both_strands: Answer the smaller of the numbers of a k-mer and of its reverse complement.

    Shapes:
        answer: the numbers (m,), and for each the place of its sequence (m,), in order

    Raises:
        ValueError: k is outside 1 .. 32, `sequences` is one string, or a letter is no IUPAC code of DNA.
    """
    if not 1 <= k <= 32:
        raise ValueError(f"k: expected 1 .. 32, got {k}")
    if isinstance(sequences, str):
        raise ValueError("sequences: expected a list of strings, got one string")
    if not len(sequences):
        return np.empty(0, dtype=np.uint64), np.empty(0, dtype=np.int64)
    text = "N".join(sequences)  # a k-mer across the border holds the N, and does not count
    codes = _CODES[np.frombuffer(text.encode("ascii", errors="replace"), dtype=np.uint8)]
    ends = np.cumsum([len(sequence) + 1 for sequence in sequences])
    if (codes == _STRANGE).any():
        place = int((codes == _STRANGE).argmax())
        number = int(np.searchsorted(ends, place, side="right"))
        raise ValueError(f"sequences[{number}]: expected IUPAC codes of DNA, got {text[place]!r}")
    count = len(codes) - k + 1
    if count <= 0:
        return np.empty(0, dtype=np.uint64), np.empty(0, dtype=np.int64)
    bad = np.concatenate([[0], np.cumsum(codes == _AMBIGUOUS)])
    valid = np.flatnonzero(bad[k:] == bad[:-k])
    bits = (codes & 3).astype(np.uint64)
    forward = np.zeros(count, dtype=np.uint64)
    backward = np.zeros(count, dtype=np.uint64)
    for place in range(k):
        letters = bits[place : place + count]
        forward |= letters << np.uint64(2 * (k - 1 - place))
        if both_strands:
            backward |= (np.uint64(3) - letters) << np.uint64(2 * place)
    kmers = np.minimum(forward, backward) if both_strands else forward
    return kmers[valid], np.searchsorted(ends, valid, side="right")


def kmer_columns(k: int, both_strands: bool = True) -> list[str]:
    """The k-mers of the columns of `kmer_counts`; of a k-mer and its reverse complement the first in the alphabet.

    Args:
        k: Letters, 1 .. 10.
        both_strands: One column for a k-mer and its reverse complement.

    Raises:
        ValueError: k is outside 1 .. 10.
    """
    codes = _columns(k, both_strands)
    return ["".join("ACGT"[(int(code) >> 2 * (k - 1 - place)) & 3] for place in range(k)) for code in codes]


def kmer_counts(sequences: Sequence[str], k: int, both_strands: bool = True) -> csr_array:
    """At how many places of each sequence each k-mer, or its reverse complement, stands.

    Args:
        sequences: See `kmer_codes`.
        k: Letters, 1 .. 10; with both strands there are (4^k + 4^(k/2)) / 2 columns for even k, 4^k / 2 for odd.
        both_strands: One column for a k-mer and its reverse complement.

    Shapes:
        answer: (n, columns), sparse float64

    Raises:
        ValueError: k is outside 1 .. 10, or what `kmer_codes` raises.
    """
    columns = _columns(k, both_strands)
    codes, owners = kmer_codes(sequences, k, both_strands)
    entries = (np.ones(len(codes)), (owners, np.searchsorted(columns, codes)))
    return csr_array(entries, shape=(len(sequences), len(columns)))


def _columns(k: int, both_strands: bool) -> NDArray[np.uint64]:
    """The numbers of all k-mers that count, in order."""
    if not 1 <= k <= 10:
        raise ValueError(f"k: expected 1 .. 10, got {k}")
    codes = np.arange(4**k, dtype=np.uint64)
    if not both_strands:
        return codes
    other = np.zeros_like(codes)
    for place in range(k):
        other |= (np.uint64(3) - (codes >> np.uint64(2 * place) & np.uint64(3))) << np.uint64(2 * (k - 1 - place))
    return codes[codes <= other]
