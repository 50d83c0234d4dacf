from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genomics.sequences import reverse_complement
from genomics.sequences.kmers import kmer_codes, kmer_columns, kmer_counts


def test_counts_by_hand():
    assert kmer_columns(1) == ["A", "C"] and kmer_columns(2, both_strands=False)[:5] == ["AA", "AC", "AG", "AT", "CA"]
    assert kmer_counts(["ACGTN", "gg"], 1).toarray().tolist() == [[2, 2], [0, 2]]
    columns = kmer_columns(2)
    assert columns == ["AA", "AC", "AG", "AT", "CA", "CC", "CG", "GA", "GC", "TA"]
    row = kmer_counts(["ACGTN"], 2).toarray()[0]  # AC, CG, GT = AC on the other strand; TN does not count
    assert dict(zip(columns, row, strict=True)) == {**dict.fromkeys(columns, 0), "AC": 2, "CG": 1}


@pytest.mark.parametrize(("k", "both", "columns"), [(4, True, 136), (5, True, 512), (6, True, 2080), (4, False, 256)])
def test_number_of_columns(k, both, columns):
    names = kmer_columns(k, both)
    assert len(names) == len(set(names)) == columns == kmer_counts([], k, both).shape[1]
    if both:
        assert all(name <= reverse_complement(name) for name in names)


@given(st.lists(st.text("ACGTNacgt", max_size=30), max_size=4), st.integers(1, 5), st.booleans())
def test_counts_are_those_of_a_plain_loop(sequences, k, both):
    names = kmer_columns(k, both)
    expected = np.zeros((len(sequences), len(names)))
    for row, sequence in enumerate(s.upper() for s in sequences):
        words = Counter(sequence[i : i + k] for i in range(len(sequence) - k + 1))
        for word, count in words.items():
            if "N" not in word:
                chosen = min(word, reverse_complement(word)) if both else word
                expected[row, names.index(chosen)] += count
    assert np.array_equal(kmer_counts(sequences, k, both).toarray(), expected)


def test_the_reverse_complement_has_the_same_counts():
    sequence = "GATTACATTGGCCAANCGCGT"
    a, b = (kmer_counts([s], 4).toarray() for s in (sequence, reverse_complement(sequence)))
    assert np.array_equal(a, b) and a.sum() == len(sequence) - 3 - 4  # four windows hold the N


def test_what_is_refused():
    with pytest.raises(ValueError, match=r"k: expected 1 \.\. 10, got 11"):
        kmer_counts(["A"], 11)
    with pytest.raises(ValueError, match=r"k: expected 1 \.\. 32, got 0"):
        kmer_codes(["A"], 0)
    with pytest.raises(ValueError, match=r"sequences\[1\].*'U'"):
        kmer_counts(["ACG", "ACU"], 2)
    with pytest.raises(ValueError, match="one string"):
        kmer_codes("ACGT", 2)
