"""Summary features against sums written sample by sample, and the tabular baselines on them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from timeseries import EventSamples, SummaryFeatures
from timeseries.tabular import NAMES, TabularBaselines, Winsorizer

from .event_fakes import drawn, samples

NAN = float("nan")


def by_hand(held: EventSamples, n: int, code: str, statistic: str) -> float:
    item = held[n]
    mine = [(t, v) for t, c, v in zip(item.time, item.code, item.value, strict=True) if held.codes[c] == code]
    valued = [(float(t), float(v)) for t, v in mine if not np.isnan(v)]
    times, values = [t for t, _ in valued], [v for _, v in valued]
    if statistic == "count":
        return len(mine)
    if statistic == "since_last":
        return item.prediction_time - mine[-1][0] if mine else NAN
    if not valued:
        return NAN
    if statistic == "slope":
        return float(np.polyfit(times, values, 1)[0]) if len(set(times)) > 1 else NAN
    simple = {"last": values[-1], "first": values[0], "min": min(values), "max": max(values), "sum": sum(values)}
    return {**simple, "mean": sum(values) / len(values), "sd": float(np.std(values))}[statistic]


def test_an_example_by_hand() -> None:
    held = samples([[(1, "a", 5.0), (3, "a", 9.0), (3, "b", NAN), (4, "a", NAN)], []])
    features = SummaryFeatures(("a", "b"), statistics=SummaryFeatures.STATISTICS)
    row = dict(zip(features.names, features(held)[0].tolist(), strict=True))
    expected = {"last": 9, "first": 5, "mean": 7, "min": 5, "max": 9, "sd": 2, "sum": 14, "count": 3, "slope": 2}
    assert {name: row[f"a:{name}"] for name in expected} == expected and row["a:since_last"] == 6
    assert row["b:count"] == 1 and row["b:since_last"] == 7 and np.isnan(row["b:mean"])
    empty = features(held)[1]
    assert [name for name, x in zip(features.names, empty, strict=True) if not np.isnan(x)] == ["a:count", "b:count"]


@given(st.integers(0, 10_000))
def test_every_statistic_is_what_a_loop_says(seed: int) -> None:
    held = drawn(6, seed)
    features = SummaryFeatures(("b", "a", "never"), ("age", "height"), SummaryFeatures.STATISTICS)
    table = features(held)
    assert table.dtype == np.float32 and table.shape == (6, len(features.names))
    for n in range(6):
        expected = [by_hand(held, n, *name.split(":")) for name in features.names if ":" in name]
        np.testing.assert_allclose(table[n, :-2], expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(table[:, -2], held.static[:, 0])
    assert np.isnan(table[:, -1]).all()


def test_rows_do_not_depend_on_each_other() -> None:
    held = drawn(30, 3)
    features = SummaryFeatures.of(held)
    np.testing.assert_array_equal(features(held)[[4, 20]], features(held.select([4, 20])))
    assert features(held.select([])).shape == (0, len(features.names))


def test_wrong_statistics_are_refused() -> None:
    for wrong in (("median",), (), ("last", "last")):
        with pytest.raises(ValueError, match="statistics: expected"):
            SummaryFeatures(("a",), statistics=wrong)
    with pytest.raises(ValueError, match="codes: expected every name once"):
        SummaryFeatures(("a", "a"))


def test_winsorizing_by_hand() -> None:
    train = np.array([[0.0, NAN, 1.0], [10.0, NAN, NAN], [5.0, NAN, 3.0]])
    clip = Winsorizer(0.25).fit(train)
    np.testing.assert_array_equal(
        clip.transform(np.array([[-9.0, 5.0, 9.0], [6.0, 1.0, NAN]])), [[2.5, 2.5], [6.0, NAN]]
    )


def test_the_baselines_find_what_is_there() -> None:
    train, test = drawn(300, 1), drawn(300, 2)
    model = TabularBaselines(folds=3, trees=20, strengths=[0.01, 0.1]).fit(train)
    found = model.probabilities(test)
    assert tuple(found) == NAMES and all(p.shape == (300,) for p in found.values())
    for name, p in found.items():
        assert ((p > 0) & (p < 1)).all() and roc_auc_score(test.target, p) > 0.85, name
    logits = [np.log(found[name] / (1 - found[name])) for name in NAMES]
    np.testing.assert_allclose(logits[2], (logits[0] + logits[1]) / 2, atol=1e-6)
    (strength, trees) = model.chosen[0]
    assert strength in (0.01, 0.1) and 1 <= trees <= 20
    again = TabularBaselines(folds=3, trees=20, strengths=[0.01, 0.1]).fit(train).probabilities(test)
    assert all((again[name] == found[name]).all() for name in NAMES)


def test_several_classes_and_labels() -> None:
    base = drawn(120, 4)
    classes = (base.target + (np.arange(120) % 3 == 0)).astype(np.float32)
    options = {"folds": 2, "trees": 3, "strengths": [0.1]}
    many = EventSamples(**{**vars(base), "target": classes, "kind": "multiclass"})
    for p in TabularBaselines(**options).fit(many).probabilities(many).values():
        assert p.shape == (120, 3)
        np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-6)
    labels = np.stack([base.target, np.where(np.arange(120) % 5 == 0, NAN, 1 - base.target)], axis=1).astype(np.float32)
    several = EventSamples(**{**vars(base), "target": labels, "kind": "multilabel"})
    model = TabularBaselines(**options).fit(several)
    assert all(p.shape == (120, 2) for p in model.probabilities(several).values()) and len(model.chosen) == 2


def test_what_cannot_be_fitted_is_refused() -> None:
    base = drawn(10)
    with pytest.raises(ValueError, match="got time_to_event"):
        ends = np.ones((10, 2), dtype=np.float32)
        TabularBaselines().fit(EventSamples(**{**vars(base), "target": ends, "kind": "time_to_event"}))
    with pytest.raises(ValueError, match="expected 5 samples or more of two or more classes"):
        TabularBaselines().fit(EventSamples(**{**vars(base), "target": np.zeros(10, dtype=np.float32)}))
    with pytest.raises(RuntimeError, match="call fit"):
        TabularBaselines().probabilities(base)
