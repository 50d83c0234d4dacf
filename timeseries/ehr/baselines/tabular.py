"""What a model of events must beat: logistic regression and gradient boosting on summary features, and their blend.

Everything is fitted on the training part alone, and chosen there by folds of whole subjects: the strength of the
logistic regression's penalty and the number of boosted trees. The blend is the mean of the two log-odds (of the log
probabilities where there are more classes, of the hazards' log-odds for a time to event).
"""

from collections.abc import Sequence
from typing import Self

import numpy as np
from scipy.special import log_softmax
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import Pipeline

from ...events.samples import EventSamples
from ...events.summary import SummaryFeatures
from ...probabilities.outcomes import Outcome
from ..outcomes import outcome_of
from .tabular_hazards import hazard_methods, strata_of_events
from .tabular_methods import SMALLEST, Folds, Pair, classification, fit_pair, mean_log_odds

NAMES = ("logistic regression", "gradient boosting", "blend")


class TabularBaselines:
    """The two methods and their blend, see `tabular_methods`; for a time to event, see `tabular_hazards`.

    Args:
        seed: Of folds and trees.
        folds: Of the choices inside the training part.
        statistics: Of the summary features.
        trees: Most boosted trees; how many is chosen.
        strengths: Values of C, the inverse of the penalty, to choose from.
        outcome: What is predicted, with the intervals of a time to event; None: as the training samples have it, with
            10 intervals.
        names: Which of the methods, of `NAMES`; one that no name needs is not fitted.

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
        outcome: Outcome | None = None,
        names: Sequence[str] = NAMES,
    ) -> None:
        strange = [name for name in names if name not in NAMES]
        if strange:
            raise ValueError(f"names: expected some of {', '.join(NAMES)}, got {strange[0]!r}")
        self.seed, self.folds, self.statistics, self.trees = seed, folds, tuple(statistics), trees
        self.strengths, self.given, self.names = tuple(strengths), outcome, tuple(names)
        self._wanted = (NAMES[0] in self.names or "blend" in names, NAMES[1] in self.names or "blend" in names)
        self.features: SummaryFeatures | None = None
        self.chosen: list[tuple[float, int]] = []
        self._pairs: list[Pair] = []

    def fit(self, train: EventSamples) -> Self:
        """Fit both methods; of several labels each has its own.

        Raises:
            ValueError: The target is of another kind than the outcome, or a fold would lack a class or events.
        """
        self.outcome = self.given or outcome_of(train.select(~train.unlabelled), 10)
        if train.kind != self.outcome.kind:
            raise ValueError(f"kind: expected {self.outcome.kind}, as the outcome is, got {train.kind}")
        self.features = SummaryFeatures.of(train, self.statistics)
        table = self.features(train)
        if train.kind == "time_to_event":
            self._pairs = [self._fit_hazards(table, train.target, train.subjects)]
        else:
            labels = train.target.T if train.kind == "multilabel" else train.target[None]
            self._pairs = [self._fit_classes(table, label, train.subjects) for label in labels]
        self.chosen = [pair.chosen for pair in self._pairs]
        return self

    def _fit_classes(self, table: np.ndarray, target: np.ndarray, subjects: np.ndarray) -> Pair:
        known = ~np.isnan(target)
        table, target, subjects = table[known], target[known].astype(np.int64), subjects[known]
        labels, counts = np.unique(target, return_counts=True)
        if len(labels) < 2 or counts.min() < self.folds:
            raise ValueError(
                f"target: expected {self.folds} samples or more of two or more classes, got {counts.tolist()}"
            )
        folds = self._draw(target, subjects)
        return fit_pair(classification(self.seed), table, target, folds, self.strengths, self.trees, self._wanted)

    def _fit_hazards(self, table: np.ndarray, target: np.ndarray, subjects: np.ndarray) -> Pair:
        edges = self.outcome.edges
        folds = self._draw(strata_of_events(target, edges, subjects, self.folds), subjects)
        return fit_pair(
            hazard_methods(edges, self.seed), table, target, folds, self.strengths, self.trees, self._wanted
        )

    def _draw(self, strata: np.ndarray, subjects: np.ndarray) -> Folds:
        """Folds of whole subjects, with strata as even as may be."""
        splitter = StratifiedGroupKFold(self.folds, shuffle=True, random_state=self.seed)
        return list(splitter.split(np.zeros(len(strata)), strata, np.unique(subjects, return_inverse=True)[1]))

    def probabilities(self, samples: EventSamples) -> dict[str, np.ndarray]:
        """Method -> probabilities.

        Shapes:
            answer: (N,) of class 1 (binary), (N, classes) (multiclass), (N, labels) (multilabel), or (N, K) of the
            event by the end of each interval (time_to_event), as `Outcome.probabilities` answers
        """
        if self.features is None:
            raise RuntimeError("TabularBaselines: expected fit() to have been called, got no methods yet")
        table, kind = self.features(samples), self.outcome.kind
        both = [[_predicted(model, table) for model in (pair.linear, pair.boosted)] for pair in self._pairs]
        found = {}
        for k, name in enumerate(NAMES):
            if name not in self.names:
                continue
            if kind == "time_to_event":
                hazards = mean_log_odds(*both[0]) if name == "blend" else both[0][k]
                found[name] = 1 - np.cumprod(1 - hazards, axis=1)
                continue
            answers = [_blend(*pair) if name == "blend" else pair[k] for pair in both]
            if kind == "multiclass":
                first = self._pairs[0].linear if self._wanted[0] else self._pairs[0].boosted
                assert first is not None
                found[name] = np.zeros((len(table), self.outcome.outputs))  # of a class never seen it stays 0
                found[name][:, first.classes_] = answers[0]
            else:
                columns = np.stack([answer[:, 1] for answer in answers], axis=1)
                found[name] = columns if kind == "multilabel" else columns[:, 0]
        return found


def _predicted(model: Pipeline | None, table: np.ndarray) -> np.ndarray:
    """Probabilities, none of a method that was not wanted."""
    return np.zeros((len(table), 0)) if model is None else np.asarray(model.predict_proba(table))


def _blend(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Probabilities (N, classes) of the mean log-odds or log probabilities of two methods."""
    if first.shape[1] == 2:
        positive = mean_log_odds(first[:, 1], second[:, 1])
        return np.stack([1 - positive, positive], axis=1)
    both = (np.log(np.clip(p, SMALLEST, 1 - SMALLEST)) for p in (first, second))
    return np.exp(log_softmax(sum(both) / 2, axis=1))
