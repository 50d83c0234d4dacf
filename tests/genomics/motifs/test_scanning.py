from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

import genomics.motifs.scanning
from genomics.motifs.matrices import Motif
from genomics.motifs.scanning import ScoreDistribution, best_scores, q_values, scan


def random_motif(seed, length, background=(0.25,) * 4):
    return Motif(np.random.default_rng(seed).dirichlet([0.4] * 4, length) * 30, background=background)


def other_strand(sequence):
    return sequence[::-1].translate(str.maketrans("ACGTacgt", "TGCAtgca"))


def score(motif, word, step):
    return sum(round(motif.log_odds[i, "ACGT".index(letter)] / step) for i, letter in enumerate(word))


@pytest.mark.parametrize("background", [(0.25,) * 4, (0.35, 0.15, 0.2, 0.3)])
@pytest.mark.parametrize("length", [1, 2, 6])
def test_p_values_by_enumeration_of_all_words(length, background):
    step = 0.01
    motif = random_motif(length, length, background)
    words = ["".join(word) for word in product("ACGT", repeat=length)]
    chance = np.array([np.prod([background["ACGT".index(letter)] for letter in word]) for word in words])
    scores = np.array([score(motif, word, step) for word in words])
    distribution = ScoreDistribution.of(motif, step)
    expected = np.array([chance[scores >= s].sum() for s in scores])
    np.testing.assert_allclose(distribution.p_values(scores * step), expected, rtol=1e-9)
    assert distribution.lowest == scores.min()
    assert len(distribution.density) == scores.max() - scores.min() + 1
    np.testing.assert_allclose(distribution.density.sum(), 1, atol=1e-12)
    for p in (1e-4, 0.003, 0.2, 1.0):
        wanted = scores[expected <= p]
        threshold = distribution.threshold(p)
        if len(wanted) == 0:
            assert threshold == np.inf
        else:  # every word of at most this p reaches it, and no other word
            assert set(scores[scores * step >= threshold - step / 2]) == set(wanted)


def test_a_threshold_worked_out_by_hand():
    # One position, A with log2 odds 1, C and G and T below: P(S >= score of A) = 1/4.
    motif = Motif([[10, 2, 4, 4]], pseudocount=0)
    distribution = ScoreDistribution.of(motif)
    assert distribution.threshold(0.25) <= 1 and distribution.threshold(0.2499) == np.inf
    np.testing.assert_allclose(distribution.p_values([1.0, np.log2(0.8), np.log2(0.4), 1.1, -9]), [0.25, 0.75, 1, 0, 1])


@settings(max_examples=30, deadline=None)
@given(st.text("ACGTacgtN", max_size=60), st.integers(1, 9), st.integers(0, 10**6), st.booleans())
def test_scan_equals_a_loop_over_the_windows(sequence, length, seed, both):
    motif = random_motif(seed, length, (0.3, 0.2, 0.2, 0.3))
    distribution = ScoreDistribution.of(motif, 0.01)
    rows, every = [], []
    for start in range(len(sequence) - length + 1):
        for strand in (1, -1) if both else (1,):
            word = sequence[start : start + length].upper()
            if "N" not in word:
                steps = score(motif, word if strand == 1 else other_strand(word), 0.01)
                p = float(distribution.p_values(steps * 0.01))
                every.append(p)
                rows.append((start, strand, steps * 0.01, p))
    q = false_discovery_control(every) if every else []
    wanted = [(*row, value) for row, value in zip(rows, q, strict=True) if row[3] <= 0.1]
    hits = scan(motif, [sequence], p_value=0.1, both_strands=both, step=0.01)
    assert hits.windows == len(every) and len(hits) == len(wanted)
    if wanted:
        found = np.stack([hits.start, hits.strand, hits.score, hits.p_value, hits.q_value], axis=1)
        np.testing.assert_allclose(found, wanted, rtol=1e-9)
    best = best_scores(motif, [sequence], both_strands=both, step=0.01)
    np.testing.assert_allclose(best, [max((row[2] for row in rows), default=-np.inf)])


def test_parts_of_long_sequences_join(monkeypatch):
    rng = np.random.default_rng(0)
    sequences = ["".join(rng.choice(list("ACGTN"), n, p=[0.24] * 4 + [0.04])) for n in (500, 3, 0, 257)]
    motif = random_motif(1, 11)
    whole = scan(motif, sequences, p_value=0.05)
    monkeypatch.setattr(genomics.motifs.scanning, "_CHUNK", 16)
    parts = scan(motif, sequences, p_value=0.05)
    assert len(whole) > 20 and set(whole.sequence) == {0, 3}
    for name in ("sequence", "start", "strand", "score", "p_value", "q_value"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(parts, name))
    assert best_scores(motif, sequences)[1:3].tolist() == [-np.inf, -np.inf]


def test_the_other_strand_gives_the_mirrored_hits():
    rng = np.random.default_rng(5)
    sequence = "".join(rng.choice(list("ACGT"), 400))
    motif = random_motif(2, 8)
    here, there = (scan(motif, [s], p_value=0.02) for s in (sequence, other_strand(sequence)))
    mirrored = sorted(zip(400 - 8 - there.start, -there.strand, there.score, strict=True))
    assert len(here) > 5 and sorted(zip(here.start, here.strand, here.score, strict=True)) == mirrored


def test_a_planted_site_is_found_on_its_strand():
    motif = Motif.from_sites(["TGACTCAT"] * 20)
    background = "ACACACACAC" * 20
    hits = scan(motif, [background, background[:50] + "ATGAGTCA" + background[50:], background + "tgactcat"])
    assert [*zip(hits.sequence, hits.start, hits.strand, strict=True)] == [(1, 50, -1), (2, 200, 1)]
    np.testing.assert_allclose(hits.p_value, 4.0**-8)
    np.testing.assert_allclose(hits.q_value, 4.0**-8 * hits.windows / 2)
    assert hits.width == 8


def test_p_values_of_random_windows_are_uniform():
    # For a discrete score P(p <= x) = x at every attainable x: compare counts over 2 x 10^5 windows at three.
    sequence = np.random.default_rng(0).choice(np.frombuffer(b"ACGT", np.uint8), 200_000).tobytes()
    motif = random_motif(4, 10)
    for p in (1e-3, 1e-2, 1e-1):
        hits = scan(motif, [sequence], p_value=p, both_strands=False)
        largest = hits.p_value.max()
        assert abs(len(hits) - largest * hits.windows) < 5 * np.sqrt(largest * hits.windows)


@settings(max_examples=40)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_q_values_are_those_of_scipy(p):
    np.testing.assert_allclose(q_values(p), false_discovery_control(p), atol=1e-15)


def test_wide_motifs_and_many_unknown_letters_do_not_overflow():
    motif = random_motif(0, 150)
    assert len(scan(motif, ["N" * 500, "A" * 149, ""], p_value=1.0)) == 0
    hits = scan(motif, ["ACGT" * 60], p_value=1.0, both_strands=False)
    word = ("ACGT" * 60)[:150]
    np.testing.assert_allclose(hits.score[0], score(motif, word, 0.001) * 0.001)
    assert len(hits) == 91


def test_errors():
    motif = random_motif(0, 4)
    with pytest.raises(ValueError, match="expected a positive pseudocount"):
        scan(replace(Motif.from_sites(["ACGT"]), pseudocount=0), ["ACGT"])
    with pytest.raises(ValueError, match="p: expected 0 < p <= 1, got 0"):
        scan(motif, ["ACGT"], p_value=0)
    with pytest.raises(ValueError, match="step: expected a positive number of bits, got 0"):
        scan(motif, ["ACGT"], step=0)
    with pytest.raises(ValueError, match="step: expected at most 4194304 scores"):
        scan(motif, ["ACGT"], step=1e-9)
