"""The mean of several models' calibrated logits."""

import math

import numpy as np
import pytest
import torch

from tests.tolerance import FUNCTION, rounding
from timeseries import EventEnsemble, Recalibration

from ..event_fakes import drawn
from ..probabilities.test_report import untrained


def members(*calibrations):
    one = drawn(40)
    made = []
    for seed, calibration in enumerate(calibrations):
        torch.manual_seed(seed)
        made.append(untrained(one))
        made[-1].calibration = calibration
    return one, made


def test_a_temperature_divides_the_logits_bit_for_bit():
    one, both = members(Recalibration(2.0), Recalibration(0.7))
    z = [member.logits_of(one).logits for member in both]
    expected = torch.stack([z[0] / 2.0, z[1] / 0.7]).mean(0)
    assert torch.equal(EventEnsemble(both).logits_of(one), expected)


def test_one_isotonic_member_answers_what_it_answers_alone():
    one, (member,) = members(Recalibration(1.0, (-1.0, 0.0, 1.0), (0.0, 0.3, 1.0)))
    alone = member.probabilities(member.logits_of(one).logits)
    found = EventEnsemble([member]).probabilities_of(one)
    # To a logit and back: a quotient, a logarithm and a sigmoid, and the calibration's own four steps.
    assert torch.allclose(found, alone, rtol=0, atol=rounding(1 + 2 * FUNCTION + 4))
    assert not torch.allclose(alone, member.logits_of(one).logits[:, 0].sigmoid(), atol=1e-2)


def test_the_mean_is_of_calibrated_logits():
    flat = Recalibration(1.0, (-1.0, 1.0), (0.2, 0.2))
    one, both = members(flat, Recalibration(1.0, (-1.0, 1.0), (0.5, 0.5)))
    expected = 1 / (1 + math.exp(-0.5 * math.log(0.2 / 0.8)))
    assert np.allclose(EventEnsemble(both).probabilities_of(one).numpy(), expected)


def test_certain_members_that_disagree_have_a_mean():
    one, both = members(Recalibration(1.0, (0.0,), (0.0,)), Recalibration(1.0, (0.0,), (1.0,)))
    assert EventEnsemble(both).probabilities_of(one).numpy() == pytest.approx(0.5, abs=1e-3)
