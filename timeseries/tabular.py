"""What a model of events must beat: logistic regression and gradient boosting on summary features, and their blend.

Everything is fitted on the training part alone, and chosen there by folds of whole subjects: the strength of the
logistic regression's penalty and the number of boosted trees. The blend is the mean of the two log-odds (of the log
probabilities where there are more classes).
"""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from scipy.special import expit, log_softmax, logit
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from .samples import EventSamples
from .summary import SummaryFeatures

NAMES = ("logistic regression", "gradient boosting", "blend")
_SMALLEST = 1e-7


class TabularBaselines:
    """The two methods and their blend.

    Args:
        seed: Of folds and trees.
        folds: Of the choices inside the training part.
        statistics: Of the summary features.
        trees: Most boosted trees; how many is chosen.
        strengths: Values of C, the inverse of the penalty, to choose from.

    Attributes:
        chosen: What was chosen, by label: (C, trees).
    """

    def __init__(
        self,
        seed: int = 0,
        folds: int = 5,
        statistics: Sequence[str] = SummaryFeatures.DEFAULT,
        trees: int = 400,
        strengths: Sequence[float] = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1),
    ) -> None:
        self.seed, self.folds, self.statistics, self.trees = seed, folds, tuple(statistics), trees
        self.strengths = tuple(strengths)
        self.features: SummaryFeatures | None = None
        self.chosen: list[tuple[float, int]] = []
        self._models: list[tuple[Pipeline, Pipeline]] = []

    def fit(self, train: EventSamples) -> Self:
        """Fit both methods; of several labels each has its own.

        Raises:
            ValueError: The target is a time to event, or a fold would lack a class.
        """
        if train.kind == "time_to_event":
            raise ValueError("kind: expected binary, multiclass or multilabel, got time_to_event")
        self.features = SummaryFeatures.of(train, self.statistics)
        self.kind, self.chosen, self._models = train.kind, [], []
        table = self.features(train)
        targets = train.target if train.kind == "multilabel" else train.target[:, None]
        for target in targets.T:
            known = ~np.isnan(target)
            people = np.unique(train.subjects[known], return_inverse=True)[1]
            self._fit_one(table[known], target[known].astype(np.int64), people)
        return self

    def _fit_one(self, table: np.ndarray, target: np.ndarray, people: np.ndarray) -> None:
        labels, counts = np.unique(target, return_counts=True)
        if len(labels) < 2 or counts.min() < self.folds:
            raise ValueError(
                f"target: expected {self.folds} samples or more of two or more classes, got {counts.tolist()}"
            )
        splitter = StratifiedGroupKFold(self.folds, shuffle=True, random_state=self.seed)
        folds = list(splitter.split(table, target, people))
        search = GridSearchCV(
            logistic_regression(), {"logisticregression__C": self.strengths}, scoring="neg_log_loss", cv=folds
        )
        linear = search.fit(table, target).best_estimator_
        trees = self._choose_trees(table, target, folds)
        boosted = gradient_boosting(trees, self.seed).fit(table, target)
        self._models.append((linear, boosted))
        self.chosen.append((float(search.best_params_["logisticregression__C"]), trees))

    def _choose_trees(self, table: np.ndarray, target: np.ndarray, folds: list[Any]) -> int:
        """The number of trees with the smallest mean log loss over the folds."""
        losses = np.zeros(self.trees)
        labels = np.unique(target)
        for learn, judge in folds:
            model = gradient_boosting(self.trees, self.seed).fit(table[learn], target[learn])
            stages = model[-1].staged_predict_proba(model[:-1].transform(table[judge]))
            losses += [log_loss(target[judge], stage, labels=labels) for stage in stages]
        return int(losses.argmin()) + 1

    def probabilities(self, samples: EventSamples) -> dict[str, np.ndarray]:
        """Method -> probabilities.

        Shapes:
            answer: (N,) of class 1 (binary), (N, classes) (multiclass) or (N, labels) (multilabel)
        """
        if self.features is None:
            raise RuntimeError("TabularBaselines: call fit() first")
        table = self.features(samples)
        both = [[model.predict_proba(table) for model in pair] for pair in self._models]
        found = {}
        for k, name in enumerate(NAMES):
            answers = [_blend(pair) if name == "blend" else pair[k] for pair in both]
            if self.kind == "multiclass":
                found[name] = answers[0]
            else:
                columns = np.stack([answer[:, 1] for answer in answers], axis=1)
                found[name] = columns if self.kind == "multilabel" else columns[:, 0]
        return found


def logistic_regression(strength: float = 0.003) -> Pipeline:
    """Clipped to the training quantiles, imputed by the median with indicators, scaled, with an L2 penalty of 1 / C."""
    return make_pipeline(
        Winsorizer(),
        SimpleImputer(strategy="median", add_indicator=True),
        StandardScaler(),
        LogisticRegression(C=strength, max_iter=1000),
    )


def gradient_boosting(trees: int = 300, seed: int = 0) -> Pipeline:
    """Small trees on a third of the features each; missing values go their own way in every split."""
    trees_on_features = HistGradientBoostingClassifier(
        learning_rate=0.03,
        max_iter=trees,
        max_leaf_nodes=15,
        max_features=0.3,
        l2_regularization=1.0,
        early_stopping=False,
        random_state=seed,
    )
    return make_pipeline(Winsorizer(0.0), trees_on_features)


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


def _blend(pair: Sequence[np.ndarray]) -> np.ndarray:
    """Probabilities (N, classes) of the mean log-odds or log probabilities of two methods."""
    first, second = (np.clip(p, _SMALLEST, 1 - _SMALLEST) for p in pair)
    if first.shape[1] == 2:
        positive = expit((logit(first[:, 1]) + logit(second[:, 1])) / 2)
        return np.stack([1 - positive, positive], axis=1)
    return np.exp(log_softmax((np.log(first) + np.log(second)) / 2, axis=1))
