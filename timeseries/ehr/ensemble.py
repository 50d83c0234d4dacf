r"""Several models of one recipe and different seeds, averaged.

.. math:: z = \frac{1}{M} \sum_m z_m

The mean is of the logits of each member's calibrated probabilities: divided by its temperature, or through its isotonic
function. So the answer is again a calibrated model's, and that of one member is what the member answers.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from core.training import load_run

from ..events.samples import EventSamples
from ..probabilities.outcomes import Outcome
from ..probabilities.recalibration import Recalibration
from .task import EventClassificationTask


class EventEnsemble:
    """Members that predict the same outcome in the same vocabulary.

    Args:
        members: Trained tasks.
        calibration: Of the mean; the default leaves it as it is.

    Raises:
        ValueError: There is no member, or two differ in vocabulary or outcome.
    """

    def __init__(self, members: Sequence[EventClassificationTask], calibration: Recalibration | None = None) -> None:
        if not members:
            raise ValueError("members: expected at least one, got none")
        first = members[0]
        for k, member in enumerate(members):
            if member.vocabulary is None or member.outcome is None:
                raise ValueError(f"members: expected trained tasks, got one without a model, number {k}")
            if member.vocabulary != first.vocabulary or member.outcome != first.outcome:
                raise ValueError(f"members: expected one vocabulary and outcome, got others in number {k}")
        self.members, self.calibration = list(members), calibration or Recalibration()

    @classmethod
    def load(cls, paths: Sequence[str | Path]) -> "EventEnsemble":
        """Members from their checkpoints, which hold tensors and plain values only."""
        return cls([load_task(path) for path in paths])

    @property
    def outcome(self) -> Outcome:
        """What is predicted."""
        assert self.members[0].outcome is not None
        return self.members[0].outcome

    def logits_of(self, samples: EventSamples) -> Tensor:
        """The mean logits (N, K) of samples in the members' vocabulary."""
        each = [member.calibration.calibrated(member.logits_of(samples).logits) for member in self.members]
        return torch.stack(each).mean(0)

    def probabilities_of(self, samples: EventSamples) -> Tensor:
        """Calibrated probabilities, see `Outcome`."""
        return self.calibration.probabilities(self.outcome, self.logits_of(samples))


def load_task(path: str | Path) -> EventClassificationTask:
    """A trained task from its checkpoint alone: no data, no configuration.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is no checkpoint of this task.
    """
    task = load_run(path, unnamed=EventClassificationTask).task
    if not isinstance(task, EventClassificationTask):
        raise ValueError(f"path: expected a checkpoint of EventClassificationTask, got {type(task).__name__} in {path}")
    return task
