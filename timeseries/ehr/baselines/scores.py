"""The tabular baselines beside a task: the metrics that it reports for itself, on the same samples."""

from collections.abc import Sequence

import torch
from torch import Tensor

from core.training import BaselineResult

from ...events.samples import EventSamples
from ...probabilities.outcomes import Outcome
from .tabular import NAMES, TabularBaselines

METHODS = tuple(name.replace(" ", "_") for name in NAMES)
"""The names of the methods in baselines.json."""


def outcome_scores(outcome: Outcome, probabilities: Tensor, target: Tensor) -> dict[str, float]:
    """Metric -> value, of any method's probabilities, by the metrics of the outcome.

    Args:
        outcome: What is predicted.
        probabilities: As `Outcome.probabilities` answers.
        target: See `Outcome`.
    """
    metrics, _ = outcome.metrics()
    metrics.update(*outcome.metric_inputs(probabilities, target))
    return {name: float(value) for name, value in metrics.compute().items()}


def tabular_results(
    outcome: Outcome, train: EventSamples, judged: EventSamples, names: Sequence[str] = METHODS
) -> list[BaselineResult]:
    """What the tabular methods reach.

    Args:
        outcome: What is predicted; the intervals of a time to event are taken from it.
        train: What the methods are fitted on.
        judged: What they are judged by.
        names: Which of `METHODS`.

    Raises:
        ValueError: The training samples are too few.
    """
    wanted = [name.replace("_", " ") for name in names]
    if not wanted:
        return []
    try:
        fitted = TabularBaselines(outcome=outcome, names=wanted).fit(train)
    except ValueError as error:
        raise ValueError(f"baselines: {error}; or set the task's baselines to []") from error
    target = torch.from_numpy(judged.target)
    results = []
    for name, p in fitted.probabilities(judged).items():
        values = outcome_scores(outcome, torch.from_numpy(p).float(), target)
        chosen = "; ".join(_chosen(name, *pair) for pair in fitted.chosen)
        results.append(BaselineResult(name.replace(" ", "_"), values, chosen, score=p, target=judged.target))
    return results


def _chosen(name: str, strength: float, trees: int) -> str:
    """What folds of the training part chose."""
    parts = {"logistic regression": f"C = {strength:g}", "gradient boosting": f"{trees} trees"}
    return parts.get(name, " and ".join(parts.values()))
