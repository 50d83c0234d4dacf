import math

import numpy as np
import pytest
import statsmodels.api as sm
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from timeseries.probabilities.evaluation import (
    binary_scores,
    bootstrap,
    calibration_line,
    cross_entropy,
    difference_intervals,
    expected_calibration_error,
    logit,
    net_benefit,
    reliability,
    score_intervals,
    subgroup_table,
)


def drawn(n=400, seed=0, slope=1.0, shift=0.0):
    """Targets drawn from the probabilities; slope and shift make those that are answered wrong."""
    rng = np.random.default_rng(seed)
    z = rng.normal(-1.5, 1.2, n)
    y = (rng.random(n) < 1 / (1 + np.exp(-z))).astype(float)
    return y, 1 / (1 + np.exp(-(slope * z + shift)))


def test_ranking_by_hand():
    y, p = np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8])  # scikit-learn's textbook example
    scores = binary_scores(y, p)
    assert (scores.n, scores.prevalence, scores.auroc) == (4, 0.5, 0.75)
    assert scores.auprc == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert scores.brier == pytest.approx((0.01 + 0.16 + 0.4225 + 0.04) / 4)


def test_calibration_error_by_hand():
    p = np.array([0.1, 0.1, 0.1, 0.1, 0.6, 0.6, 0.6, 0.6])
    y = np.array([0, 0, 0, 1, 1, 1, 1, 0])
    groups = reliability(y, p, bins=2)
    assert groups.predicted.tolist() == pytest.approx([0.1, 0.6])
    assert groups.observed.tolist() == [0.25, 0.75] and groups.count.tolist() == [4, 4]
    assert expected_calibration_error(y, p, bins=2) == pytest.approx(0.15)


def test_equal_probabilities_share_a_bin():
    groups = reliability(np.array([0, 1, 0, 1]), np.full(4, 0.5), bins=10)
    assert groups.count.tolist() == [4] and groups.observed.tolist() == [0.5]


@pytest.mark.parametrize(("slope", "shift"), [(1.0, 0.0), (2.0, 0.5), (0.5, -1.0)])
def test_calibration_line_is_that_of_statsmodels(slope, shift):
    y, p = drawn(slope=slope, shift=shift)
    z = logit(p)
    full = sm.GLM(y, sm.add_constant(z), family=sm.families.Binomial()).fit()
    offset = sm.GLM(y, np.ones((len(y), 1)), family=sm.families.Binomial(), offset=z).fit()
    got = calibration_line(y, p)
    assert got[0] == pytest.approx(full.params[1], rel=1e-4)
    assert got[1] == pytest.approx(offset.params[0], abs=1e-5)


def test_calibration_line_knows_what_was_done():
    y, p = drawn(n=40_000, slope=2.0, shift=0.0)
    assert calibration_line(y, p)[0] == pytest.approx(0.5, abs=0.03)  # logits twice too large
    y, p = drawn(n=40_000, slope=1.0, shift=0.7)
    assert calibration_line(y, p)[1] == pytest.approx(-0.7, abs=0.05)


def test_net_benefit_by_hand():
    y, p = np.array([1, 1, 0, 0, 0]), np.array([0.9, 0.2, 0.6, 0.1, 0.3])
    curve = net_benefit(y, p, [0.5, 0.2])
    assert curve.model.tolist() == pytest.approx([1 / 5 - 1 / 5 * 1.0, 2 / 5 - 2 / 5 * 0.25])
    assert curve.treat_all.tolist() == pytest.approx([2 / 5 - 3 / 5, 2 / 5 - 3 / 5 * 0.25])
    assert (net_benefit(y, np.zeros(5)).model == 0).all()  # who never acts gains nothing
    assert np.allclose(net_benefit(y, np.ones(5)).model, net_benefit(y, np.ones(5)).treat_all)
    with pytest.raises(ValueError, match="thresholds"):
        net_benefit(y, p, [1.0])


def test_one_class_has_no_ranking():
    scores = binary_scores(np.zeros(5), np.full(5, 0.2))
    assert math.isnan(scores.auroc) and math.isnan(scores.slope)
    assert scores.brier == pytest.approx(0.04)


@pytest.mark.parametrize(
    ("target", "probability", "name"),
    [([0, 1], [0.1, 1.2], "probability"), ([0, 2], [0.1, 0.2], "target"), ([0, 1], [0.1], "probability")],
)
def test_refuses(target, probability, name):
    with pytest.raises(ValueError, match=name):
        binary_scores(np.array(target), np.array(probability))


def test_bootstrap_draws_whole_patients():
    subjects = np.array(["a", "b", "a", "c", "b", "a"])
    seen = []

    def statistic(rows):
        seen.append(rows)
        return {"rows": float(len(rows))}

    bootstrap(statistic, subjects, repeats=50, seed=1)
    assert seen[0].tolist() == list(range(6))
    for rows in seen[1:]:
        times = np.bincount(rows, minlength=6)
        assert times[0] == times[2] == times[5] and times[1] == times[4]  # all samples of a patient, or none
        assert times[0] + times[1] + times[3] == 3  # three patients are drawn
    assert len({len(rows) for rows in seen[1:]}) > 1


def test_intervals_of_a_mean_have_the_textbook_width():
    values = np.random.default_rng(0).normal(size=400)
    got = bootstrap(lambda rows: {"mean": float(values[rows].mean())}, np.arange(400), repeats=2000)["mean"]
    half = 1.96 * values.std() / 20
    assert got.value == pytest.approx(values.mean())
    assert got.high - got.low == pytest.approx(2 * half, rel=0.08)
    again = bootstrap(lambda rows: {"mean": float(values[rows].mean())}, np.arange(400), repeats=2000)["mean"]
    assert again == got


def test_repeated_patients_widen_the_interval():
    y, p = drawn(200)
    one = score_intervals(y, p, np.arange(200), repeats=100)["auroc"]
    many = score_intervals(np.tile(y, 5), np.tile(p, 5), np.tile(np.arange(200), 5), repeats=100)["auroc"]
    naive = score_intervals(np.tile(y, 5), np.tile(p, 5), np.arange(1000), repeats=100)["auroc"]
    assert many.high - many.low == pytest.approx(one.high - one.low, rel=0.1)
    assert naive.high - naive.low < 0.7 * (many.high - many.low)


def test_differences_are_paired():
    y, p = drawn(300)
    less = difference_intervals(y, p, p, np.arange(300), repeats=20)
    assert all(tuple(interval) == (0.0, 0.0, 0.0) for interval in less.values())
    worse = difference_intervals(y, p, np.full(300, 0.2), np.arange(300), repeats=20)
    assert worse["auroc"].value == pytest.approx(roc_auc_score(y, p) - 0.5)
    assert worse["auprc"].value == pytest.approx(average_precision_score(y, p) - y.mean())
    assert worse["brier"].value == pytest.approx(brier_score_loss(y, p) - brier_score_loss(y, np.full(300, 0.2)))


def test_subgroups():
    y, p = drawn(600)
    half = np.arange(600) < 300
    few = np.arange(600) < 20
    rows = subgroup_table(y, p, np.arange(600), {"first": half, "few": few}, repeats=20)
    assert [row.name for row in rows] == ["first", "few"]
    assert rows[0].auroc.value == pytest.approx(roc_auc_score(y[half], p[half]))
    assert rows[0].auroc.low < rows[0].auroc.value < rows[0].auroc.high
    assert rows[1].scores.n == 20 and math.isnan(rows[1].auroc.value) and math.isnan(rows[1].scores.slope)


def test_cross_entropy_by_hand():
    assert cross_entropy(np.array([0, 1]), np.array([0.5, 0.25])) == pytest.approx((math.log(2) + math.log(4)) / 2)


def test_subjects_and_groups_must_be_those_of_the_samples():
    y, p, who = np.array([0, 1, 1, 0]), np.array([0.1, 0.2, 0.3, 0.2]), np.array(list("abcd"))
    for short in (who[:3], who[:3].tolist()):
        with pytest.raises(ValueError, match=r"subjects: expected one for each of 4 samples, got \(3,\)"):
            score_intervals(y, p, short, repeats=2)
        with pytest.raises(ValueError, match="subjects: expected one for each of 4"):
            difference_intervals(y, p, p, short, repeats=2)
        with pytest.raises(ValueError, match="subjects: expected one for each of 4"):
            subgroup_table(y, p, short, {}, repeats=2)
    with pytest.raises(ValueError, match="probability"):
        score_intervals(y, np.append(p, 0.5), who, repeats=2)
    with pytest.raises(ValueError, match="probability"):
        difference_intervals(y, p, np.append(p, 0.5), who, repeats=2)
    with pytest.raises(ValueError, match=r"groups\['g'\]: expected True or False .* got int64"):
        subgroup_table(y, p, who, {"g": np.array([0, 1, 2, 3])}, repeats=2)
    with pytest.raises(ValueError, match=r"groups\['g'\]: expected one for each of 4"):
        subgroup_table(y, p, who, {"g": np.array([True])}, repeats=2)
