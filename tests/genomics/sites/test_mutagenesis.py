from itertools import product

import numpy as np
import pytest
from scipy.stats import wilcoxon

from genomics.sites.extract import extract_motifs
from genomics.sites.mutagenesis import _elsewhere, _mutant, mutate_sites, site_profile

from ..toy_detector import ToyDetector, word_matrix
from .test_extract import WORD, planted


@pytest.fixture(scope="module")
def toy():
    """A head that the logit depends on, and one that looks at the same sites and adds a constant."""
    texts, _ = planted(40, 60, 0)
    model = ToyDetector([word_matrix(WORD) * 4])
    return model, texts, extract_motifs(model, texts)


def test_the_effect_of_mutating_a_word_by_hand(toy):
    """A site whose nine letters are all replaced scores -36; the best that is left decides the new logit."""
    model, texts, heads = toy
    (effect,) = mutate_sites(model, texts, heads, np.random.default_rng(0), most=20, draws=2)
    assert effect.name == "head0" and effect.sites == 20 and effect.greater == 1
    rng = np.random.default_rng(0)
    places = []
    for window in heads[0].windows[:20]:
        start = window.position - 4
        places.append((window.sequence, start, _elsewhere(60, start, start + 9, rng)))

    def best(text):
        words = [text[i : i + 9] for i in range(52)]
        turned = [word[::-1].translate(str.maketrans("ACGT", "TGCA")) for word in words]
        return max(4 * (2 * sum(a == b for a, b in zip(word, WORD, strict=True)) - 9) for word in [*words, *turned])

    falls = []
    for place in (1, 2):
        drawn = [[36 - best(_mutant(texts[p[0]], p[place], 9, rng)) for p in places] for _ in range(2)]
        falls.append(np.mean(drawn, axis=0))
    assert effect.effect == pytest.approx(falls[0].mean(), rel=1e-5)
    assert effect.control == pytest.approx(falls[1].mean(), abs=1e-4) and effect.control < 1 < effect.effect
    # Falls are whole numbers here and many are equal; the model's differ by rounding, which may part the ties.
    apart = falls[0] - falls[1] + 1e-6 * np.arange(20)
    least, most = (wilcoxon(x, alternative="greater", method="approx").pvalue for x in (falls[0] - falls[1], apart))
    assert least * (1 - 1e-6) <= effect.p_value <= most * (1 + 1e-6) < 1e-4
    np.testing.assert_allclose(effect.by_head, [effect.effect], rtol=1e-5)


def test_a_head_that_adds_nothing_does_not_matter():
    """Attention alone proves nothing: this head finds the word, but the logit is the same wherever it looks."""

    class Indifferent(ToyDetector):
        def look(self, x, lengths=None):
            look = super().look(x, lengths)
            even = look.contribution * 0 + 0.5
            return look._replace(contribution=even, logits=even.sum((1, 2)))

    texts, _ = planted(40, 60, 0)
    model = Indifferent([word_matrix(WORD)])
    (head,) = extract_motifs(model, texts)
    assert head.motif.consensus == WORD
    (effect,) = mutate_sites(model, texts, [head], np.random.default_rng(0))
    assert effect.effect == effect.control == 0 and effect.p_value == 1 and effect.greater == 0
    np.testing.assert_array_equal(site_profile(model, texts, head), np.zeros(19))


def test_the_profile_is_the_motif(toy):
    """One letter of nine off costs 8, where no other window comes near; flanks cost nothing. On both strands."""
    model, texts, heads = toy
    assert {window.strand for window in heads[0].windows[:30]} == {0, 1}
    profile = site_profile(model, texts, heads[0], most=30)
    np.testing.assert_allclose(profile[5:14], 8, rtol=1e-4)
    np.testing.assert_allclose(np.delete(profile, np.arange(5, 14)), 0, atol=1e-4)


def test_elsewhere_never_meets_the_site_and_is_uniform():
    for length, start, width in product((20, 21), (0, 3, 8, 10), (5, 8)):
        allowed = [s for s in range(length - width + 1) if s + width <= start or s >= start + width]
        rng = np.random.default_rng(0)
        drawn = [_elsewhere(length, start, start + width, rng) for _ in range(2000)]
        assert sorted(set(drawn)) == allowed
        assert np.bincount(drawn).max() < 3000 / len(allowed) + 60


def test_mutants_differ_at_every_base_of_the_stretch_and_nowhere_else():
    rng = np.random.default_rng(0)
    text = "acgtNACGTRACGT"
    drawn = [_mutant(text, 3, 7, rng) for _ in range(200)]
    for mutant in drawn:
        assert mutant[:3] == text[:3] and mutant[10:] == text[10:] and len(mutant) == len(text)
        assert [a == b for a, b in zip(mutant[3:10], text[3:10].upper(), strict=True)] == [
            letter in "NR" for letter in text[3:10]
        ]
    assert {mutant[5] for mutant in drawn} == set("CGT")


def test_errors(toy):
    model, texts, heads = toy
    with pytest.raises(ValueError, match="most, draws: expected at least 1, got 0 and 4"):
        mutate_sites(model, texts, heads, np.random.default_rng(0), most=0)
    (empty,) = extract_motifs(ToyDetector([-abs(word_matrix(WORD))]), texts)
    assert mutate_sites(model, texts, [empty], np.random.default_rng(0)) == []
    with pytest.raises(ValueError, match="head: expected at least one window, got none for head 0"):
        site_profile(model, texts, empty)
