import math

import numpy as np
import pytest
import torch
from scipy.stats import norm
from sklearn.preprocessing import QuantileTransformer

from timeseries.ehr.model.values import FourierEmbedding, NormalScores, PiecewiseLinearEmbedding


def test_scores_by_hand():
    scores = NormalScores(2, points=5).fit(np.array([0.0, 1, 2, 3, 4]), np.zeros(5, dtype=int))
    got = scores.score(np.array([2.0, 1.0, 3.5, -9.0, 99.0, np.nan]), np.zeros(6, dtype=int))
    expected = [0.0, norm.ppf(0.25), norm.ppf(0.875), norm.ppf(0.005), norm.ppf(0.995), 0.0]
    assert np.allclose(got, expected, atol=1e-6)
    assert scores.known.tolist() == [True, False]
    assert scores.score(np.array([3.0]), np.array([1])).tolist() == [0.0]  # a feature without training data


def test_equal_quantiles_take_the_middle_of_the_jump():
    values = np.array([0.0] * 6 + [1.0] * 4)  # quantiles at 0, .1, ..., 1: six of 0, then .4, then four of 1
    scores = NormalScores(1, points=11).fit(values, np.zeros(10, dtype=int))
    below, above = scores.score(np.array([0.0, 1.0]), np.zeros(2, dtype=int))
    assert below == pytest.approx(norm.ppf(0.25), abs=1e-5)  # quantiles 0 .. .5 are 0: the middle is .25
    assert above == pytest.approx(norm.ppf(0.85), abs=1e-5)  # quantiles .7 .. 1 are 1
    constant = NormalScores(1).fit(np.full(7, 3.0), np.zeros(7, dtype=int))
    assert constant.score(np.array([3.0, 2.0, 4.0]), np.zeros(3, dtype=int)).tolist() == pytest.approx(
        [0.0, norm.ppf(0.005), norm.ppf(0.995)], abs=1e-6
    )


def test_scores_are_scikit_learns():
    rng = np.random.default_rng(0)
    train, new = rng.gamma(2.0, size=(500, 3)).round(1), rng.gamma(2.0, size=(200, 3)).round(1)
    peer = QuantileTransformer(n_quantiles=101, output_distribution="uniform", subsample=None).fit(train)
    expected = norm.ppf(np.clip(peer.transform(new), 0.005, 0.995))
    assert np.allclose(NormalScores(3).fit_columns(train).score_columns(new), expected, atol=1e-5)


def test_scores_survive_a_checkpoint():
    fitted = NormalScores(2).fit(np.arange(20.0), np.arange(20) % 2)
    other = NormalScores(2)
    other.load_state_dict(fitted.state_dict())
    values, feature = np.array([3.3, 7.0, np.nan]), np.array([0, 1, 0])
    assert np.array_equal(other.score(values, feature), fitted.score(values, feature))


@pytest.mark.parametrize(("options", "name"), [({"points": 1}, "points"), ({"tail": 0.5}, "tail")])
def test_scores_refuse(options, name):
    with pytest.raises(ValueError, match=name):
        NormalScores(1, **options)


def test_piecewise_linear_by_hand():
    embedding = PiecewiseLinearEmbedding(2, 3, knots=(-1.0, 0.0, 2.0))
    row = embedding.table.detach().unflatten(0, (2, 5))  # code, (three knots, no value, count)
    code = torch.tensor([0, 1, 1, 0])
    score = torch.tensor([-0.25, 1.0, 9.0, 0.7])
    has_value = torch.tensor([True, True, True, False])
    count = torch.tensor([1.0, 3.0, 1.0, 2.0])
    got = embedding(code, score, has_value, count, torch.tensor([0, 1, 2, 2]))  # token 2 has no entry
    with torch.no_grad():
        expected = torch.stack(
            [
                0.25 * row[0, 0] + 0.75 * row[0, 1] + math.log(2) * row[0, 4],
                0.5 * row[1, 1] + 0.5 * row[1, 2] + math.log(4) * row[1, 4],
                torch.zeros(3),
                row[1, 2] + math.log(2) * row[1, 4] + row[0, 3] + math.log(3) * row[0, 4],
            ]
        )
    assert torch.allclose(got, expected, atol=1e-6)
    assert embedding.no_weight_decay() == {"table"}


@pytest.mark.parametrize("kind", [PiecewiseLinearEmbedding, FourierEmbedding])
def test_embeddings_share_what_they_mean(kind):
    embedding = kind(3, 4)
    code, score = torch.tensor([0, 1, 2]), torch.tensor([0.3, -1.0, 0.9])
    on = torch.tensor([True, True, True])
    together = embedding(code, score, on, torch.ones(3), torch.tensor([0]))
    apart = embedding(code, score, on, torch.ones(3), torch.tensor([0, 1, 2]))
    assert torch.allclose(together[0], apart.sum(0), atol=1e-6)  # a token is the sum of its entries
    none = embedding(code, score, on, torch.zeros(3), torch.tensor([0, 1, 2]))
    assert torch.equal(none, torch.zeros(3, 4))  # a count of 0 takes an entry out
    without = embedding(code, score, ~on, torch.ones(3), torch.tensor([0, 1, 2]))
    other = embedding(code, -score, ~on, torch.ones(3), torch.tensor([0, 1, 2]))
    assert torch.equal(without, other)  # no value, no influence of the number
    assert not torch.allclose(without, apart)
    apart.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in embedding.parameters() if p.grad is not None)


def test_fourier_is_not_linear():
    torch.manual_seed(0)
    embedding = FourierEmbedding(1, 2)
    z = torch.tensor([-1.0, 0.0, 1.0])
    x = embedding(torch.zeros(3, dtype=torch.long), z, torch.ones(3) > 0, torch.ones(3), torch.arange(3)).detach()
    assert not torch.allclose(x[0] + x[2], 2 * x[1], atol=1e-3)


@pytest.mark.parametrize("knots", [(0.0,), (0.0, 0.0, 1.0), (1.0, 0.0)])
def test_knots_ascend(knots):
    with pytest.raises(ValueError, match="knots"):
        PiecewiseLinearEmbedding(1, 2, knots)


def test_at_least_one_frequency():
    with pytest.raises(ValueError, match="frequencies"):
        FourierEmbedding(1, 2, frequencies=0)
