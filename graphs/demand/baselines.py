"""Simpler forecasts of the same days: the day before, the training mean, and ridge on the same features."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn.linear_model import Ridge

from core.training import BaselineResult

NAMES = ("lag_1", "training_mean", "ridge")
PENALTIES = (1.0, 10.0, 100.0, 1000.0, 10000.0)


class Standardised(NamedTuple):
    """A part's features and targets in deviations of each product's training days.

    Shapes:
        features: (N, F); target: (N,)
    """

    features: np.ndarray[Any, Any]
    target: np.ndarray[Any, Any]


def measure(
    names: Sequence[str], train: Standardised, val: Standardised, part: Standardised, last: int
) -> list[BaselineResult]:
    """The methods of these names, on a part.

    Args:
        names: Among NAMES.
        train: What ridge is fitted on.
        val: What chooses its penalty.
        part: What is forecast.
        last: The feature that is the day before.
    """
    results = []
    for name in names:
        chosen, validation = "", float("nan")
        if name == "lag_1":
            found = part.features[:, last]
        elif name == "training_mean":
            found = np.zeros_like(part.target)
        else:
            fits = [Ridge(alpha=penalty).fit(*train) for penalty in PENALTIES]
            errors = [rmse(fit.predict(val.features), val.target) for fit in fits]
            validation = min(errors)
            best = errors.index(validation)
            chosen, found = f"penalty {PENALTIES[best]:g}", fits[best].predict(part.features)
        values = {"rmse": rmse(found, part.target)}
        results.append(BaselineResult(name, values, chosen, validation, prediction=found, target=part.target))
    return results


def rmse(found: np.ndarray[Any, Any], truth: np.ndarray[Any, Any]) -> float:
    """Root mean squared error."""
    return float(np.sqrt(np.mean((found - truth) ** 2)))
