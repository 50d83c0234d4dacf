import numpy as np
import pytest
import torch

from genomics.sequences.alphabet import reverse_complement
from genomics.sites.calling import call_sites, candidates, threshold
from genomics.sites.extract import Recipe, extract_motifs
from genomics.sites.peaks import find_peaks
from genomics.sites.records import Site

from ..toy_detector import ToyDetector, word_matrix
from .test_extract import WORD, planted

IDS = [f"s{i}" for i in range(100)]


def test_the_threshold_by_hand():
    targets, decoys = [9, 8, 7, 6, 5, 4, 3, 2, 1], [6.5, 2.5, 0.5]
    # Down to 7 no decoy; 6: 1 of 4; 5: 1 of 5; 4: 1/6; 3: 1/7; 2: 2/8; 1: 2/9.
    for fdr, expected in ((0.1, 7), (0.15, 3), (0.2, 3), (0.23, 1), (0.5, 1)):
        assert threshold(targets, decoys, 1.0, fdr) == expected
    assert threshold([4, 3, 2, 1], [2.5], 1.0, 0.25) == 1 and threshold([4, 3, 2, 1], [2.5], 1.1, 0.25) == 3
    assert threshold([4, 3], [5], 1.0, 0.4) == np.inf and threshold([], [5], 1.0, 0.4) == np.inf
    assert threshold([4, 3], [], 1.0, 0.01) == 3


def test_called_sites_are_the_planted_ones_up_to_the_ends():
    texts, places = planted(60, 40, 0)
    model = ToyDetector([word_matrix(WORD)], shift=2)
    heads = extract_motifs(model, texts)
    nothing = ["T" * 40] * 60
    found = call_sites(heads, find_peaks(model, texts), texts, IDS[:60], find_peaks(model, nothing), nothing, fdr=0.05)
    # The peak lies 2 bases beside the word, in the direction of reading; all of them stand within the sequence.
    expected = [Site(IDS[i], s, s + 9, "head0", 1000, "+-"[strand]) for i, (s, strand) in enumerate(places)]
    assert all(0 <= s + 4 + (2, -2)[strand] < 40 for s, strand in places) and found == expected


def test_a_candidate_at_an_end_is_cut_and_scored_by_what_is_there():
    texts, _ = planted(40, 60, 1)
    model = ToyDetector([word_matrix(WORD)])
    heads = extract_motifs(model, texts)
    peaks = find_peaks(model, ["TTTT" + reverse_complement(WORD) + "T"])
    bits = heads[0].motif.log_odds.max(1)
    (whole,) = candidates(heads, peaks, ["TTTT" + reverse_complement(WORD) + "T"])
    assert whole[:5] == (0, 0, 4, 13, 1) and whole.log_odds == pytest.approx(bits.sum())
    (cut,) = candidates(heads, peaks, ["TTTT" + reverse_complement(WORD)[:7]])
    assert cut[:5] == (0, 0, 4, 11, 1) and cut.log_odds == pytest.approx(bits[2:].sum())


def test_letters_that_fit_the_background_better_are_no_candidate():
    texts, _ = planted(40, 60, 1)
    model = ToyDetector([word_matrix(WORD)])
    heads = extract_motifs(model, texts)
    other = "ACGTCGGCC"  # three letters off: the head adds 3 to the logit, the log-odds are negative
    peaks = find_peaks(model, ["T" * 20 + other + "T" * 20])
    assert peaks.weight[0, 0, 0] > 2 and candidates(heads, peaks, ["T" * 20 + other + "T" * 20]) == []


class TwoWords(ToyDetector):
    """One head that reads two words: in each sequence it looks at the one with the better score."""

    def look(self, x, lengths=None):
        look = super().look(x, lengths)
        best = look.contribution.sum(1).argmax(1)
        rows = torch.arange(len(x))
        attention, contribution = look.attention[rows, :, best], look.contribution[rows, :, best]
        return look._replace(attention=attention[:, :, None], contribution=contribution[:, :, None])


def test_a_head_of_two_motifs_is_parted_and_calls_each_with_its_own_extent():
    second = "GGCATTATCCA"
    one, places = planted(50, 60, 2)
    two, others = planted(50, 60, 3, second)
    model = TwoWords([word_matrix(WORD + "AC"), word_matrix(second)])
    model.matrices[0, 9:] = 0  # the first word has 9 letters
    together = extract_motifs(model, one + two, recipe=Recipe(most=100))
    heads = extract_motifs(model, one + two, recipe=Recipe(most=100, parts=4))
    assert len(together) == 1 and [head.name for head in heads] == ["head0a", "head0b"]
    assert {head.motif.consensus for head in heads} == {WORD, second}
    decoys = ["T" * 60] * 10
    peaks, false = find_peaks(model, one + two), find_peaks(model, decoys)
    sites = call_sites(heads, peaks, one + two, IDS, false, decoys)
    truth = [(IDS[i], s, s + 9, "+-"[k]) for i, (s, k) in enumerate(places)]
    truth += [(IDS[50 + i], s, s + 11, "+-"[k]) for i, (s, k) in enumerate(others)]
    assert {(s.chrom, s.start, s.end, s.strand) for s in sites} == set(truth)
    of_second = next(head.name for head in heads if head.motif.consensus == second)
    assert all((site.name == of_second) == (int(site.chrom[1:]) >= 50) for site in sites)


def test_of_heads_that_find_the_same_site_one_calls_it():
    texts, places = planted(60, 40, 4)
    model = ToyDetector([word_matrix(WORD), word_matrix(WORD)])
    heads = extract_motifs(model, texts)
    assert len(heads) == 2
    sites = call_sites(heads, find_peaks(model, texts), texts, IDS[:60], find_peaks(model, ["T" * 40]), ["T" * 40])
    assert [(site.start, site.end) for site in sites] == [(s, s + 9) for s, _ in places]


def test_errors():
    texts, _ = planted(30, 40, 0)
    model = ToyDetector([word_matrix(WORD)])
    heads, peaks = extract_motifs(model, texts), find_peaks(model, texts)
    with pytest.raises(ValueError, match="fdr: expected 0 < fdr < 1, got 1"):
        call_sites(heads, peaks, texts, IDS[:30], peaks, texts, fdr=1)
    with pytest.raises(ValueError, match="decoys: expected at least one, got none"):
        call_sites(heads, peaks, texts, IDS[:30], peaks, [])
