from collections import Counter
from itertools import pairwise, permutations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from genomics.sequences import dinucleotide_shuffle, dinucleotide_shuffles


def counts(sequence):
    return Counter(pairwise(sequence))


def all_shuffles(sequence):
    """Every arrangement of the inner letters, filtered by its dinucleotides: nothing of the algorithm."""
    inner = {"".join(order) for order in permutations(sequence[1:-1])}
    every = (sequence[0] + order + sequence[-1] for order in inner)
    return sorted(other for other in every if counts(other) == counts(sequence))


@given(st.text("ACGTNacR-", max_size=60), st.integers(0, 2**32 - 1))
def test_counts_and_ends_are_kept(sequence, seed):
    other = dinucleotide_shuffle(sequence, np.random.default_rng(seed))
    assert counts(other) == counts(sequence)
    assert other[:1] == sequence[:1] and other[-1:] == sequence[-1:]
    assert sorted(other) == sorted(sequence)


def test_the_only_shuffle_is_the_sequence_itself():
    generator = np.random.default_rng(0)
    for sequence in ("AC", "ACG", "AAAAAA", "ACGT", "AACC", "ACACAC"):
        assert all_shuffles(sequence) == [sequence]
    for sequence in ("", "A", "AC", "ACG", "AAAAAA", "ACGT", "AACC", "ACACAC"):
        assert dinucleotide_shuffle(sequence, generator) == sequence


@pytest.mark.parametrize(
    ("sequence", "distinct"),
    # AGACA: the loops AGA and ACA in either order. ACGTACTGA and AGCTNGATA end where they begin; the others do not.
    [("AGACA", 2), ("AACAGATA", 24), ("ACGTACTGA", None), ("GATTACAT", None), ("AGCTNGATA", None), ("CCGCGTCTG", None)],
)
def test_every_shuffle_is_equally_likely(sequence, distinct):
    every = all_shuffles(sequence)
    assert len(every) > 1 and (distinct is None or len(every) == distinct)
    generator = np.random.default_rng(len(sequence))
    drawn = Counter(dinucleotide_shuffle(sequence, generator) for _ in range(200 * len(every)))
    assert set(drawn) <= set(every)
    assert chisquare([drawn[other] for other in every]).pvalue > 1e-3


def test_all_short_sequences_reach_all_their_shuffles_and_nothing_else():
    generator = np.random.default_rng(1)
    for letters in product("ACG", repeat=6):
        sequence = "".join(letters)
        every = all_shuffles(sequence)
        drawn = {dinucleotide_shuffle(sequence, generator) for _ in range(25 * len(every))}
        assert drawn == set(every)


def test_the_generator_decides():
    sequences = ["ACGTTGCAACGGTAC" * 4, "TTAGGACCATTAGGCA" * 4]
    first, again = (dinucleotide_shuffles(sequences, np.random.default_rng(3)) for _ in range(2))
    assert first == again
    assert first != dinucleotide_shuffles(sequences, np.random.default_rng(4))
    assert all(shuffled != sequence for shuffled, sequence in zip(first, sequences, strict=True))
