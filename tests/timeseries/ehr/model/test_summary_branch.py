"""The summary features as a network takes them."""

import numpy as np
import pytest
import torch

from timeseries.ehr.model.summary_branch import SummaryBranch, summary_columns
from timeseries.ehr.model.values import NormalScores

NAN = float("nan")


def test_columns_of_a_known_table():
    """101 quantiles of 0 .. 100 are these numbers: cut at 1 and 99, mean 50."""
    scores = NormalScores(2).fit_columns(np.stack([np.arange(101.0), np.full(101, 7.0)], axis=1))
    table = np.array([[50.0, 7.0], [1000.0, 9.0], [NAN, NAN]])
    columns = summary_columns(scores, table)
    assert columns.shape == (3, 3, 2) and columns.dtype == torch.float32
    spread = np.arange(101).clip(1, 99).std()
    assert torch.allclose(columns[0], torch.tensor([[0.0, 0], [0, 0], [0, 0]]), atol=1e-6)
    assert columns[1, 1, 0].item() == pytest.approx(49 / spread)  # cut at 99
    assert columns[1, 1, 1].item() == 0  # a constant has no spread, and is cut to itself
    assert columns[1, 0, 0].item() == pytest.approx(2.5758, abs=1e-4)  # the score's own tail
    assert torch.equal(columns[2], torch.tensor([[0.0, 0], [0, 0], [1, 1]]))


def test_a_feature_unknown_in_training_says_nothing():
    scores = NormalScores(1).fit_columns(np.array([[NAN], [NAN]]))
    assert torch.equal(summary_columns(scores, np.array([[3.0]])), torch.zeros(1, 3, 1))


def test_ramps_are_those_of_the_formula():
    """With the first layer an identity the hidden units are the ramps, the score, the deviation and what is missing."""
    branch = SummaryBranch(1, 4, hidden=5, dropout=0.0, knots=(-1.0, 0.0, 2.0))
    branch.mlp = torch.nn.Identity()
    given = torch.tensor([[[-0.5], [3.0], [0.0]], [[1.0], [4.0], [0.0]], [[0.0], [0.0], [1.0]]])
    expected = torch.tensor([[0.5, 0, -0.5, 3, 0], [1, 0.5, 1, 4, 0], [0, 0, 0, 0, 1]])
    assert torch.equal(branch(given), expected)


def test_order_of_features_is_kept_apart():
    branch = SummaryBranch(3, 2, dropout=0.0).eval()
    x = torch.randn(1, 3, 3)
    assert not torch.allclose(branch(x), branch(x.flip(2)))


@pytest.mark.parametrize("shape", [(2, 6), (2, 2, 3), (2, 3, 4)])
def test_refuses_other_shapes(shape):
    with pytest.raises(ValueError, match=r"summary: expected \(B, 3, 3\), got"):
        SummaryBranch(3, 2)(torch.zeros(shape))


def test_refuses_knots_out_of_order():
    with pytest.raises(ValueError, match="knots"):
        SummaryBranch(1, 2, knots=(1.0, 0.0))
