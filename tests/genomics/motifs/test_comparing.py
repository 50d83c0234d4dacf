from itertools import product
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import false_discovery_control, kstest

from genomics.motifs.comparing import MotifDatabase
from genomics.motifs.files import read_motifs
from genomics.motifs.matrices import Motif

DATA = Path(__file__).parent


def random_motifs(seed, number, low=6, high=14, concentration=0.3):
    rng = np.random.default_rng(seed)
    return [
        Motif(rng.dirichlet([concentration] * 4, rng.integers(low, high + 1)) * 100, id=str(i)) for i in range(number)
    ]


def steps(a, b, levels):
    """The score of two columns, written out: Pearson's r in whole steps."""
    if np.ptp(a) < 1e-12 or np.ptp(b) < 1e-12:
        return round(levels / 2)
    return round((np.corrcoef(a, b)[0, 1] + 1) / 2 * levels)


@pytest.mark.parametrize("both", [True, False])
def test_p_values_by_enumeration(both):
    """Every way to draw the target's columns from the database, for every alignment; nothing convolved."""
    levels, overlap = 20, 2
    targets = random_motifs(0, 3, 2, 3)
    query = random_motifs(9, 1, 3, 3)[0]
    columns = [row for motif in targets for row in motif.frequencies]
    columns += [row[::-1] for row in columns] if both else []
    table = np.array([[steps(a, b, levels) for b in columns] for a in query.frequencies])
    median = [sorted(row)[(len(row) - 1) // 2] for row in table.tolist()]
    for match in MotifDatabase(targets, min_overlap=overlap, both_strands=both, levels=levels).search(query):
        alignments = []
        for strand in "+-" if both else "+":
            rows = match.target.frequencies if strand == "+" else match.target.frequencies[::-1, ::-1]
            for offset in range(-2, 3):
                pairs = [(i, i + offset) for i in range(3) if 0 <= i + offset < len(rows)]
                if len(pairs) >= overlap:
                    score = sum(steps(query.frequencies[i], rows[k], levels) - median[i] for i, k in pairs)
                    alignments.append((score, strand, offset, [i for i, _ in pairs]))
        best = max(score for score, *_ in alignments)
        none = 1.0
        for *_, met in alignments:
            draws = [sum(draw) for draw in product(*([x - median[i] for x in table[i]] for i in met))]
            none *= np.mean([draw < best for draw in draws])
        assert match.p_value == pytest.approx(1 - none, rel=1e-9)
        assert (best, match.strand, match.offset) in [alignment[:3] for alignment in alignments]
        assert match.e_value == pytest.approx(3 * match.p_value)


def test_offsets_and_strands_of_tomtom():
    """What Tomtom 5.1.1 answered for a motif of 8 columns against eleven of FlyFactorSurvey.

    Source: the R package memes (snystrom/memes, MIT), inst/extdata/fasta_ex/fa1_vs_shuffle/tomtom/tomtom.tsv and
    inst/extdata/db/fly_factor_survey_id.meme; options -dist pearson -min-overlap 5. docs/motifs.md has the ranks and
    p-values against all 608 motifs.
    """
    a, t = [0.99498, 6.93166e-05, 6.93166e-05, 0.00488118], [0.00488118, 6.93166e-05, 6.93166e-05, 0.99498]
    query = Motif.from_probabilities([a, a, t, a, a, t, a, a])
    tomtom = {
        "bab1_FlyReg": (0, "-", 8),
        "ap_FlyReg": (-2, "+", 6),
        "Pph13_Cell": (0, "+", 8),
        "jigr1_SANGER_5": (0, "+", 8),
        "So_Cell": (0, "+", 7),
        "Antp_FlyReg": (-1, "+", 6),
        "br-Z4_FlyReg": (0, "+", 6),
        "hb_FlyReg": (-1, "-", 7),
        "zen_FlyReg": (0, "-", 8),
        "Hgtx_SOLEXA": (0, "+", 8),
        "eve_FlyReg": (1, "-", 8),
    }
    matches = MotifDatabase(read_motifs(DATA / "fly_factor_survey_11.meme"), min_overlap=5).search(query)
    assert {match.target.id: (match.offset, match.strand, match.overlap) for match in matches} == tomtom
    assert matches[0].target.id == "bab1_FlyReg"


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(("left", "right"), [(0, 0), (2, 0), (0, 3), (1, 2)])
def test_a_part_of_a_target_is_found_where_it_was_cut_out(left, right, turned):
    targets = random_motifs(1, 80, 12, 14)
    rows = targets[17].counts
    query = Motif(rows[left : len(rows) - right])
    best = MotifDatabase(targets).search(query.reverse_complement() if turned else query)[0]
    assert best.index == 17 and best.target is targets[17]
    assert best.strand == ("-" if turned else "+")
    assert best.offset == (right if turned else left)  # counted on the strand that matches
    assert best.overlap == len(query) and best.correlation == pytest.approx(1)
    assert best.p_value < 1e-6 and best.q_value < 1e-4


def test_a_query_that_reaches_over_the_target():
    targets = random_motifs(1, 80, 8, 8)
    flanks = np.full((3, 4), 25.0)
    query = Motif(np.concatenate([flanks, targets[5].counts, flanks[:1]]))
    best = MotifDatabase(targets).search(query)[0]
    assert (best.index, best.offset, best.strand, best.overlap) == (5, -3, "+", 8)


def test_a_query_much_longer_than_every_target():
    targets = random_motifs(1, 40, 8, 8)
    flank = np.concatenate([motif.counts for motif in random_motifs(2, 30, 10, 10)])
    query = Motif(np.concatenate([flank[:150], targets[9].counts, flank[150:]]))
    best = MotifDatabase(targets).search(query)[0]
    assert (best.index, best.offset, best.strand, best.overlap) == (9, -150, "+", 8)


def test_a_flat_query_matches_nothing():
    targets = [*random_motifs(2, 50), Motif(np.full((10, 4), 5.0), id="flat")]
    for match in MotifDatabase(targets).search(Motif(np.full((10, 4), 25.0))):
        assert match.p_value == match.q_value == 1 and match.correlation == 0


def test_noise_around_a_flat_query_is_significant_as_often_as_q_says():
    # Under the null some q <= 0.05 with a chance of 0.05: of 60 queries more than 9 would be 1 in 1,000.
    database = MotifDatabase(random_motifs(2, 100))
    rng = np.random.default_rng(0)
    noise = [Motif(rng.multinomial(200, [0.25] * 4, 10)) for _ in range(60)]
    assert sum(database.search(query)[0].q_value <= 0.05 for query in noise) <= 9


@pytest.mark.parametrize("min_overlap", [8, 1])
def test_p_values_of_the_null(min_overlap):
    """Targets whose columns are drawn independently: P(p <= a) <= -ln(1 - a), and not far below a."""
    rng = np.random.default_rng(3)
    pool = rng.dirichlet([0.4] * 4, 3000)
    targets = [Motif(pool[rng.integers(0, 3000, rng.integers(6, 15))]) for _ in range(600)]
    database = MotifDatabase(targets, min_overlap=min_overlap)
    found = []
    for query in random_motifs(4, 8, 6, 14, 0.4):
        p = np.array([match.p_value for match in database.search(query)])
        with np.errstate(divide="ignore"):
            bound = np.minimum(-np.log1p(-p), 1)
        assert kstest(bound, "uniform", alternative="greater").pvalue > 0.005
        found.append(p)
    p = np.concatenate(found)
    for a in (0.01, 0.05, 0.2):
        assert 0.75 * a < np.mean(p <= a) < 1.25 * a


def test_short_overlaps_do_not_win():
    """The query's last two columns equal the target's first two; at 8 columns all agree but for noise."""
    rng = np.random.default_rng(0)
    targets = random_motifs(5, 60, 10, 10)
    rows = targets[3].frequencies
    query = np.concatenate([0.8 * rows[:8] + 0.2 * rng.dirichlet([1] * 4, 8), rows[:2]])
    for min_overlap in (1, 8):
        best = MotifDatabase(targets, min_overlap=min_overlap).search(Motif(query))[0]
        assert (best.index, best.offset, best.overlap) == (3, 0, 10)
    few = MotifDatabase([Motif(np.eye(4)[[0, 1, 2]])], min_overlap=8).search(Motif(np.eye(4)[[0, 1]]))[0]
    assert few.overlap == 2  # as many as there are


def test_e_and_q_values_are_over_the_database():
    targets = random_motifs(6, 40)
    matches = MotifDatabase(targets).search(random_motifs(7, 1)[0])
    assert len(matches) == 40 and sorted(match.index for match in matches) == list(range(40))
    p = [match.p_value for match in matches]
    assert p == sorted(p)
    np.testing.assert_allclose([match.e_value for match in matches], np.array(p) * 40)
    np.testing.assert_allclose([match.q_value for match in matches], false_discovery_control(p))


def test_the_correlation_is_numpys():
    targets = random_motifs(8, 20)
    query = random_motifs(9, 1)[0]
    for match in MotifDatabase(targets).search(query):
        rows = (match.target.reverse_complement() if match.strand == "-" else match.target).frequencies
        met = [i for i in range(len(query)) if 0 <= i + match.offset < len(rows)]
        a, b = query.frequencies[met].ravel(), rows[[i + match.offset for i in met]].ravel()
        assert match.correlation == pytest.approx(np.corrcoef(a, b)[0, 1]) and match.overlap == len(met)


def test_errors():
    with pytest.raises(ValueError, match="motifs: expected at least one, got none"):
        MotifDatabase([])
    with pytest.raises(ValueError, match="min_overlap: expected at least 1, got 0"):
        MotifDatabase(random_motifs(0, 1), min_overlap=0)
    with pytest.raises(ValueError, match="levels: expected at least 2, got 1"):
        MotifDatabase(random_motifs(0, 1), levels=1)
