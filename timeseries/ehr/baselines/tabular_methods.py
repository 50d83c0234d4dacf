"""The tabular methods themselves: how columns are prepared, the two estimators, and how one of each kind is chosen."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from scipy.special import expit, logit
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

SMALLEST = 1e-7
"""Probabilities are clipped to [1e-7, 1 - 1e-7] where their log-odds are taken."""


class Methods(NamedTuple):
    """A linear and a boosted method for one kind of target, and the losses by which folds choose among them.

    Args:
        linear: Its last step has the inverse penalty C.
        boosted: Number of trees -> method.
        scoring: Of the linear method, the more the better, as `GridSearchCV` takes it.
        staged: A boosted method that was fitted, table, target -> its loss after each tree.
    """

    linear: Pipeline
    boosted: Callable[[int], Pipeline]
    scoring: Any
    staged: Callable[[Pipeline, np.ndarray, np.ndarray], Iterable[float]]


class Pair(NamedTuple):
    """Both methods as they were chosen and fitted; None for one that was not wanted.

    Args:
        linear: Logistic regression.
        boosted: Gradient boosting.
        chosen: C and the number of trees; NaN and 0 for one that was not wanted.
    """

    linear: Pipeline | None
    boosted: Pipeline | None
    chosen: tuple[float, int]


Folds = Sequence[tuple[np.ndarray, np.ndarray]]
"""Rows to learn from and rows to judge by."""


def fit_pair(
    methods: Methods,
    table: np.ndarray,
    target: np.ndarray,
    folds: Folds,
    strengths: Sequence[float],
    trees: int,
    wanted: tuple[bool, bool] = (True, True),
) -> Pair:
    """Choose C and the number of trees by the mean loss over the folds, then fit on all rows.

    Args:
        methods: To choose among.
        table: Summary features.
        target: As the methods take it.
        folds: Of the rows.
        strengths: Values of C.
        trees: Most boosted trees.
        wanted: Whether to fit the linear method, and the boosted one.
    """
    linear, boosted, strength, fewest = None, None, math.nan, 0
    if wanted[0]:
        parameter = f"{methods.linear.steps[-1][0]}__C"
        search = GridSearchCV(methods.linear, {parameter: tuple(strengths)}, scoring=methods.scoring, cv=folds)
        search.fit(table, target)
        linear, strength = search.best_estimator_, float(search.best_params_[parameter])
    if wanted[1]:
        losses = np.zeros(trees)
        for learn, judge in folds:
            model = methods.boosted(trees).fit(table[learn], target[learn])
            losses += np.fromiter(methods.staged(model, table[judge], target[judge]), dtype=np.float64, count=trees)
        fewest = int(losses.argmin()) + 1
        boosted = methods.boosted(fewest).fit(table, target)
    return Pair(linear, boosted, (strength, fewest))


def classification(seed: int = 0) -> Methods:
    """For the number of a class: logistic regression and boosted trees, judged by log loss."""
    return Methods(
        make_pipeline(*preparation(), LogisticRegression(max_iter=1000)),
        lambda trees: make_pipeline(Winsorizer(0.0), boosted_trees(trees, seed)),
        "neg_log_loss",
        _staged_log_loss,
    )


def preparation() -> list[BaseEstimator]:
    """For linear methods: clipped to the training quantiles, imputed by the median with indicators, scaled."""
    return [Winsorizer(), SimpleImputer(strategy="median", add_indicator=True), StandardScaler()]


def boosted_trees(trees: int = 300, seed: int = 0) -> HistGradientBoostingClassifier:
    """Small trees on a third of the features each; missing values go their own way in every split."""
    return HistGradientBoostingClassifier(
        learning_rate=0.03,
        max_iter=trees,
        max_leaf_nodes=15,
        max_features=0.3,
        l2_regularization=1.0,
        early_stopping=False,
        random_state=seed,
    )


class Winsorizer(TransformerMixin, BaseEstimator):
    """Clip every column to two quantiles of the training data and leave out those that are empty there; NaN stays.

    Args:
        tail: Share of the values that is clipped on each side; with 0 only what lies beyond the training data is.
    """

    def __init__(self, tail: float = 0.005) -> None:
        self.tail = tail

    def fit(self, table: np.ndarray, target: object = None) -> Self:
        """Learn which columns have values, and their quantiles."""
        self.known_ = ~np.isnan(table).all(axis=0)
        self.low_, self.high_ = np.nanquantile(table[:, self.known_], [self.tail, 1 - self.tail], axis=0)
        return self

    def transform(self, table: np.ndarray) -> np.ndarray:
        """Clip the columns that have values."""
        return np.clip(table[:, self.known_], self.low_, self.high_)


def mean_log_odds(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The probabilities whose log-odds are the mean of those of two arrays of one shape."""
    low, high = SMALLEST, 1 - SMALLEST
    return expit((logit(np.clip(first, low, high)) + logit(np.clip(second, low, high))) / 2)


def _staged_log_loss(model: Pipeline, table: np.ndarray, target: np.ndarray) -> Iterator[float]:
    for stage in model[-1].staged_predict_proba(model[:-1].transform(table)):
        yield log_loss(target, stage, labels=model.classes_)
