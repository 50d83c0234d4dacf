import numpy as np
import pytest

from genomics.detection.data.planting import background, plant, transition_matrix
from genomics.motifs.comparing import MotifDatabase
from genomics.motifs.matrices import Motif
from genomics.motifs.site_model import SiteModel, background_chain
from genomics.sites.calling import sites_of_model
from genomics.sites.extract import HeadMotif
from genomics.sites.records import Site, agreement
from genomics.sites.refining import Refinement, distinct, needed, refine, resized


def matrix(word, strong=0.9):
    rows = np.full((len(word), 4), (1 - strong) / 3)
    rows[np.arange(len(word)), ["ACGT".index(letter) for letter in word]] = strong
    return Motif(rows * 100, name=word, pseudocount=0.5)


ONE, TWO = matrix("TGACCTTAGG"), matrix("CCATTAGATTC")


def sequences(count=600, motifs=(ONE, TWO), seed=0):
    rng = np.random.default_rng(seed)
    return plant(background(count, 60, transition_matrix(), rng), motifs, rng, sites=(1, 1))


def head(number, motif):
    return HeadMotif(number, (), motif, motif, 0)


def cut(motif, first, last, blur=0.3):
    """Some columns of a motif, blurred by the uniform distribution."""
    return Motif((motif.frequencies[first:last] * (1 - blur) + blur / 4) * 50)


def test_cut_and_blurred_starts_become_the_planted_matrices():
    texts, truth = sequences()
    heads = [head(0, cut(ONE, 1, 8)), head(1, cut(TWO, 2, 11)), head(2, cut(ONE, 0, 9, blur=0.2)), head(3, None)]
    database = MotifDatabase([ONE, TWO])
    found = refine(heads, texts, database=database, recipe=Refinement(bits=3))
    assert len(found.motifs) == 2 and found.log_likelihood > 3
    by_name = {one.matches[0].target.name: one for one in found.motifs}
    for planted, names in ((ONE, {"head0", "head2"}), (TWO, {"head1"})):
        one = by_name[planted.name]
        assert one.name in names and len(one.motif) == len(planted)
        assert one.matches[0].overlap == len(planted) and one.matches[0].correlation > 0.99
        true = sum(site.motif == (ONE, TWO).index(planted) for site in truth)
        assert one.motif.sites == pytest.approx(true, rel=0.1)
    # Rates are sites per base of background, and the sites are called where they were planted.
    assert sum(one.rate for one in found.motifs) == pytest.approx(1 / (60 - 9.5), rel=0.1)
    ids = [str(i) for i in range(len(texts))]
    known = [Site(ids[s.sequence], s.start, s.end, "x", 0, s.strand) for s in truth]
    called = sites_of_model(found.model, texts, ids, [one.name for one in found.motifs])
    best = SiteModel((ONE, TWO), np.full(2, 0.5 / (60 - 9.5)), transition_matrix())
    ceiling = agreement(sites_of_model(best, texts, ids, ["1", "2"]), known, dict.fromkeys(ids, 60)).correlation
    assert agreement(called, known, dict.fromkeys(ids, 60)).correlation > ceiling - 0.01 > 0.9
    strands = {(site.chrom, site.start): site.strand for site in known}
    same = [strands[key] == s.strand for s in called if (key := (s.chrom, s.start)) in strands]
    assert len(same) > 500 and np.mean(same) > 0.99


def test_a_motif_that_has_no_sites_goes():
    texts, _ = sequences(motifs=(ONE,))
    heads = [head(0, cut(ONE, 0, 10)), head(1, cut(TWO, 0, 11))]
    assert [one.name for one in refine(heads, texts, recipe=Refinement(bits=3)).motifs] == ["head0"]


def test_needed_drops_a_copy_and_keeps_what_differs():
    texts, _ = sequences()
    chain = background_chain(texts)
    three = SiteModel((ONE, ONE, TWO), np.array([0.005, 0.005, 0.01]), chain)
    assert needed(three, texts) in ([0, 2], [1, 2])


def test_nothing_to_start_from():
    texts, _ = sequences(20)
    assert refine([], texts) is None and refine([head(0, None)], texts) is None
    assert refine([head(0, cut(ONE, 0, 3))], texts) is None  # less than 8 bits


def test_likelihood_never_falls_while_the_columns_stay():
    from genomics.sites.refining import _step

    texts, _ = sequences(200)
    of = SiteModel((cut(ONE, 0, 10), cut(TWO, 0, 11)), np.array([0.002, 0.002]), background_chain(texts))
    of = SiteModel(tuple(Motif(m.counts, pseudocount=1e-3) for m in of.motifs), of.rates, of.transitions)
    values = []
    for _ in range(6):
        of, _, value = _step(of, texts, Refinement(), resize=False)
        values.append(value)
    assert (np.diff(values) > -1e-3).all() and values[-1] > values[0] + 50


def test_columns_join_and_leave():
    chain = np.full((4, 4), 0.25)
    of = SiteModel((ONE,), np.array([0.01]), chain)
    sharp, flat = [97, 1, 1, 1], [25, 25, 25, 25]
    inner = [sharp] * 8
    assert resized(np.array([flat, flat, *inner, flat, flat]), 2, 10, of, Refinement()) == (2, 10)
    assert resized(np.array([flat, sharp, *inner, flat, flat]), 2, 10, of, Refinement()) == (1, 10)
    assert resized(np.array([flat, flat, *inner, sharp, sharp]), 2, 10, of, Refinement()) == (2, 12)
    assert resized(np.array([flat, flat, flat, *inner, flat]), 2, 12, of, Refinement()) == (3, 11)
    assert resized(np.array([flat, flat, *inner, sharp, sharp]), 2, 10, of, Refinement(widest=9)) == (2, 11)
    assert resized(np.array([flat] * 12), 2, 10, of, Refinement(narrowest=6)) in ((4, 10), (2, 8))


def test_a_column_that_follows_from_its_neighbour_does_not_join():
    """Behind a C the background has few G: that alone is no part of a motif."""
    chain = transition_matrix(0.42, 0.25)
    of = SiteModel((ONE,), np.array([0.01]), chain)
    behind = chain[1] * 400
    counts = np.array([[100, 100, 100, 100.0], *[[4, 388, 4, 4.0]] * 7, behind, behind])
    flatter = counts.copy()
    flatter[8] = [200, 30, 150, 20]
    assert resized(counts, 1, 8, of, Refinement())[1] == 8 and resized(flatter, 1, 8, of, Refinement())[1] >= 9


def test_distinct_keeps_the_heavier_of_two_alike():
    assert distinct([ONE, TWO, ONE.reverse_complement()], [1.0, 1.0, 2.0], 0.95) == [1, 2]
    assert distinct([ONE, cut(ONE, 1, 9, blur=0.0)], [1.0, 2.0], 0.95) == [1]
    assert distinct([ONE, TWO], [1.0, 2.0], 0.95) == [0, 1]


def test_errors():
    with pytest.raises(ValueError, match="steps, narrowest, widest: expected at least 1 step"):
        Refinement(steps=0)
    with pytest.raises(ValueError, match=r"alpha: expected a number in \(0, 1\), got 1"):
        Refinement(alpha=1)
    of = SiteModel((ONE,), np.array([0.01]), np.full((4, 4), 0.25))
    with pytest.raises(ValueError, match=r"least: expected 0 < least < 1, got 1"):
        sites_of_model(of, ["ACGT"], ["a"], ["x"], least=1)
    with pytest.raises(ValueError, match="names: expected 1, got 2"):
        sites_of_model(of, ["ACGT"], ["a"], ["x", "y"])
