from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genomics.detection.data.planting import background, draw_site, plant, transition_matrix
from genomics.motifs.matrices import Motif
from genomics.sequences import reverse_complement

EXACT = [Motif.from_sites(["GATTACA"]), Motif.from_sites(["CCCGG"])]


@pytest.mark.parametrize(("gc", "cpg"), [(0.42, 0.25), (0.6, 0.5), (0.5, 0.0), (0.3, 2.0)])
def test_the_background_has_the_margins_and_both_strands_are_alike(gc, cpg):
    transitions = transition_matrix(gc, cpg)
    letters = np.array([1 - gc, gc, gc, 1 - gc]) / 2
    assert np.allclose(transitions.sum(1), 1) and np.allclose(letters @ transitions, letters, atol=1e-12)
    joint = letters[:, None] * transitions
    for a in range(4):
        for b in range(4):
            assert joint[a, b] == pytest.approx(joint[3 - b, 3 - a], abs=1e-12)
    ratio = joint[1, 2] * joint[0, 0] / (joint[1, 0] * joint[0, 2])  # an odds ratio, which the fitting keeps
    assert ratio == pytest.approx(cpg, abs=1e-9)


def test_cpg_of_one_is_independence():
    assert np.allclose(transition_matrix(0.4, 1.0), [[0.3, 0.2, 0.2, 0.3]] * 4)


def test_the_background_follows_the_chain():
    transitions = transition_matrix(0.42, 0.25)
    sequences = background(200, 500, transitions, np.random.default_rng(0))
    assert {len(s) for s in sequences} == {500}
    pairs = Counter(s[i : i + 2] for s in sequences for i in range(499))
    first = Counter("".join(sequences))
    for a, letter in enumerate("ACGT"):
        for b, other in enumerate("ACGT"):
            total = sum(pairs[letter + x] for x in "ACGT")
            sigma = np.sqrt(transitions[a, b] * (1 - transitions[a, b]) / total)
            assert abs(pairs[letter + other] / total - transitions[a, b]) < 5 * sigma
    assert abs((first["C"] + first["G"]) / 100_000 - 0.42) < 0.02


def test_sites_come_from_the_motif():
    motif = Motif(np.array([[3, 1, 0, 0], [0, 0, 0, 5]]))
    sites = [draw_site(motif, np.random.default_rng(k)) for k in range(800)]
    assert {site[1] for site in sites} == {"T"}
    assert abs(np.mean([site[0] == "A" for site in sites]) - 0.75) < 5 * np.sqrt(0.75 * 0.25 / 800)
    noisy = [draw_site(motif, np.random.default_rng(k), noise=1.0) for k in range(800)]
    assert abs(np.mean([site[1] == "T" for site in noisy]) - 0.25) < 5 * np.sqrt(0.25 * 0.75 / 800)


@given(
    st.integers(1, 4), st.integers(0, 3), st.integers(0, 8), st.booleans(), st.integers(0, 10_000), st.integers(0, 30)
)
@settings(max_examples=60, deadline=None)
def test_the_truth_is_what_was_planted(fewest, more, spacing, both, seed, spare):
    most = fewest + more
    length = 7 * most + spacing * (most - 1) + spare
    blank = ["N" * length] * 5
    planted, truth = plant(
        blank, EXACT, np.random.default_rng(seed), sites=(fewest, most), spacing=spacing, both_strands=both
    )
    for number, sequence in enumerate(planted):
        own = [site for site in truth if site.sequence == number]
        assert fewest <= len(own) <= most and len(sequence) == length
        covered = set()
        for site, following in zip(own, [*own[1:], None], strict=True):
            letters = sequence[site.start : site.end]
            consensus = EXACT[site.motif].consensus
            assert letters == (consensus if site.strand == "+" else reverse_complement(consensus))
            assert site.strand == "+" or both
            assert following is None or following.start - site.end >= spacing
            covered |= set(range(site.start, site.end))
        assert all(letter == "N" for k, letter in enumerate(sequence) if k not in covered)
        if len(own) <= len(EXACT):
            assert len({site.motif for site in own}) == len(own)


def test_every_arrangement_is_equally_likely():
    """Two sites of 5 in 12 letters without spacing: 2 letters over 3 gaps, 6 arrangements."""
    motifs = [EXACT[1], EXACT[1]]
    planted, _ = plant(["A" * 12] * 3000, motifs, np.random.default_rng(0), sites=(2, 2), spacing=0, both_strands=False)
    counts = Counter(planted)
    assert len(counts) == 6 and all(abs(n - 500) < 5 * np.sqrt(500 * 5 / 6) for n in counts.values())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sites": (0, 1)}, "sites"),
        ({"sites": (2, 1)}, "sites"),
        ({"spacing": -1}, "spacing"),
        ({"noise": 1.5}, "noise"),
        ({"sites": (3, 3), "spacing": 20}, r"sequences\[0\]: expected at least"),
    ],
)
def test_what_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        plant(["A" * 20], EXACT, np.random.default_rng(0), **options)
    with pytest.raises(ValueError, match="motifs"):
        plant(["A" * 20], [], np.random.default_rng(0))
    with pytest.raises(ValueError, match="gc"):
        transition_matrix(gc=1.0)
