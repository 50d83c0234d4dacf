"""Biases against definitions written pair by pair, and the rules that they keep."""

import math

import pytest
import torch
from torch.autograd import gradcheck

from core import attend, biases

from ..cases import Sizes, bias_cases

SIZES = [(2, 3, 4, 4), (2, 2, 3, 7), (1, 1, 1, 1), (2, 1, 6, 4), (0, 2, 3, 3)]
PAIRS = [(sizes, name) for sizes in SIZES for name in bias_cases(Sizes(*sizes))]


@pytest.mark.parametrize(("sizes", "name"), PAIRS)
def test_dense_formula(sizes, name):
    s = Sizes(*sizes)
    build, learnable, logit = bias_cases(s)[name]
    got = build(*learnable).materialize(*sizes)
    assert got.ndim == 4
    torch.testing.assert_close(got.expand(sizes), s.dense(logit), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", list(bias_cases(Sizes(2, 2, 3, 4))))
def test_gradient_of_everything_learnable(name):
    s = Sizes(2, 2, 3, 4)
    build, learnable, _ = bias_cases(s)[name]
    tensors = [t.requires_grad_() for t in learnable]
    assert gradcheck(lambda *x: build(*x).materialize(2, 2, 3, 4), tensors)


def test_half_life_by_hand():
    """With one key now and one a half-life ago, equal scores and temperature T, the older one weighs half as much."""
    times, temperature, half_life = torch.tensor([[0.0, 5.0]]), 2.0, 5.0
    bias = biases.TimeDecay(times, temperature * math.log(2) / half_life)
    x = torch.zeros(1, 1, 2, 1)
    weights = attend(x, x, x, bias=bias, temperature=temperature, need=("weights",)).weights
    torch.testing.assert_close(weights[0, 0], torch.tensor([[2 / 3, 1 / 3], [1 / 3, 2 / 3]]))


@pytest.mark.parametrize(
    ("kernel", "expected"), [("exponential", 3.0), ("logarithmic", math.log(4.0)), ("gaussian", 9.0)]
)
def test_kernels_by_hand(kernel, expected):
    times = torch.tensor([[1.0, 4.0]], dtype=torch.float64)
    got = biases.TimeDecay(times, 0.5, kernel).materialize(1, 1, 2, 2)
    torch.testing.assert_close(got[0, 0, 0, 1].item(), -0.5 * expected)
    assert got[0, 0, 0, 0] == 0


def test_large_integer_times_lose_nothing():
    """Seconds since an epoch need more than float32's 24 bits; their differences do not."""
    start = 1_700_000_000
    times = torch.tensor([[start, start + 1, start + 60]])
    got = biases.TimeDecay(times, 1.0).materialize(1, 1, 3, 3)
    assert got[0, 0, 0].tolist() == [0.0, -1.0, -60.0]


def test_half_precision_times_are_widened():
    times = torch.tensor([[0.0, 1.0]], dtype=torch.bfloat16)
    assert biases.TimeDecay(times, 0.1).materialize(1, 1, 2, 2).dtype == torch.float32


def test_duplicate_edges_add():
    edges = torch.tensor([[0, 0, 1], [1, 1, 0]])
    got = biases.EdgeBias(edges, torch.tensor([1.0, 2.0, 5.0])).materialize(1, 1, 2, 2)
    assert got[0, 0].tolist() == [[0.0, 5.0], [3.0, 0.0]]


def test_a_time_that_is_not_a_number_keeps_out_of_the_rate_s_gradient():
    rate = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    times = torch.tensor([[0.0, 1.0, torch.nan]], dtype=torch.float64)
    dense = biases.TimeDecay(times, rate).materialize(1, 1, 3, 3)
    assert dense.isnan()[0, 0].tolist() == [[False, False, True], [False, False, True], [True, True, True]]
    (gradient,) = torch.autograd.grad(dense[0, 0, :2, :2].sum(), rate)
    assert gradient == -2.0


def test_sum_is_flat_and_moves_as_one():
    total = biases.Alibi(torch.ones(2)) + (biases.KeyBias(torch.zeros(1, 3)) + biases.Alibi(0.5))
    assert len(list(total.leaves())) == 3
    assert {t.device.type for _, t in total.to("meta").tensors()} == {"meta"}


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: biases.TimeDecay([1.0], 1.0), TypeError, r"TimeDecay\.times: expected.*got a list"),
        (lambda: biases.TimeDecay(torch.zeros(1, 2), 1.0, "linear"), ValueError, r"kernel: expected.*got 'linear'"),
        (
            lambda: biases.TimeDecay(torch.zeros(1, 2, requires_grad=True), 1.0),
            ValueError,
            r"TimeDecay\.times: expected a tensor without gradient.*got one that requires grad",
        ),
        (lambda: biases.Relative(torch.zeros(2, 4)), ValueError, r"Relative\.table: expected.*got shape \(2, 4\)"),
        (
            lambda: biases.EdgeBias(torch.zeros(2, 3).long(), torch.zeros(2)),
            ValueError,
            r"value: .*got shape \(2,\)",
        ),
        (lambda: biases.Dense(torch.zeros(1, 1, 2, 2).bool()), TypeError, r"for a boolean mask use masks\.Dense"),
    ],
)
def test_refused_when_made(build, error, message):
    with pytest.raises(error, match=message):
        build()


@pytest.mark.parametrize(
    ("bias", "message"),
    [
        (biases.TimeDecay(torch.zeros(2, 3), 1.0), r"TimeDecay\.key_times: expected a tensor where Lq \(3\) differs"),
        (
            biases.TimeDecay(torch.zeros(2, 3), torch.ones(3), key_times=torch.zeros(2, 4)),
            r"TimeDecay\.rate: expected a scalar or \(H,\) = \(2,\).*got shape \(3,\)",
        ),
        (biases.DistanceDecay(torch.zeros(2, 3), 1.0), r"DistanceDecay\.positions: expected.*got shape \(2, 3\)"),
        (
            biases.DistanceDecay(torch.zeros(2, 3, 2), 1.0, key_positions=torch.zeros(2, 4, 3)),
            r"key_positions: expected \(B, Lk, n\) = \(2, 4, 2\).*got shape \(2, 4, 3\)",
        ),
        (biases.Alibi(torch.ones(1)), r"Alibi\.slopes: expected.*got shape \(1,\)"),
        (biases.Relative(torch.zeros(1, 3)), r"Relative\.table: expected \(H, 2m \+ 1\) with H=2.*got shape \(1, 3\)"),
        (biases.KeyBias(torch.zeros(2, 3)), r"KeyBias\.value: expected \(2, 4\) or \(2, 2, 4\).*got shape \(2, 3\)"),
        (
            biases.EdgeBias(torch.zeros(2, 1).long(), torch.zeros(1, 3)),
            r"EdgeBias\.value: .*got shape \(1, 3\)",
        ),
        (biases.EdgeBias(torch.tensor([[0], [3]]), torch.zeros(1)), r"EdgeBias\.edge_index\[1\]: expected.*got 3"),
        (biases.Dense(torch.zeros(2, 3)), r"biases\.Dense\.tensor: expected 4-D.*got shape \(2, 3\)"),
    ],
)
def test_refused_when_used(bias, message):
    with pytest.raises(ValueError, match=message):
        bias.materialize(2, 2, 3, 4)
