from math import log2

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genomics.motifs.matrices import LETTERS, Motif, letter_codes


def random_motif(seed, length=7, **fields):
    return Motif(np.random.default_rng(seed).integers(0, 9, (length, 4)) + 0.5, **fields)


def matrix(biopython):
    return np.array([biopython[letter] for letter in LETTERS]).T


def test_a_motif_counted_by_hand():
    motif = Motif.from_sites(["ACGT", "ACGA", "aCTN", "ACTC"])
    assert motif.counts.tolist() == [[4, 0, 0, 0], [0, 4, 0, 0], [0, 0, 2, 2], [1, 1, 0, 1]]
    assert motif.sites == 4 and len(motif) == 4
    # 2 - H: one letter, one letter, two equal letters, three equal letters
    np.testing.assert_allclose(motif.information(), [2, 2, 1, 2 - log2(3)], atol=1e-12)
    # 3 / (2 N ln 2) bits less, never below 0
    np.testing.assert_allclose(
        motif.information(small_sample=True)[:3], np.array([2, 2, 1]) - 3 / (8 * np.log(2)), atol=1e-12
    )
    assert motif.information(small_sample=True)[3] == 0
    # (4 + 0.8 / 4) / 4.8 = 0.875, log2(0.875 / 0.25)
    np.testing.assert_allclose(motif.probabilities[0], [0.875, 1 / 24, 1 / 24, 1 / 24])
    np.testing.assert_allclose(motif.log_odds[0, :2], [log2(3.5), log2(1 / 6)])


@given(st.integers(0, 10**6), st.integers(1, 9), st.floats(0.01, 5))
def test_the_arithmetic_is_that_of_biopython(seed, length, pseudocount):
    background = tuple(np.random.default_rng(seed).dirichlet([5] * 4))
    motif = random_motif(seed, length, background=background, pseudocount=pseudocount)
    biopython = motif.to_biopython()
    np.testing.assert_allclose(matrix(biopython.pwm), motif.probabilities, atol=1e-12)
    np.testing.assert_allclose(matrix(biopython.pssm), motif.log_odds, atol=1e-9)
    np.testing.assert_allclose(matrix(biopython.reverse_complement().counts), motif.reverse_complement().counts)
    biopython.pseudocounts = 0
    np.testing.assert_allclose(biopython.relative_entropy, motif.information(), atol=1e-9)
    assert str(biopython.degenerate_consensus) == motif.consensus


def test_to_biopython_and_back():
    motif = random_motif(3, name="YY1", id="MA0095.2", background=(0.3, 0.2, 0.2, 0.3), pseudocount=0.4)
    back = Motif.from_biopython(motif.to_biopython(), pseudocount=0.4)
    assert (back.name, back.id, back.pseudocount) == ("YY1", "MA0095.2", 0.4)
    np.testing.assert_allclose(back.background, motif.background)
    np.testing.assert_array_equal(back.counts, motif.counts)


def test_the_reverse_complement_twice_is_the_motif():
    motif = random_motif(1, background=(0.4, 0.3, 0.2, 0.1))
    other = motif.reverse_complement()
    assert other.background == (0.1, 0.2, 0.3, 0.4)
    assert Motif.from_sites(["AAC"]).reverse_complement().consensus == "GTT"
    np.testing.assert_allclose(other.information(), motif.information()[::-1])
    np.testing.assert_array_equal(other.reverse_complement().counts, motif.counts)


def test_trim_keeps_what_stands_between():
    flat, weak, strong = [5, 5, 5, 5], [8, 4, 4, 4], [20, 0, 0, 0]
    motif = Motif([flat, weak, strong, flat, strong, weak, flat])
    assert motif.trim(0.3).counts.tolist() == [strong, flat, strong]
    assert motif.trim(0.01).counts.tolist() == [weak, strong, flat, strong, weak]
    with pytest.raises(ValueError, match=r"bits: expected at most 0, the most of a position of .*, got 0\.3"):
        Motif([flat, flat]).trim(0.3)


def test_information_against_a_background():
    # All A where A has probability 1/2: log2(1 / 0.5) = 1 bit; the background itself: none.
    motif = Motif([[8, 0, 0, 0], [4, 2, 1, 1]], background=(0.5, 0.25, 0.125, 0.125))
    np.testing.assert_allclose(motif.information(), [1, 0], atol=1e-12)


def test_letters():
    assert letter_codes("ACGTacgtNR-").tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 4, 4, 4]
    assert letter_codes(b"TA").tolist() == [3, 0] and letter_codes("é").tolist() == [4]


def test_a_motif_cannot_be_written_to():
    counts = np.ones((2, 4))
    motif = Motif(counts)
    counts[0, 0] = 9
    assert motif.counts[0, 0] == 1
    with pytest.raises(ValueError, match="read-only"):
        motif.counts[0, 0] = 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Motif(np.ones((3, 5))), r"counts: expected the shape \(L, 4\) with L >= 1, got \(3, 5\)"),
        (lambda: Motif(np.ones((0, 4))), r"got \(0, 4\)"),
        (lambda: Motif([[1, -1, 1, 1]]), "counts: expected finite numbers of at least 0"),
        (lambda: Motif([[1, np.nan, 1, 1]]), "counts: expected finite numbers of at least 0"),
        (lambda: Motif([[1, 1, 1, 1], [0, 0, 0, 0]]), "got 0 at position 1"),
        (lambda: Motif([[1, 1, 1, 1]], background=(0.5, 0.5, 0, 0)), "background: expected four positive numbers"),
        (lambda: Motif([[1, 1, 1, 1]], background=(0.5, 0.5, 0.5, 0.5)), "background: expected four positive numbers"),
        (lambda: Motif([[1, 1, 1, 1]], pseudocount=-1), "pseudocount: expected a finite number of at least 0, got -1"),
        (lambda: Motif.from_sites([]), "sites: expected at least one"),
        (lambda: Motif.from_sites(["AC", "ACG"]), r"all of one length, got lengths \[2, 3\]"),
        (lambda: Motif.from_probabilities([[1, 0, 0, 0], [0.5, 0, 0, 0]]), "got 0.5 in row 1"),
        (lambda: Motif.from_probabilities([[1, 0, 0, 0]], sites=0), "sites: expected a positive number, got 0"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()
