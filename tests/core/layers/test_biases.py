"""Learned biases: half-lives in the data's unit, published slopes, tables on grids, edges, gradients."""

import io
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core import attend, biases
from core.layers import (
    AlibiBias,
    DistanceDecayBias,
    EdgeFeatureBias,
    MultiheadAttention,
    RelativeBias,
    RelativeGridBias,
    TimeDecayBias,
)
from core.layers.biases import alibi_slopes, log_spaced
from core.positions import grid_positions

KERNELS = ["exponential", "logarithmic", "gaussian"]


def weights_of(bias, L, temperature=1.0):
    """Weights of queries over keys of equal score."""
    q = torch.zeros(1, 2, L, 4, dtype=torch.float64)
    return attend(q, q, q, bias=bias, need=("weights",), temperature=temperature).weights


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("half_life", [0.25, 6.0, 400.0])
def test_a_weight_halves_at_the_half_life(kernel, half_life):
    decay = TimeDecayBias(2, [half_life, 3 * half_life], kernel=kernel).double()
    weights = weights_of(decay(torch.tensor([[0.0, half_life, 3 * half_life]], dtype=torch.float64)), 3)
    torch.testing.assert_close(weights[0, 0, 0, 1] / weights[0, 0, 0, 0], torch.tensor(0.5).double(), rtol=1e-6, atol=0)
    torch.testing.assert_close(weights[0, 1, 0, 2] / weights[0, 1, 0, 0], torch.tensor(0.5).double(), rtol=1e-6, atol=0)


def test_temperature_multiplies_the_half_life():
    decay = TimeDecayBias(2, 5.0).double()
    weights = weights_of(decay(torch.tensor([[0.0, 15.0]], dtype=torch.float64)), 2, temperature=3.0)
    torch.testing.assert_close(weights[0, 0, 0, 1] / weights[0, 0, 0, 0], torch.tensor(0.5).double(), rtol=1e-6, atol=0)


@pytest.mark.parametrize("kernel", KERNELS)
def test_distance_halves_too(kernel):
    decay = DistanceDecayBias(2, 5.0, kernel=kernel).double()
    weights = weights_of(decay(torch.tensor([[[0.0, 0.0], [3.0, 4.0]]], dtype=torch.float64)), 2)
    torch.testing.assert_close(weights[0, 0, 0, 1] / weights[0, 0, 0, 0], torch.tensor(0.5).double(), rtol=1e-6, atol=0)
    torch.testing.assert_close(decay.half_distances, torch.full((2,), 5.0).double(), rtol=1e-6, atol=0)


def test_half_lives_are_what_was_asked_for():
    torch.testing.assert_close(TimeDecayBias(3, [1.0, 24.0, 720.0]).half_lives, torch.tensor([1.0, 24.0, 720.0]))
    torch.testing.assert_close(TimeDecayBias(2, 8).half_lives, torch.tensor([8.0, 8.0]))
    torch.testing.assert_close(TimeDecayBias.spread(3, 1, 100).half_lives, torch.tensor([1.0, 10.0, 100.0]))
    torch.testing.assert_close(DistanceDecayBias.spread(1, 1, 100).half_distances, torch.tensor([10.0]))
    assert log_spaced(2, 3.0, 3.0) == [3.0, 3.0]
    shown = repr(TimeDecayBias(2, [6.0, 48.0]))
    assert "half_lives=[6, 48]" in shown and "learnable=True" in shown
    assert "half_distances=[6, 6]" in repr(DistanceDecayBias(2, 6.0, learnable=False))


def test_gradient_of_a_log_half_life():
    """d(-rate d)/d log h = rate d for the exponential kernel."""
    decay = TimeDecayBias(1, 2.0).double()
    bias = decay(torch.tensor([[0.0, 3.0]]).double()).materialize(1, 1, 2, 2)
    bias[0, 0, 0, 1].backward()
    torch.testing.assert_close(decay.log_half.grad, torch.tensor([math.log(2) / 2 * 3]).double(), rtol=1e-6, atol=0)


def test_half_lives_are_found_again():
    """Weights made with half-lives of 2 and 30 hours are fitted from 8 and 8."""
    torch.manual_seed(0)
    times = torch.rand(4, 12) * 48
    q = torch.zeros(4, 2, 12, 4)
    want = attend(q, q, q, bias=TimeDecayBias(2, [2.0, 30.0])(times), need=("weights",)).weights.detach()
    decay = TimeDecayBias(2, 8.0)
    optimiser = torch.optim.Adam(decay.parameters(), lr=0.2)
    for _ in range(100):
        optimiser.zero_grad()
        got = attend(q, q, q, bias=decay(times), need=("weights",)).weights
        (got - want).square().sum().backward()
        optimiser.step()
    torch.testing.assert_close(decay.half_lives.detach(), torch.tensor([2.0, 30.0]), rtol=0.02, atol=0)


def test_fixed_ones_are_buffers_and_saved():
    decay = TimeDecayBias(2, [1.0, 2.0], learnable=False)
    assert not list(decay.parameters())
    buffer = io.BytesIO()
    torch.save(decay.state_dict(), buffer)
    buffer.seek(0)
    other = TimeDecayBias(2, 9.0, learnable=False)
    other.load_state_dict(torch.load(buffer, weights_only=True))
    torch.testing.assert_close(other.half_lives, torch.tensor([1.0, 2.0]))
    assert decay.half().log_half.dtype == torch.float16  # Module.half is still Module.half


def test_key_times_serve_cross_attention():
    bias = TimeDecayBias(1, 1.0)(torch.tensor([[1.0]]), torch.tensor([[0.0, 1.0, 3.0]])).materialize(1, 1, 1, 3)
    torch.testing.assert_close(bias.flatten(), -math.log(2) * torch.tensor([1.0, 0.0, 2.0]))
    place = torch.tensor([[[0.0, 1.0]]])
    bias = DistanceDecayBias(1, 1.0)(place, place + 2).materialize(1, 1, 1, 1)
    torch.testing.assert_close(bias.item(), -math.log(2) * math.sqrt(8))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TimeDecayBias(2, 0.0), "half_lives: expected positive finite numbers"),
        (lambda: TimeDecayBias(2, [1.0]), "half_lives: expected one number or one for each of 2 heads, got 1"),
        (lambda: DistanceDecayBias(2, math.inf), "half_distances: expected positive finite numbers"),
        (lambda: TimeDecayBias(2, 1.0, kernel="linear"), "kernel: expected .* got 'linear'"),
        (lambda: TimeDecayBias.spread(2, 3.0, 1.0), "shortest, longest: expected 0 < shortest <= longest"),
        (lambda: AlibiBias(0), "heads: expected at least 1, got 0"),
        (lambda: RelativeBias(2, -1), "heads, max_distance: expected >= 1 and >= 0, got 2 and -1"),
        (lambda: RelativeGridBias(2, (0, 3)), "heads, size: expected positive numbers"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_alibi_slopes_are_the_published_ones():
    """Press et al., section 3: for 8 heads 1/2, 1/4, ..., 1/256; for 16 heads 2^-0.5, 2^-1, ..., 2^-8."""
    assert alibi_slopes(8) == [2.0**-n for n in range(1, 9)]
    assert alibi_slopes(16) == [2 ** (-n / 2) for n in range(1, 17)]
    # the authors' code for 12 heads: those of 8, then the 1st, 3rd, 5th and 7th of 16
    assert alibi_slopes(12) == [2.0**-n for n in range(1, 9)] + [2 ** (-n / 2) for n in (1, 3, 5, 7)]
    assert alibi_slopes(1) == [2.0**-8]


@given(heads=st.integers(1, 40))
@settings(deadline=None)
def test_alibi_slopes_of_any_number_differ(heads):
    slopes = alibi_slopes(heads)
    assert len(set(slopes)) == heads and all(2**-8 <= slope < 1 for slope in slopes)


def test_alibi_bias():
    alibi = AlibiBias(2, learnable=True)
    bias = alibi().materialize(1, 2, 3, 3)
    torch.testing.assert_close(bias[0, 0], -(2.0**-4) * torch.tensor([[0.0, 1, 2], [1, 0, 1], [2, 1, 0]]))
    bias.sum().backward()
    assert alibi.log_slopes.grad.count_nonzero() == 2
    assert "slopes=[0.0625, 0.003906]" in repr(alibi)
    assert not list(AlibiBias(2).parameters())


def test_relative_bias():
    relative = RelativeBias(1, 1)
    with torch.no_grad():
        relative.table.copy_(torch.tensor([[1.0, 2.0, 3.0]]))
    bias = relative().materialize(1, 1, 3, 3)[0, 0]
    assert bias.tolist() == [[2.0, 3.0, 3.0], [1.0, 2.0, 3.0], [1.0, 1.0, 2.0]]
    bias.sum().backward()
    assert relative.table.grad.tolist() == [[3.0, 3.0, 3.0]]


@pytest.mark.parametrize("prefix", [0, 2])
def test_relative_grid_bias_depends_on_the_offset_alone(prefix):
    grid = RelativeGridBias(2, (2, 3), prefix=prefix, std=1.0)
    if prefix:
        torch.nn.init.normal_(grid.prefix_table)
    bias = grid().materialize(1, 2, 6 + prefix, 6 + prefix)[0]
    cells = grid_positions(2, 3).long()
    for i in range(6):
        for j in range(6):
            row, column = (cells[j] - cells[i] + torch.tensor([1, 2])).tolist()
            assert torch.equal(bias[:, prefix + i, prefix + j], grid.table[:, row, column])
    if prefix:
        assert torch.equal(bias[:, 2:, :2], grid.prefix_table[:, 0, None, None].expand(2, 6, 2))
        assert torch.equal(bias[:, :2, 2:], grid.prefix_table[:, 1, None, None].expand(2, 2, 6))
        assert torch.equal(bias[:, :2, :2], grid.prefix_table[:, 2, None, None].expand(2, 2, 2))


def test_relative_grid_bias_on_another_grid():
    """A table that rises with the row offset still does, through 0 at offset 0; a constant stays constant."""
    grid = RelativeGridBias(1, (4, 4)).double()
    with torch.no_grad():
        grid.table.copy_(torch.arange(-3.0, 4.0)[None, :, None].expand(1, 7, 7))
    assert grid((4, 4)).tensor.shape == (1, 1, 16, 16)
    larger = grid((7, 5)).tensor[0, 0].reshape(7, 5, 7, 5)
    by_offset = larger[3, 2, :, 2]
    torch.testing.assert_close(by_offset, -by_offset.flip(0), rtol=0, atol=1e-12)
    torch.testing.assert_close(by_offset, (torch.arange(7) - 3).double() * 7 / 13, rtol=0, atol=0.05)
    torch.testing.assert_close(larger[3, 2], by_offset[:, None].expand(7, 5), rtol=0, atol=1e-12)
    with torch.no_grad():
        grid.table.fill_(2.5)
    torch.testing.assert_close(grid((9, 2)).tensor, torch.full((1, 1, 18, 18), 2.5).double())
    x = torch.randn(2, 9, 8)
    layer = MultiheadAttention(8, 1)
    assert layer(x, bias=RelativeGridBias(1, (2, 4), prefix=1)()).shape == (2, 9, 8)


def test_edge_feature_bias():
    edges = torch.tensor([[0, 2, 0], [1, 0, 1]])
    module = EdgeFeatureBias(2, 3)
    assert module(edges, torch.randn(3, 2)).materialize(1, 3, 3, 3).count_nonzero() == 0  # starts from plain attention
    with torch.no_grad():
        module.proj.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]))
        module.proj.bias.copy_(torch.tensor([0.0, 0.0, 0.5]))
    features = torch.tensor([[1.0, 2.0], [3.0, 4.0], [10.0, 20.0]])
    bias = module(edges, features)
    assert isinstance(bias, biases.EdgeBias)
    dense = bias.materialize(1, 3, 3, 3)[0]
    assert dense[:, 1, 0].tolist() == [11.0, 22.0, 34.0]  # two edges from 0 to 1 add, their offsets too
    assert dense[:, 0, 2].tolist() == [3.0, 4.0, 7.5]
    assert dense.count_nonzero() == 6
    dense.sum().backward()
    assert module.proj.weight.grad.tolist() == [[14.0, 26.0]] * 3
    with pytest.raises(ValueError, match=r"edge_features: expected \(3, 2\), got \(3, 4\)"):
        module(edges, torch.zeros(3, 4))


def test_edges_of_items_that_differ():
    module = EdgeFeatureBias(1, 1, bias=False)
    torch.nn.init.ones_(module.proj.weight)
    bias = module(torch.tensor([[0, 1], [1, 0]]), torch.tensor([[5.0], [7.0]]), batch=torch.tensor([0, 1]))
    dense = bias.materialize(2, 1, 2, 2)[:, 0]
    assert dense.tolist() == [[[0.0, 0.0], [5.0, 0.0]], [[0.0, 7.0], [0.0, 0.0]]]
