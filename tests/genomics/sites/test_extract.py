from dataclasses import replace

import numpy as np
import pytest
import torch

from genomics.detector.model import MotifDetector
from genomics.motifs.comparing import MotifDatabase
from genomics.motifs.matrices import Motif
from genomics.sequences.alphabet import reverse_complement
from genomics.sites.extract import Recipe, extract_motifs, random_control, trimmed
from genomics.sites.peaks import best_windows, find_peaks, span

from ..toy_detector import ToyDetector, word_matrix

WORD = "ACGATTGCC"


def planted(number, length, seed, word=WORD):
    """Random sequences with the word at a known place on a known strand."""
    rng = np.random.default_rng(seed)
    texts, places = [], []
    for i in range(number):
        text = "".join(rng.choice(list("ACGT"), length))
        start, strand = int(rng.integers(0, length - len(word) + 1)), i % 2
        inner = reverse_complement(word) if strand else word
        texts.append(text[:start] + inner + text[start + len(word) :])
        places.append((start, strand))
    return texts, places


@pytest.mark.parametrize("shift", [0, 3, -2])
def test_sites_motif_and_strand_are_those_that_were_planted(shift):
    texts, places = planted(60, 60, 0)
    model = ToyDetector([word_matrix(WORD)], shift=shift)
    (head,) = extract_motifs(model, texts, recipe=Recipe(most=100))
    inside = [
        i for i, (s, strand) in enumerate(places) if 9 <= s + 4 + (shift if strand == 0 else -shift) < 60 - 9
    ]  # the window fits
    assert [window.sequence for window in sorted(head.windows)] == inside and len(inside) > 30
    assert head.motif.consensus == WORD and len(head.motif) == len(WORD)
    np.testing.assert_array_equal(head.motif.counts.max(1), len(inside))
    assert head.offset == -4 - shift
    for site, window in zip(head.sites([str(i) for i in range(60)]), head.windows, strict=True):
        start, strand = places[window.sequence]
        assert (site.chrom, site.start, site.end) == (str(window.sequence), start, start + len(WORD))
        assert site.strand == "+-"[strand] and site.name == "head0" and site.score == 1000
        assert window.letters[head.start : head.start + len(WORD)] == WORD


def test_the_reverse_complement_gives_the_same_windows():
    texts, _ = planted(20, 40, 1)
    model = ToyDetector(torch.randn(2, 9, 4, generator=torch.Generator().manual_seed(0)), sharpness=0.7)  # no ties
    turned = [reverse_complement(text) for text in texts]
    for a, b in zip(extract_motifs(model, texts), extract_motifs(model, turned), strict=True):
        assert [w.letters for w in a.windows] == [w.letters for w in b.windows] and len(a.windows) > 5
        np.testing.assert_allclose([w.weight for w in a.windows], [w.weight for w in b.windows], rtol=1e-4)
        assert {w.position + v.position for w, v in zip(a.windows, b.windows, strict=True)} == {39}


def test_peaks_of_a_batch_are_those_of_each_sequence_alone():
    texts = [planted(1, length, length)[0][0] for length in (30, 60, 12, 41, 30)]
    model = MotifDetector(features=16, filters=8, depth=1, encoder_heads=2, heads=3)
    together = find_peaks(model, texts, per_sequence=2, batch_size=4)
    assert model.training  # as before
    for i, text in enumerate(texts):
        alone = find_peaks(model, [text], per_sequence=2)
        np.testing.assert_array_equal(together.position[i], alone.position[0])
        np.testing.assert_array_equal(together.strand[i], alone.strand[0])
        np.testing.assert_allclose(together.weight[i], alone.weight[0], atol=1e-5)
        np.testing.assert_allclose(together.logits[i], alone.logits[0], atol=1e-5)
        assert (together.position[i] < len(text)).all()


def test_peaks_by_hand():
    """One head, softmax of scores 9 ln 2 and 7 ln 2 (two letters off: 9 - 4 = 5) over two sites and a background."""
    text = "T" * 10 + WORD + "T" * 12 + reverse_complement(WORD) + "T" * 10
    model = ToyDetector([word_matrix(WORD) * 10], sharpness=1.0)
    peaks = find_peaks(model, [text], per_sequence=3, separation=9)
    assert sorted(zip(peaks.position[0, 0, :2].tolist(), peaks.strand[0, 0, :2].tolist(), strict=True)) == [
        (14, 0),
        (35, 1),
    ]
    np.testing.assert_allclose(peaks.attention[0, 0, :2], 0.5, atol=1e-6)
    np.testing.assert_allclose(peaks.contribution[0, 0, :2], 45, rtol=1e-5)  # half of 90 on either strand
    np.testing.assert_allclose(peaks.weight[0, 0, :2], 22.5, rtol=1e-5)
    assert peaks.attention[0, 0, 2] < 1e-6 and peaks.logits[0] == pytest.approx(90, rel=1e-5)


def test_a_stretch_counts_once():
    palindrome = "ACGTACGTACGT"
    text = "T" * 20 + palindrome + "T" * 20
    model = ToyDetector([word_matrix(palindrome)], sharpness=2.0)
    peaks = find_peaks(model, [text], per_sequence=2, separation=0)
    # The middle of a window of 12 is its 7th base, so that the two strands peak on neighbouring bases.
    assert sorted(peaks.position[0, 0].tolist()) == [25, 26] and sorted(peaks.strand[0, 0].tolist()) == [0, 1]
    assert len(best_windows(peaks, [text], 0, flank=9, most=10)) == 1


def test_windows_come_by_weight_and_not_below_zero():
    texts = ["T" * 15 + word + "T" * 15 for word in ("ACGATTGCC", "ACGATTGCA", "ACGATTGTA", "CAAGAAAAA")]
    model = ToyDetector([word_matrix(WORD)])
    (head,) = extract_motifs(model, texts[::-1], recipe=Recipe(fewest=1))
    assert [window.sequence for window in head.windows] == [3, 2, 1]  # scores 9, 7, 5, and below 0
    np.testing.assert_allclose([window.weight for window in head.windows], [9, 7, 5], rtol=1e-4)
    assert [site.score for site in head.sites(list("abcd"))] == [1000, 778, 556]
    (head,) = extract_motifs(model, texts[::-1], recipe=Recipe(most=2, fewest=1))
    assert [window.sequence for window in head.windows] == [3, 2]


def test_a_head_without_windows_or_information():
    texts, _ = planted(6, 40, 2)
    (head,) = extract_motifs(ToyDetector([torch.full((9, 4), -1.0)]), texts)  # every window scores -9
    assert head.windows == () and head.motif is None and head.information == 0 and head.sites(["a"] * 6) == []
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("ACGT"), 40)) for _ in range(400)]
    (flat,) = extract_motifs(ToyDetector([torch.ones(9, 4)]), texts, recipe=Recipe(most=400, flank=4))  # 9, the first
    assert sorted(window.letters for window in flat.windows) == sorted(text[:9] for text in texts)
    assert flat.aligned.sites == 400 and flat.motif is None


def test_few_windows_make_no_motif():
    texts, _ = planted(30, 60, 5)
    (head,) = extract_motifs(ToyDetector([word_matrix(WORD)]), texts, recipe=Recipe(fewest=15, most=15))
    assert head.motif.sites == 15
    (head,) = extract_motifs(ToyDetector([word_matrix(WORD)]), texts, recipe=Recipe(fewest=15, most=14))
    assert len(head.windows) == 14 and head.motif is None


def test_trimming_leaves_what_a_search_needs():
    bits = np.array([0.0, 0.1, 0.29, 0.3, 0.0, 2.0, 0.2, 0.1, 0.0, 0.0])
    assert trimmed(bits, 0.3, 1) == (3, 6)
    assert trimmed(bits, 0.3, 5) == (2, 7)  # .29 before .2
    assert trimmed(bits, 0.3, 8) == (0, 8)  # .1 before 0, .1 behind; then 0 before
    assert trimmed(bits, 0.3, 50) == (0, 10)


def test_span_is_symmetric():
    assert span(10, 0, -4, 9) == (6, 15) and span(10, 1, -4, 9) == (6, 15)
    assert span(10, 0, 2, 5) == (12, 17) and span(10, 1, 2, 5) == (4, 9)


def test_known_motifs_are_found_and_the_control_finds_none():
    texts, _ = planted(150, 60, 3)
    rng = np.random.default_rng(4)
    others = [Motif(rng.dirichlet([0.3] * 4, 10) * 100, id=f"M{i}") for i in range(60)]
    known = Motif.from_sites([WORD] * 20, id="known")
    database = MotifDatabase([*others, known])
    (head,) = extract_motifs(ToyDetector([word_matrix(WORD)]), texts, database=database, recipe=Recipe(matches=3))
    best = head.matches[0]
    assert best.target is known and best.q_value < 1e-3 and best.correlation > 0.999 and len(head.matches) == 3
    (control,) = random_control(texts, [head], np.random.default_rng(0), database=database, recipe=Recipe(bits=0))
    assert [w.sequence for w in control.windows] == [w.sequence for w in head.windows]
    assert {w.position for w in control.windows} != {w.position for w in head.windows}
    for window in control.windows:
        cut = texts[window.sequence][window.position - 9 : window.position + 10]
        assert window.letters == (reverse_complement(cut) if window.strand else cut)
    assert control.matches[0].q_value > 0.01 and control.information < head.information / 4


def test_the_control_goes_through_the_same_parting():
    one, _ = planted(60, 60, 6)
    recipe = Recipe(most=60, parts=3)
    heads = extract_motifs(ToyDetector([word_matrix(WORD)]), one, recipe=recipe)
    halves = [replace(heads[0], windows=heads[0].windows[k::2], part=k) for k in range(2)]
    control = random_control(one, halves, np.random.default_rng(0), recipe=recipe)
    assert [(head.head, head.part) for head in control] == [(0, None)]  # noise has one part
    assert sorted(w.sequence for w in control[0].windows) == sorted(w.sequence for w in heads[0].windows)


def test_letters_are_counted_as_they_stand():
    texts = ["TTTTACGATTGCCNTTT", "GGGGGACGRTTGCCTGGGGG"]
    (head,) = extract_motifs(ToyDetector([word_matrix(WORD)]), texts, recipe=Recipe(flank=4, fewest=1))
    assert [window.letters for window in head.windows] == ["ACGATTGCC", "ACGRTTGCC"]
    np.testing.assert_array_equal(head.aligned.counts.sum(1), [2, 2, 2, 1, 2, 2, 2, 2, 2])


def test_errors():
    model = ToyDetector([word_matrix("ACG")])
    with pytest.raises(ValueError, match="sequences: expected at least one, got none"):
        find_peaks(model, [])
    with pytest.raises(ValueError, match=r"sequences\[1\]: expected at least one base, got none"):
        find_peaks(model, ["ACGT", ""])
    with pytest.raises(ValueError, match="per_sequence, separation, batch_size: expected at least 1, 0, 1"):
        find_peaks(model, ["ACGT"], per_sequence=0)
    with pytest.raises(ValueError, match="flank: expected at least 0, got -1"):
        Recipe(flank=-1)
    with pytest.raises(ValueError, match="bits: expected at least 0, got nan"):
        Recipe(bits=float("nan"))
    assert not torch.is_inference_mode_enabled()
