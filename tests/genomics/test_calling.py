import numpy as np
import pytest

from genomics.alphabet import reverse_complement
from genomics.calling import call_sites, decoy_thresholds
from genomics.extract import extract_motifs
from genomics.peaks import Peaks, find_peaks
from genomics.sites import Site

from .test_extract import WORD, planted
from .toy_detector import ToyDetector, word_matrix


def peaks_of(weights):
    """One head, one peak in a sequence: attention 1, contribution as given."""
    w = np.array(weights, dtype=np.float32)[:, None, None]
    zero = np.zeros(w.shape, dtype=np.int64)
    return Peaks(zero, zero, np.ones_like(w), w, w[:, 0, 0])


def test_the_threshold_by_hand():
    targets, decoys = peaks_of([9, 8, 7, 6, 5, 4, 3, 2, 1, -1]), peaks_of([6.5, 2.5, 0.5, -3] + [-1] * 6)
    # Down to 7 no decoy; 6: 1 of 4; 5: 1/5; 4: 1/6; 3: 1/7; 2: 2/8; 1: 2/9.
    for fdr, threshold in ((0.1, 7), (0.15, 3), (0.17, 3), (0.2, 3), (0.23, 1), (0.5, 1)):
        assert decoy_thresholds(targets, decoys, fdr).tolist() == [threshold]


def test_decoys_are_scaled_to_the_number_of_sequences():
    targets = peaks_of([4, 3, 2, 1])
    assert decoy_thresholds(targets, peaks_of([2.5, -1]), 0.5)[0] == 1  # 2 of 4
    assert decoy_thresholds(targets, peaks_of([2.5] * 4), 0.5)[0] == 3
    assert decoy_thresholds(targets, peaks_of([5.0]), 0.99)[0] == np.inf
    assert decoy_thresholds(peaks_of([-1.0]), peaks_of([-1.0]), 0.5)[0] == np.inf


def test_called_sites_are_the_planted_ones_up_to_the_ends():
    texts, places = planted(60, 40, 0)
    model = ToyDetector([word_matrix(WORD)], shift=2)
    heads = extract_motifs(model, texts)
    ids = [f"s{i}" for i in range(60)]
    found = call_sites(heads, find_peaks(model, texts), texts, ids, np.array([8.0]))
    # The peak lies 2 bases beside the word, in the direction of reading; all of them stand within the sequence.
    expected = [
        Site(ids[i], start, start + 9, "head0", 1000, "+-"[strand])
        for i, (start, strand) in enumerate(places)
        if 0 <= start + 4 + (2, -2)[strand] < 40
    ]
    assert len(expected) == 60 and found == expected


def test_a_site_over_an_end_is_cut_and_the_threshold_is_kept():
    texts, _ = planted(40, 60, 1)
    model = ToyDetector([word_matrix(WORD)])
    heads = extract_motifs(model, texts)
    short = ["T" * 4 + reverse_complement(WORD) + "T", "TTTT" + WORD[:7] + "AA" + "T", "T" * 14]
    peaks = find_peaks(model, short)
    weight = peaks.weight[:, 0, 0]
    assert weight[0] == pytest.approx(9, rel=1e-3) and weight[1] == pytest.approx(5, rel=1e-3)
    assert [s.chrom for s in call_sites(heads, peaks, short, list("abc"), np.array([4.0]))] == ["a", "b"]
    assert [s.chrom for s in call_sites(heads, peaks, short, list("abc"), np.array([6.0]))] == ["a"]
    assert call_sites(heads, peaks, short, list("abc"), np.array([np.inf])) == []
    cut = call_sites(heads, peaks, [text[:11] for text in short], list("abc"), np.array([6.0]))
    assert [(s.start, s.end) for s in cut] == [(4, 11)]


def test_errors():
    one = peaks_of([1.0])
    with pytest.raises(ValueError, match="fdr: expected 0 < fdr < 1, got 1"):
        decoy_thresholds(one, one, 1)
    two = Peaks(
        *(np.repeat(part, 2, axis=1) for part in (one.position, one.strand, one.attention)), one.weight, one.logits
    )
    with pytest.raises(ValueError, match="decoys: expected 2 heads, got 1"):
        decoy_thresholds(two, one)
