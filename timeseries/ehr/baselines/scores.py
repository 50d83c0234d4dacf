"""The tabular baselines beside a task: the metrics that it reports for itself, on the same samples."""

import torch
from torch import Tensor

from ...events.samples import EventSamples
from ...probabilities.outcomes import Outcome
from .tabular import TabularBaselines


def outcome_scores(outcome: Outcome, probabilities: Tensor, target: Tensor) -> dict[str, float]:
    """Metric -> value, of any method's probabilities, by the metrics of the outcome.

    Args:
        outcome: What is predicted.
        probabilities: As `Outcome.probabilities` answers.
        target: As in `EventSamples`.
    """
    metrics, _ = outcome.metrics()
    metrics.update(*outcome.metric_inputs(probabilities, target))
    return {name: float(value) for name, value in metrics.compute().items()}


def tabular_scores(outcome: Outcome, train: EventSamples, judged: EventSamples) -> dict[str, dict[str, float]]:
    """Method -> metric -> value.

    Args:
        outcome: What is predicted; the intervals of a time to event are taken from it.
        train: What the methods are fitted on.
        judged: What they are judged by.

    Raises:
        ValueError: The training samples are too few.
    """
    try:
        found = TabularBaselines(outcome=outcome).fit(train).probabilities(judged)
    except ValueError as error:
        raise ValueError(f"baselines: {error}; or set the task's baselines to false") from error
    target = torch.from_numpy(judged.target)
    return {
        name.replace(" ", "_"): outcome_scores(outcome, torch.from_numpy(p).float(), target)
        for name, p in found.items()
    }
