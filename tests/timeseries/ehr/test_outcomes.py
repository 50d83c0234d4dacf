"""Samples and outcomes: one is read off the other, and laid over others."""

import numpy as np

from timeseries import Outcome
from timeseries.ehr.outcomes import outcome_of, with_outcome

from ..event_fakes import samples


def test_the_outcome_of_samples_is_that_of_their_targets() -> None:
    three = samples([[]] * 3, [0, 2, 1], kind="multiclass", target_names=("x", "y", "z"))
    assert outcome_of(three, 5) == Outcome("multiclass", ("x", "y", "z"))
    timed = samples([[]] * 4, np.array([[1, 1], [2, 1], [3, 0], [4, 1]]), kind="time_to_event")  # type: ignore[arg-type]
    assert outcome_of(timed, 3).outputs == 3


def test_samples_take_the_names_with_the_order() -> None:
    outcome = Outcome("multiclass", ("high", "low", "mid"))
    some = samples([[]] * 3, [0, 1, 1], kind="multiclass", target_names=("low", "mid"))
    ours = with_outcome(some, outcome)
    assert ours.target.tolist() == [1, 2, 2] and ours.target_names == outcome.names
    assert with_outcome(ours, outcome) is ours
