"""Hazards from a table: rows by hand, scikit-learn on the rows written out, known hazards that are found again."""

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from timeseries import EventSamples, Outcome
from timeseries.ehr.baselines import tabular
from timeseries.ehr.baselines.tabular import NAMES, TabularBaselines
from timeseries.ehr.baselines.tabular_hazards import (
    BoostedHazards,
    LogisticHazards,
    hazard_methods,
    person_periods,
    strata_of_events,
)
from timeseries.ehr.baselines.tabular_methods import fit_pair
from timeseries.ehr.outcomes import outcome_of
from timeseries.probabilities.hazards import hazard_loss
from timeseries.probabilities.outcomes import Concordance

from ...event_fakes import samples
from ...probabilities.test_hazards import EDGES as ENDS
from ...probabilities.test_hazards import likelihood

EDGES = tuple(ENDS.tolist())  # 2, 5, 10
TRUE = ((-2.0, -1.0, -0.5), 1.2)  # effects of the intervals, and of the one feature


def drawn_times(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Durations and events: logit h_k = a_k + b x in the intervals of EDGES, a quarter leaves at a random time."""
    hazards = 1 / (1 + np.exp(-(np.array(TRUE[0]) + TRUE[1] * x[:, None])))
    happens = rng.random(hazards.shape) < hazards
    first = np.where(happens.any(axis=1), happens.argmax(axis=1), 3)
    low, high = np.array([0.0, 2.0, 5.0, 10.0]), np.array([2.0, 5.0, 10.0, 12.0])
    duration = rng.uniform(low[first], high[first])
    leave = np.where(rng.random(len(x)) < 0.25, rng.uniform(0, 10, len(x)), 10.0)
    return np.stack([np.minimum(duration, leave), duration < leave], axis=1)


def timed(n: int, seed: int = 0, *, visits: int = 1) -> tuple[EventSamples, np.ndarray]:
    """Samples whose code "a" says the risk, with noise in "b"; and that risk."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    events = [[(1.0, "b", float(rng.normal())), (2.0, "a", float(value))] for value in x]
    target = drawn_times(x, rng)
    subjects = [f"s{k // visits}" for k in range(n)]
    return samples(events, target, subjects=subjects, kind="time_to_event"), x  # type: ignore[arg-type]


def rows_by_hand(table: np.ndarray, target: np.ndarray) -> tuple[list[list[float]], list[int]]:
    """(interval, features) and whether the event was there, written sample by sample."""
    rows, events = [], []
    for x, (duration, event) in zip(table.tolist(), target.tolist(), strict=True):
        for k, (start, end) in enumerate(pairwise([0.0, *EDGES])):
            ends_here = start <= duration < end
            if duration >= end or (ends_here and (event or duration >= (start + end) / 2)):
                rows.append([k, *x])
                events.append(int(ends_here and event))
    return rows, events


@pytest.mark.parametrize(
    ("duration", "event", "rows"),
    [
        (1.0, 1, [(0, 1)]),
        (2.0, 1, [(0, 0), (1, 1)]),  # an interval does not hold its end
        (9.0, 1, [(0, 0), (1, 0), (2, 1)]),
        (10.0, 1, [(0, 0), (1, 0), (2, 0)]),  # beyond the last interval
        (0.5, 0, []),
        (3.4, 0, [(0, 0)]),  # left before the middle of the second interval
        (3.5, 0, [(0, 0), (1, 0)]),
        (50.0, 0, [(0, 0), (1, 0), (2, 0)]),
    ],
)
def test_rows_by_hand(duration: float, event: int, rows: list[tuple[int, int]]) -> None:
    target = np.array([[1.5, 1], [duration, event]], dtype=np.float32)
    periods = person_periods(target, EDGES)
    assert periods.sample.tolist() == [0] + [1] * len(rows)
    assert list(zip(periods.interval.tolist(), periods.event.tolist(), strict=True))[1:] == rows


def test_the_likelihood_of_the_rows_is_that_of_hazard_loss() -> None:
    rng = np.random.default_rng(0)
    target = np.stack([rng.choice([0.0, 1.0, 2.0, 3.5, 5.0, 7.4, 7.5, 10.0, 11.0], 60), rng.random(60) < 0.5], axis=1)
    z = rng.normal(size=(60, 3))
    h = 1 / (1 + np.exp(-z))
    sample, interval, event = person_periods(target, EDGES)
    rows = np.log(np.where(event, h[sample, interval], 1 - h[sample, interval]))
    likelihoods = np.bincount(sample, rows, minlength=60)
    ours = hazard_loss(torch.from_numpy(z), torch.from_numpy(target), ENDS.double())
    np.testing.assert_allclose(-likelihoods, ours.numpy(), rtol=1e-12, atol=1e-12)
    by_hand = [likelihood(p, d, e) for p, (d, e) in zip(h.tolist(), target.tolist(), strict=True)]
    np.testing.assert_allclose(np.exp(likelihoods), by_hand, rtol=1e-12)


@pytest.mark.parametrize("strength", [0.003, 1.0])
def test_logistic_hazards_are_scikit_learns_on_the_rows_written_out(strength: float) -> None:
    rng = np.random.default_rng(1)
    table = rng.normal(size=(200, 2))
    target = drawn_times(table[:, 0], rng)
    rows, events = rows_by_hand(table, target)
    indicators = np.eye(3)[[int(row[0]) for row in rows]]
    wide = np.concatenate([1e3 * indicators, np.array(rows)[:, 1:]], axis=1)  # a penalty a million times weaker
    peer = LogisticRegression(C=strength, fit_intercept=False, solver="newton-cg", tol=1e-10, max_iter=1000)
    coefficients = peer.fit(wide, events).coef_[0]
    ours = LogisticHazards(EDGES, strength).fit(table, target)
    np.testing.assert_allclose(ours.intercept_, 1e3 * coefficients[:3], atol=1e-4)
    np.testing.assert_allclose(ours.coef_, coefficients[3:], atol=1e-4)
    expected = 1 / (1 + np.exp(-(ours.intercept_[None] + table @ ours.coef_[:, None])))
    np.testing.assert_allclose(ours.predict_proba(table), expected)


def test_the_penalty_leaves_the_intervals_alone() -> None:
    """With next to nothing allowed for the features, hazards are events over people at risk: a life table."""
    times = [(1, 1), (1, 1), (1.5, 0), (3, 1), (4, 0), (4, 1), (7, 1), (12, 0), (12, 0), (12, 0)]
    target = np.array(times, dtype=np.float32)
    table = np.random.default_rng(0).normal(size=(10, 2))
    model = LogisticHazards(EDGES, 1e-9).fit(table, target)
    np.testing.assert_allclose(model.predict_proba(table), [[2 / 10, 2 / 7, 1 / 4]] * 10, rtol=1e-4)


def test_intervals_without_events_or_survivors_or_people_have_finite_hazards() -> None:
    target = np.array([(1, 1), (1, 1), (2, 0), (4, 0), (4, 0), (7, 1), (7, 1)], dtype=np.float32)
    model = LogisticHazards((*EDGES, 20.0)).fit(np.zeros((7, 1)), target)
    overall = 4.5 / 14  # 13 rows, 4 events
    np.testing.assert_allclose(model.predict_proba(np.zeros((1, 1)))[0], [2 / 7, 1e-7, 1 - 1e-7, overall], rtol=1e-3)


def test_boosted_hazards_are_scikit_learns_on_the_rows_written_out() -> None:
    rng = np.random.default_rng(2)
    table = rng.normal(size=(150, 3))
    target = drawn_times(table[:, 0], rng)
    table[rng.random((150, 3)) < 0.1] = np.nan
    rows, events = rows_by_hand(table, target)
    ours = BoostedHazards(EDGES, trees=12, seed=3).fit(table, target)
    options: dict[str, Any] = {"max_leaf_nodes": 15, "max_features": 0.3, "l2_regularization": 1.0}
    peer = HistGradientBoostingClassifier(
        learning_rate=0.03, max_iter=12, early_stopping=False, random_state=3, **options
    )
    peer.fit(np.array(rows)[:, [1, 2, 3, 0]], events)
    hazards = ours.predict_proba(table)
    for k in range(3):
        expected = peer.predict_proba(np.concatenate([table, np.full((150, 1), k)], axis=1))[:, 1]
        np.testing.assert_allclose(hazards[:, k], expected, rtol=1e-12)
    assert (hazards[:, 0] < hazards[:, 2]).mean() > 0.9  # the interval counts


def test_the_loss_after_every_tree_is_hazard_loss() -> None:
    rng = np.random.default_rng(4)
    table = rng.normal(size=(80, 2))
    target = drawn_times(table[:, 0], rng)
    losses = list(BoostedHazards(EDGES, trees=4).fit(table, target).staged_losses(table, target))
    for trees, loss in enumerate(losses, start=1):
        z = BoostedHazards(EDGES, trees=trees).fit(table, target).decision_function(table)
        expected = hazard_loss(torch.from_numpy(z), torch.from_numpy(target), ENDS.double()).mean()
        assert loss == pytest.approx(float(expected), rel=1e-9)
    assert len(losses) == 4 and losses == sorted(losses, reverse=True)


def concordance(risk: np.ndarray, target: np.ndarray) -> float:
    metric = Concordance()
    metric.update(torch.from_numpy(risk), torch.from_numpy(target))
    return float(metric.compute())


def test_known_hazards_are_found_again() -> None:
    (train, _), (test, x) = timed(1500, 1), timed(600, 2)
    outcome = Outcome("time_to_event", ("by 2", "by 5", "by 10"), EDGES)
    options: dict[str, Any] = {"folds": 2, "trees": 80, "strengths": [1.0], "statistics": ("last",)}
    model = TabularBaselines(outcome=outcome, **options).fit(train)
    found = model.probabilities(test)
    hazards = 1 / (1 + np.exp(-(np.array(TRUE[0]) + TRUE[1] * x[:, None])))
    truth = 1 - np.cumprod(1 - hazards, axis=1)
    assert tuple(found) == NAMES
    best = concordance(x, test.target)
    assert best > 0.7
    for name, p in found.items():
        assert p.shape == (600, 3) and ((p > 0) & (p < 1)).all() and (np.diff(p, axis=1) > 0).all()
        assert np.corrcoef(p.sum(axis=1).argsort().argsort(), x.argsort().argsort())[0, 1] > 0.95, name
        assert concordance(p.sum(axis=1), test.target) > best - 0.01, name
        assert np.abs(p - truth).mean() < 0.05, name
    assert np.quantile(np.abs(found["logistic regression"] - truth), 0.99) < 0.05
    logits = []
    for name in NAMES:  # back from the probabilities to the hazards
        survived = np.concatenate([np.ones((600, 1)), 1 - found[name]], axis=1)
        h = 1 - survived[:, 1:] / survived[:, :-1]
        logits.append(np.log(h / (1 - h)))
    np.testing.assert_allclose(logits[2], (logits[0] + logits[1]) / 2, atol=1e-8)
    expected = outcome.probabilities(torch.from_numpy(logits[2])).numpy()
    np.testing.assert_allclose(found["blend"], expected, atol=1e-6)
    ((strength, trees),) = model.chosen
    assert strength == 1.0 and 1 <= trees <= 80


def test_intervals_are_those_of_the_outcome_or_of_the_training_part() -> None:
    held, _ = timed(120)
    options: dict[str, Any] = {"folds": 2, "trees": 2, "strengths": [0.1]}
    own = TabularBaselines(**options).fit(held)
    assert own.outcome == outcome_of(held, 10) and own.probabilities(held)["blend"].shape == (120, 10)
    three = TabularBaselines(outcome=outcome_of(held, 3), **options).fit(held)
    assert three.probabilities(held)["blend"].shape == (120, 3)


def test_no_subject_is_in_two_parts_of_a_fold(monkeypatch: pytest.MonkeyPatch) -> None:
    held, _ = timed(120, visits=4)
    seen = []

    def watched(methods: Any, table: np.ndarray, target: np.ndarray, folds: Any, *options: Any) -> Any:
        seen.extend(folds)
        return fit_pair(methods, table, target, folds, *options)

    monkeypatch.setattr(tabular, "fit_pair", watched)
    TabularBaselines(folds=3, trees=2, strengths=[0.1]).fit(held)
    assert len(seen) == 3 and sorted(np.concatenate([judge for _, judge in seen])) == list(range(120))
    for learn, judge in seen:
        assert not set(held.subjects[learn]) & set(held.subjects[judge]) and len(learn) + len(judge) == 120


def test_folds_choose_what_predicts_best() -> None:
    """Of a signal a weak penalty and many trees, of noise a strong one and few."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=400)
    noise = rng.normal(size=(400, 20))
    target = drawn_times(x, rng)
    parts = np.array_split(np.arange(400), 4)
    folds = [(np.setdiff1d(np.arange(400), judge), judge) for judge in parts]
    chosen = [
        fit_pair(hazard_methods(EDGES), table, target, folds, (1e-4, 1e-2, 1.0), 60).chosen
        for table in (np.column_stack([x, noise[:, 0]]), noise)
    ]
    assert chosen[0][0] == 1.0 and chosen[0][1] > 40 and chosen[1][0] == 1e-4 and chosen[1][1] < 40
    losses = []
    for strength in (1e-4, 1e-2, 1.0):
        total, model = 0.0, hazard_methods(EDGES).linear.set_params(logistichazards__C=strength)
        for learn, judge in folds:
            model.fit(noise[learn], target[learn])
            h = model.predict_proba(noise[judge]).tolist()
            total -= sum(math.log(likelihood(p, *t)) for p, t in zip(h, target[judge].tolist(), strict=True))
        losses.append(total)
    assert losses == sorted(losses)  # the choice is that of the likelihood written out


def test_events_are_even_over_folds_unless_everybody_has_one() -> None:
    people = np.arange(12)
    target = np.stack([np.full(12, 3.0), people % 3 == 0], axis=1)
    assert strata_of_events(target, EDGES, people, 3).tolist() == (people % 3 == 0).tolist()
    target[:-1, 1] = 1  # one alone without: no fold but one could have it
    assert not strata_of_events(target, EDGES, people, 3).any()


@pytest.mark.parametrize(
    ("events", "duration", "visits", "got"),
    [
        (2, 3.0, 1, "got 2 and 20"),
        (8, 3.0, 4, "got 2 and 5"),  # eight events, of two subjects
        (20, 12.0, 1, "got 0 and 20"),  # behind the last interval
        (20, 1.0, 1, "got 20 and 0"),
    ],
)
def test_too_few_events_are_refused(events: int, duration: float, visits: int, got: str) -> None:
    target = [(duration, int(k < events)) for k in range(20)]
    subjects = [f"s{k // visits}" for k in range(20)]
    held = samples([[(1.0, "a", 1.0)]] * 20, target, subjects=subjects, kind="time_to_event")  # type: ignore[arg-type]
    outcome = Outcome("time_to_event", ("by 2", "by 5", "by 10"), EDGES)
    with pytest.raises(ValueError, match=f"target: expected 5 subjects or more with an event, .*{got}"):
        TabularBaselines(outcome=outcome).fit(held)
