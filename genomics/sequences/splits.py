"""Groups of sequences that must not be parted between training and test.

A group number per sequence goes to any splitter of scikit-learn that takes groups (`GroupKFold`, `GroupShuffleSplit`,
`StratifiedGroupKFold`).
"""

from collections.abc import Iterable, Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from .alphabet import reverse_complement
from .kmers import kmer_codes
from .records import SequenceRecord


def group_by_shared_kmers(sequences: Sequence[str], k: int = 24, both_strands: bool = True) -> np.ndarray:
    """Groups such that two sequences of different groups have no k letters in a row in common.

    Sequences that share a k-mer are linked, and a group is a connected component: it may join sequences that share
    nothing directly. Only k-mers of A, C, G and T count (either case); a run of N links nothing. A sequence without any
    such k-mer is linked to its exact copies alone. Long repeats can join much of a genome: look at the largest group,
    and raise k or mask repeats with N where it is too large.

    Time O(T (k + log T)) and memory O(T) for T letters in all: one pass per letter of the k-mer, then a sort.

    Args:
        sequences: DNA in either case.
        k: Letters in a row, 1 .. 32. Random sequences of n letters in all share one by chance about n^2 / 4^k times.
        both_strands: Whether a k-mer counts as the same as its reverse complement.

    Shapes:
        answer: (n,) int64; groups are numbered in the order of their first members

    Raises:
        ValueError: k is outside 1 .. 32, `sequences` is one string, or a letter is no IUPAC code of DNA.
    """
    kmers, owners = kmer_codes(sequences, k, both_strands)
    if not len(sequences):
        return owners
    order = np.argsort(kmers, kind="stable")
    kmers, owners = kmers[order], owners[order]
    same = kmers[1:] == kmers[:-1]
    left, right = owners[:-1][same], owners[1:][same]
    extra = np.array(_copies(sequences, owners, both_strands), dtype=np.int64).reshape(-1, 2)
    left, right = np.concatenate([left, extra[:, 0]]), np.concatenate([right, extra[:, 1]])
    links = coo_array((np.ones(len(left), dtype=bool), (left, right)), shape=(len(sequences),) * 2)
    _, components = connected_components(links, directed=False)
    return _in_order(components)


def shares_kmer(sequences: Sequence[str], others: Sequence[str], k: int = 24, both_strands: bool = True) -> np.ndarray:
    """For each sequence, whether it shares a k-mer with any of the others: what a test set has seen in training.

    Args:
        sequences: DNA in either case, e.g. the test set.
        others: DNA in either case, e.g. the training set.
        k: Letters in a row, 1 .. 32.
        both_strands: Whether a k-mer counts as the same as its reverse complement.

    Shapes:
        answer: (n,) bool

    Raises:
        ValueError: As in `group_by_shared_kmers`.
    """
    kmers, owners = kmer_codes(sequences, k, both_strands)
    known, _ = kmer_codes(others, k, both_strands)
    shared = np.zeros(len(sequences), dtype=bool)
    shared[owners[np.isin(kmers, known)]] = True
    return shared


def group_by_chromosome(records: Iterable[SequenceRecord]) -> np.ndarray:
    """Groups by chromosome, numbered in the order of appearance.

    Args:
        records: Records with intervals (`genomics.sequences.read_bed`).

    Shapes:
        answer: (n,) int64

    Raises:
        ValueError: A record has no interval.
    """
    numbers: dict[str, int] = {}
    groups = []
    for record in records:
        if record.interval is None:
            raise ValueError(f"records: expected an interval in each, got none in {record.id!r} (line {record.line})")
        groups.append(numbers.setdefault(record.interval.chrom, len(numbers)))
    return np.array(groups, dtype=np.int64)


def _copies(sequences: Sequence[str], owners: np.ndarray, both_strands: bool) -> list[tuple[int, int]]:
    """Links between equal sequences among those that own no k-mer."""
    without = np.ones(len(sequences), dtype=bool)
    without[owners] = False
    first: dict[str, int] = {}
    links = []
    for number in np.flatnonzero(without).tolist():
        letters = sequences[number].upper()
        if both_strands:
            letters = min(letters, reverse_complement(letters))
        links.append((first.setdefault(letters, number), number))
    return links


def _in_order(components: np.ndarray) -> np.ndarray:
    """The same groups, numbered by first appearance."""
    _, first, inverse = np.unique(components, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse]
