import pytest
import torch
from sklearn.metrics import r2_score

from graphs.supply.scores import greatest_beyond, log_scores, r2_by_hop, r_squared


def test_r_squared_is_scikit_learns():
    generator = torch.Generator().manual_seed(0)
    truth, found = torch.rand(2, 50, generator=generator, dtype=torch.float64)
    assert r_squared(found, truth) == pytest.approx(r2_score(truth, found))
    with pytest.raises(ValueError, match="at least 2"):
        r_squared(found[:1], truth[:1])


def test_log_scores_by_hand():
    e = torch.e
    truth = torch.tensor([1.0, e, e**2, e**3], dtype=torch.float64)
    found = torch.tensor([0.0, e, e**2, e**2], dtype=torch.float64)
    scores = log_scores(found, truth)
    assert scores["reached"] == 0.75
    assert scores["r2"] == pytest.approx(1 - 1 / 5)  # the unreached one is put at the smallest truth, 1: no error
    assert scores["r2_reached"] == pytest.approx(1 - 1 / 2)
    assert scores["r2_linear"] == pytest.approx(r2_score(truth, found))


def test_by_hop():
    distance = torch.tensor([[0, 1, 2], [1, 0, 2], [1, -1, 0]])
    truth = torch.tensor([[1.0, 0.5, 0.1], [0.4, 1.0, 0.2], [0.2, 0.0, 1.0]])
    assert r2_by_hop(truth, truth, distance, 3) == [1.0, 1.0, None]
    short = torch.where(distance < 2, truth, 0.0)
    assert r2_by_hop(short, truth, distance, 2) == [1.0, None]  # it does not see two hops
    halved = r2_by_hop(truth / 2, truth, distance, 1)[0]
    logs = truth[distance == 1].log()
    assert halved == pytest.approx(r2_score(logs, logs - torch.tensor(2.0).log()), abs=1e-6)


def test_beyond():
    distance = torch.tensor([[0, 3], [-1, 0]])
    found = torch.tensor([[9.0, -2.0], [1.0, 9.0]])
    assert greatest_beyond(found, distance, 2) == 2.0 and greatest_beyond(found, distance, 3) == 1.0
    assert greatest_beyond(found, distance.clamp_min(0), 3) == 0.0
