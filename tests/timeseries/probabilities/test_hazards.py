import math

import numpy as np
import pytest
import torch

from timeseries.probabilities.hazards import event_by, hazard_loss, interval_edges, observed_by, survival
from timeseries.probabilities.outcomes import Concordance

EDGES = torch.tensor([2.0, 5.0, 10.0])


def likelihood(hazards, duration, event):
    """Of one person, interval by interval; written out independently."""
    value = 1.0
    for k, hazard in enumerate(hazards):
        start, end = ([0.0, *EDGES.tolist()][k], float(EDGES[k]))
        if duration >= end:
            value *= 1 - hazard
        elif event:
            return value * hazard
        else:
            return value * (1 - hazard if duration >= (start + end) / 2 else 1)
    return value


@pytest.mark.parametrize("duration", [0.0, 1.0, 2.0, 3.5, 5.0, 9.9, 10.0, 50.0])
@pytest.mark.parametrize("event", [0.0, 1.0])
def test_loss_is_the_likelihood(duration, event):
    logits = torch.tensor([[0.3, -1.0, 0.7]], dtype=torch.float64)
    got = hazard_loss(logits, torch.tensor([[duration, event]], dtype=torch.float64), EDGES.double())
    assert math.exp(-float(got)) == pytest.approx(likelihood(logits[0].sigmoid().tolist(), duration, event))


def test_survival_and_risk_by_hand():
    hazards = torch.tensor([[0.1, 0.5, 0.2]])
    logits = hazards.logit()
    assert survival(logits)[0].tolist() == pytest.approx([0.9, 0.45, 0.36])
    assert float(event_by(logits, EDGES, 5.0)) == pytest.approx(0.55)
    assert float(event_by(logits, EDGES, 0.0)) == pytest.approx(0.0)
    assert float(event_by(logits, EDGES, 99.0)) == pytest.approx(0.64)
    assert float(event_by(logits, EDGES, 3.5)) == pytest.approx(1 - 0.9 * 0.5**0.5)  # half of the second interval


def test_edges_hold_equal_numbers_of_events():
    duration = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 100.0])
    event = np.array([1.0] * 8 + [0.0])
    edges = interval_edges(duration, event, 4)
    counts = [sum((duration[:8] >= low) & (duration[:8] < high)) for low, high in zip([0, *edges], edges, strict=False)]
    assert len(edges) == 4 and counts == [2, 2, 2, 2]
    assert edges[-1] > 8.0  # the last event lies inside
    assert len(interval_edges(np.ones(5), np.ones(5), 4)) == 1  # one time, one interval


@pytest.mark.parametrize(("event", "intervals", "name"), [(0.0, 3, "target"), (1.0, 0, "intervals")])
def test_edges_refuse(event, intervals, name):
    with pytest.raises(ValueError, match=name):
        interval_edges(np.ones(4), np.full(4, event), intervals)


def test_hazards_recover_a_known_distribution():
    rng = np.random.default_rng(0)
    time, leave = rng.exponential(4.0, 20_000), rng.exponential(6.0, 20_000)
    target = torch.tensor(np.stack([np.minimum(time, leave), time <= leave], 1))
    edges = torch.tensor(np.linspace(0.5, 8.0, 16))
    logits = torch.zeros(1, 16, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], max_iter=60)

    def closure():
        optimizer.zero_grad()
        loss = hazard_loss(logits.expand(len(target), -1), target, edges).mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    expected = torch.exp(-edges / 4.0)  # survival of the exponential distribution, in spite of the censoring
    assert torch.allclose(survival(logits)[0], expected, atol=0.02)


def test_concordance_by_hand():
    metric = Concordance()
    metric.update(torch.tensor([3.0, 1.0]), torch.tensor([[1.0, 1.0], [4.0, 1.0]]))
    metric.update(torch.tensor([2.0, 1.0]), torch.tensor([[2.0, 0.0], [6.0, 0.0]]))
    # pairs with a known order: (t=1 against 2, 4, 6): all right; (t=4 against 6): equal risks, a half
    assert float(metric.compute()) == pytest.approx(3.5 / 4)


def test_known_by_a_horizon():
    target = np.array([[1.0, 1.0], [1.0, 0.0], [9.0, 1.0], [9.0, 0.0]])
    known, happened = observed_by(target, 5.0)
    assert known.tolist() == [True, False, True, True] and happened.tolist() == [True, False, False, False]
