r"""Hazards from a table: the pooled logistic regression of person-periods, and boosted trees on the same rows.

.. math:: -\log L = -\sum_i \sum_{k \in R_i} \left[ y_{ik} \log h_{ik} + (1 - y_{ik}) \log (1 - h_{ik}) \right],
   \qquad \operatorname{logit} h_{ik} = a_k + b^\top x_i

R_i are the intervals in which sample i was at risk, y_ik = 1 in the one that held its event: the likelihood of
`hazards` is that of a binary regression with one row per sample and interval at risk. The features x do not change from
row to row, so the logistic regression needs no copies of them. Trees take the number of the interval as one more,
ordered, feature in the place of a_k, so that effects may change in time.

References:
    Singer and Willett: It's about time: using discrete-time survival analysis to study duration and the timing of
    events, Journal of Educational Statistics 18 (1993) 155-195 (rows, and an indicator per period).
    Tutz and Schmid: Modeling discrete time-to-event data, Springer 2016, chapter 3 (the likelihood is that of binary
    responses) and chapter 6 (trees).
"""

import warnings
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Self

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.special import expit, logit
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import Pipeline, make_pipeline

from ...probabilities.hazards import exposure, hazard_loss
from .tabular_methods import SMALLEST, Methods, Winsorizer, boosted_trees, preparation


class Periods(NamedTuple):
    """One row per sample and interval at risk, sample by sample.

    Shapes:
        sample, interval: (R,) int64; event: (R,) bool, whether this interval held the sample's event
    """

    sample: np.ndarray
    interval: np.ndarray
    event: np.ndarray


def person_periods(target: np.ndarray, edges: Sequence[float]) -> Periods:
    """The rows of samples; who is at risk is what `hazards.exposure` says.

    Args:
        target: Duration in hours, and 1 for an event or 0 for a censoring.
        edges: Ends of the intervals in hours.

    Shapes:
        target: (N, 2); edges: (K,).
    """
    at_risk, within = _exposure(target, edges)
    sample, interval = np.nonzero(at_risk)
    return Periods(sample, interval, within[sample, interval])


def strata_of_events(target: np.ndarray, edges: Sequence[float], people: np.ndarray, folds: int) -> np.ndarray:
    """Whether each sample's event is in an interval, to draw folds by; one class where a fold would lack the other.

    Args:
        target: Duration and event.
        edges: Ends of the intervals.
        people: Whose each sample is.
        folds: How many will be drawn.

    Shapes:
        target: (N, 2); edges: (K,); people: (N,); answer: (N,) bool

    Raises:
        ValueError: Fewer subjects than folds have an event, or an interval without one.
    """
    at_risk, within = _exposure(target, edges)
    event, survived = np.any(within, axis=1), np.any(at_risk & ~within, axis=1)
    counts = [len(np.unique(people[rows])) for rows in (event, survived)]
    if min(counts) < folds:
        raise ValueError(
            f"target: expected {folds} subjects or more with an event, and with an interval that they survived, "
            f"got {counts[0]} and {counts[1]}"
        )
    return event if (~event).sum() >= folds else np.zeros_like(event)


def hazard_methods(edges: Sequence[float], seed: int = 0) -> Methods:
    """For targets (N, 2) of duration and event: `LogisticHazards` and `BoostedHazards`, judged by `hazard_loss`."""
    ends = tuple(edges)
    return Methods(
        make_pipeline(*preparation(), LogisticHazards(ends)),
        lambda trees: make_pipeline(Winsorizer(0.0), BoostedHazards(ends, trees, seed)),
        _log_likelihood,
        lambda model, table, target: model[-1].staged_losses(model[:-1].transform(table), target),
    )


class LogisticHazards(BaseEstimator):
    r"""Pooled logistic regression of the person-periods.

    .. math:: \min_{a, b} \; C \, (-\log L) + \tfrac{1}{2} \lVert b \rVert^2

    The penalty does not touch the effects a of the intervals. They are held within logit(1e-7) and logit(1 - 1e-7), so
    that an interval in which nobody or everybody had the event has a finite one; one in which nobody was at risk
    keeps the hazard of all rows.

    Args:
        edges: Ends of the intervals in hours.
        C: Inverse of the penalty.
    """

    def __init__(self, edges: Sequence[float], C: float = 0.003) -> None:
        self.edges, self.C = edges, C

    def fit(self, table: np.ndarray, target: np.ndarray) -> Self:
        """Fit a and b.

        Shapes:
            table: (N, F) without NaN; target: (N, 2)
        """
        at_risk, within = _exposure(target, self.edges)
        count, rows = len(self.edges), at_risk.sum()

        def objective(parameters: np.ndarray) -> tuple[float, np.ndarray]:
            a, b = parameters[:count], parameters[count:]
            z = a + (table @ b)[:, None]
            slope = at_risk * (expit(z) - within)
            value = (at_risk * (np.logaddexp(0, z) - within * z)).sum() + b @ b / (2 * self.C)
            gradient = np.concatenate([slope.sum(axis=0), table.T @ slope.sum(axis=1) + b / self.C])
            return value / rows, gradient / rows

        start = np.zeros(count + table.shape[1])
        start[:count] = logit((within.sum() + 0.5) / (rows + 1))
        limit = logit(1 - SMALLEST)
        bounds = [(-limit, limit)] * count + [(None, None)] * table.shape[1]
        options = {"maxiter": 2000, "maxfun": 10_000, "gtol": 1e-6, "ftol": 1e-14}
        found = minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
        if found.status == 1:
            warnings.warn(f"LogisticHazards: {found.message}", ConvergenceWarning, stacklevel=2)
        self.intercept_, self.coef_ = found.x[:count], found.x[count:]
        return self

    def decision_function(self, table: np.ndarray) -> np.ndarray:
        """Log-odds of the hazard of each interval, (N, K)."""
        return self.intercept_ + (table @ self.coef_)[:, None]

    def predict_proba(self, table: np.ndarray) -> np.ndarray:
        """The hazard of each interval, (N, K)."""
        return expit(self.decision_function(table))


class BoostedHazards(BaseEstimator):
    """Boosted trees on person-periods, the number of the interval behind the other features.

    Args:
        edges: Ends of the intervals in hours.
        trees: How many.
        seed: Of the trees.
    """

    def __init__(self, edges: Sequence[float], trees: int = 300, seed: int = 0) -> None:
        self.edges, self.trees, self.seed = edges, trees, seed

    def fit(self, table: np.ndarray, target: np.ndarray) -> Self:
        """Fit the trees.

        Shapes:
            table: (N, F), NaN where missing; target: (N, 2)
        """
        periods = person_periods(target, self.edges)
        rows = _rows(table, periods.sample, periods.interval)
        self.model_ = boosted_trees(self.trees, self.seed).fit(rows, periods.event)
        return self

    def decision_function(self, table: np.ndarray) -> np.ndarray:
        """Log-odds of the hazard of each interval, (N, K)."""
        answer = np.empty((len(table), len(self.edges)))
        rows = _rows(table, np.arange(len(table)), 0)
        for k in range(len(self.edges)):  # one copy of the table serves all intervals
            rows[:, -1] = k
            answer[:, k] = self.model_.decision_function(rows)
        return answer

    def predict_proba(self, table: np.ndarray) -> np.ndarray:
        """The hazard of each interval, (N, K)."""
        return expit(self.decision_function(table))

    def staged_losses(self, table: np.ndarray, target: np.ndarray) -> Iterator[float]:
        """Mean negative log-likelihood of the samples after each tree."""
        periods = person_periods(target, self.edges)
        for z in self.model_.staged_decision_function(_rows(table, periods.sample, periods.interval)):
            yield float((np.logaddexp(0, z) - periods.event * z).sum() / len(table))


def _exposure(target: np.ndarray, edges: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """`hazards.exposure` of arrays; edges in the precision of the target, as `Outcome.loss` has them."""
    given = torch.from_numpy(np.ascontiguousarray(target))
    at_risk, within = exposure(given, torch.tensor(edges, dtype=given.dtype))
    return at_risk.numpy(), within.numpy()


def _rows(table: np.ndarray, sample: np.ndarray, interval: np.ndarray | int) -> np.ndarray:
    """Features and interval (R, F + 1), in float64: the trees would copy all of another precision."""
    rows = np.empty((len(sample), table.shape[1] + 1), order="F")
    for k, column in enumerate(table.T):
        rows[:, k] = column[sample]
    rows[:, -1] = interval
    return rows


def _log_likelihood(model: Pipeline, table: np.ndarray, target: np.ndarray) -> float:
    """Mean of the samples, the more the better."""
    z, given = torch.from_numpy(model.decision_function(table)), torch.from_numpy(target)
    return -float(hazard_loss(z, given, torch.tensor(model[-1].edges, dtype=given.dtype)).mean())
