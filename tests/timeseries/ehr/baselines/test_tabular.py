"""Logistic regression, gradient boosting and their blend on summary features, for classes and labels."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from timeseries import EventSamples, Outcome
from timeseries.ehr.baselines.tabular import NAMES, TabularBaselines
from timeseries.ehr.baselines.tabular_methods import Winsorizer

from ...event_fakes import drawn

NAN = float("nan")


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
    unknown = np.where(np.arange(120) == 7, NAN, classes).astype(np.float32)
    model = TabularBaselines(**options).fit(EventSamples(**{**vars(many), "target": unknown}))
    assert model.outcome.names == ("0", "1", "2")  # of those that are known
    several = EventSamples(**{**vars(base), "target": labels, "kind": "multilabel"})
    model = TabularBaselines(**options).fit(several)
    assert all(p.shape == (120, 2) for p in model.probabilities(several).values()) and len(model.chosen) == 2


def test_a_class_without_training_samples_keeps_its_column() -> None:
    base = drawn(60, 4)
    named = {**vars(base), "target": 2 * base.target, "kind": "multiclass", "target_names": ("x", "y", "z")}
    held = EventSamples(**named)
    for p in TabularBaselines(folds=2, trees=3, strengths=[0.1]).fit(held).probabilities(held).values():
        assert p.shape == (60, 3) and (p[:, 1] == 0).all()
        np.testing.assert_allclose(p[:, 0] + p[:, 2], 1, rtol=1e-6)
        assert roc_auc_score(base.target, p[:, 2]) > 0.7


def test_what_cannot_be_fitted_is_refused() -> None:
    base = drawn(10)
    with pytest.raises(ValueError, match="kind: expected multilabel, as the outcome is, got binary"):
        TabularBaselines(outcome=Outcome("multilabel", ("p", "q"))).fit(base)
    with pytest.raises(ValueError, match="expected 5 samples or more of two or more classes"):
        TabularBaselines().fit(EventSamples(**{**vars(base), "target": np.zeros(10, dtype=np.float32)}))
    with pytest.raises(RuntimeError, match=r"expected fit\(\)"):
        TabularBaselines().probabilities(base)
