import itertools
import math

import numpy as np
import pytest

from genomics.detection.data.planting import transition_matrix
from genomics.motifs.matrices import Motif
from genomics.motifs.site_model import SiteModel, background_chain, posteriors
from genomics.sequences.alphabet import reverse_complement


def model(rates=(0.1, 0.05), seed=0, symmetric=False):
    rng = np.random.default_rng(seed)
    motifs = tuple(Motif(rng.dirichlet([0.6] * 4, size=width) * 20, pseudocount=0.8) for width in (2, 3))
    if symmetric:
        transitions = transition_matrix(0.42, 1.0)  # independent letters: the chain reads from left to right
    else:
        transitions = rng.dirichlet([2.0] * 4, size=4)
    return SiteModel(motifs, np.array(rates), transitions)


def every_way(of, text):
    """Each way to cut a text into background and sites, with its weight: (weight, [(motif, strand, start), ...])."""
    codes = ["ACGTN".index(letter) for letter in text]

    def background(place):
        if codes[place] == 4:
            return 1.0
        known = place > 0 and codes[place - 1] != 4
        return of.transitions[codes[place - 1], codes[place]] if known else of.letters[codes[place]]

    def site(m, strand, start):
        p = of.motifs[m].probabilities
        p = p[::-1, ::-1] if strand else p
        some = codes[start : start + len(p)]
        return math.prod(1.0 if code == 4 else p[k, code] for k, code in enumerate(some))

    def onwards(place):
        if place == len(text):
            yield 1.0, []
            return
        for weight, sites in onwards(place + 1):
            yield (1 - of.rates.sum()) * background(place) * weight, sites
        for m, strand in itertools.product(range(len(of.motifs)), (0, 1)):
            if place + len(of.motifs[m]) <= len(text):
                own = of.rates[m] / 2 * site(m, strand, place)
                for weight, sites in onwards(place + len(of.motifs[m])):
                    yield own * weight, [(m, strand, place), *sites]

    plain = math.prod(background(place) for place in range(len(text)))
    return list(onwards(0)), plain


@pytest.mark.parametrize("text", ["ACGTACG", "GGTCA", "A", "TTNACNG", "NN"])
def test_chances_are_sums_over_every_way_to_place_sites(text):
    of = model()
    ways, plain = every_way(of, text)
    total = sum(weight for weight, _ in ways)
    (found,) = posteriors(of, [text])
    assert found.log_odds[0] == pytest.approx(math.log(total / plain), abs=1e-12)
    expected, covered = np.zeros(found.sites.shape[1:]), np.zeros(len(text))
    for weight, sites in ways:
        for m, strand, start in sites:
            expected[m, strand, start] += weight / total
            covered[start : start + len(of.motifs[m])] += weight / total
    np.testing.assert_allclose(found.sites[0], expected, atol=1e-12)
    np.testing.assert_allclose(found.coverage(of.widths)[0], covered, atol=1e-12)


def test_padding_and_chunks_do_not_matter():
    rng = np.random.default_rng(1)
    texts = ["".join(rng.choice(list("ACGT"), rng.integers(1, 40))) for _ in range(700)]
    of = model()
    parts = list(posteriors(of, texts))
    assert [part.first for part in parts] == [0, 512]
    together = np.concatenate([part.log_odds for part in parts])
    for i in (0, 3, 511, 512, 699):
        (alone,) = posteriors(of, [texts[i]])
        part = parts[i // 512]
        width = len(texts[i])
        np.testing.assert_allclose(part.sites[i % 512, :, :, :width], alone.sites[0], atol=1e-12)
        assert not part.sites[i % 512, :, :, width:].any()
        assert together[i] == pytest.approx(alone.log_odds[0], abs=1e-9)


def test_the_reverse_complement_has_the_same_sites_on_the_other_strand():
    text = "ACGTTGCATTAGGCAACC"
    of = model(symmetric=True)
    (one,), (other,) = posteriors(of, [text]), posteriors(of, [reverse_complement(text)])
    assert one.log_odds[0] == pytest.approx(other.log_odds[0], abs=1e-10)
    for m, width in enumerate(of.widths.tolist()):
        last = len(text) - width + 1
        np.testing.assert_allclose(one.sites[0, m, :, :last], other.sites[0, m, ::-1, :last][:, ::-1], atol=1e-10)


def test_long_sequences_stay_finite():
    text = "ACGTTGCATTAGGCAACC" * 300
    (found,) = posteriors(model(rates=(0.3, 0.3)), [text])
    assert np.isfinite(found.log_odds).all() and np.isfinite(found.sites).all()
    assert found.coverage(np.array([2, 3])).max() <= 1 + 1e-9


def test_background_chain_by_hand():
    # Pairs AA, AC, and on the other strand GT, TT; N stops a pair.
    counts = np.array([[1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 1]]) + 0.5
    np.testing.assert_allclose(background_chain(["AACNG"], prior=0.5), counts / counts.sum(1, keepdims=True))


def test_errors():
    of = model()
    with pytest.raises(ValueError, match="motifs: expected at least one, got none"):
        SiteModel((), np.array([]), of.transitions)
    with pytest.raises(ValueError, match="rates: expected 2 positive numbers that add up to less than 1"):
        SiteModel(of.motifs, np.array([0.5, 0.5]), of.transitions)
    with pytest.raises(ValueError, match="transitions: expected four rows"):
        SiteModel(of.motifs, of.rates, np.ones((4, 4)))
    with pytest.raises(ValueError, match=r"sequences\[1\]: expected at least one base, got none"):
        list(posteriors(of, ["A", ""]))
