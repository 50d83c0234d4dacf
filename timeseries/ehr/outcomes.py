"""Samples and what is predicted of them: the outcome of training samples, and samples in the order of an outcome."""

from dataclasses import replace

from ..events.samples import EventSamples
from ..probabilities.outcomes import Outcome


def outcome_of(samples: EventSamples, intervals: int) -> Outcome:
    """The outcome of training samples.

    Args:
        samples: The training part.
        intervals: For a time to event.

    Raises:
        ValueError: A multiclass target has one class alone.
    """
    return Outcome.of(samples.target, samples.kind, samples.target_names, intervals=intervals)


def with_outcome(samples: EventSamples, outcome: Outcome) -> EventSamples:
    """The same samples with their targets in an outcome's order, see `Outcome.adapt`.

    Raises:
        ValueError: The samples are of another kind, or have a target whose name the outcome does not know.
    """
    target = outcome.adapt(samples.target, samples.kind, samples.target_names)
    if target is samples.target:
        return samples
    return replace(samples, target=target, target_names=outcome.names)
