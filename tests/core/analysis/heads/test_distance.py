"""gradient_by_distance against Jacobians that are known: filters, linear recurrences, uniform attention, windows."""

import pytest
import torch
from torch import nn

import core
from core import masks
from core.analysis.heads.distance import gradient_by_distance


def decaying_sum(x):
    """y_i = sum over j <= i of 0.5 ** (i - j) x_j."""
    age = torch.arange(x.shape[1])[:, None] - torch.arange(x.shape[1])
    weight = torch.where(age >= 0, 0.5 ** age.double(), 0.0)
    return weight @ x


def test_a_filter_is_its_weights():
    x = torch.randn(3, 5, 1, dtype=torch.float64)
    answer = gradient_by_distance(decaying_sum, x)
    assert answer.distance.tolist() == [0, 1, 2, 3, 4]
    torch.testing.assert_close(answer.norm, torch.tensor([1.0, 0.5, 0.25, 0.125, 0.0625], dtype=torch.float64))
    middle = gradient_by_distance(decaying_sum, x, position=1)
    assert middle.distance.tolist() == [-3, -2, -1, 0, 1]
    torch.testing.assert_close(middle.norm, torch.tensor([0.0, 0.0, 0.0, 1.0, 0.5], dtype=torch.float64))
    assert middle.reach == (1, 0)
    assert answer.reach == (4, 0)


def test_a_linear_recurrence_is_the_power_of_its_matrix():
    torch.manual_seed(0)
    weight = torch.randn(4, 4, dtype=torch.float64) / 2

    def recur(x):
        state, states = torch.zeros(x.shape[0], 4, dtype=x.dtype), []
        for row in x.unbind(1):
            state = state @ weight.T + row
            states.append(state)
        return torch.stack(states, dim=1)

    answer = gradient_by_distance(recur, torch.randn(2, 6, 4, dtype=torch.float64))
    expected = torch.stack([torch.linalg.matrix_power(weight, d).square().sum().sqrt() for d in range(6)])
    torch.testing.assert_close(answer.norm, expected, rtol=1e-12, atol=0)


def test_one_output_an_item_and_the_mean_over_items():
    """y = x_0 * x_1 per item: dy/dx_0 = x_1; items with 3 and 4 give sqrt((9 + 16) / 2)."""
    x = torch.tensor([[[2.0], [3.0]], [[2.0], [4.0]]])
    answer = gradient_by_distance(lambda z: z[:, 0] * z[:, 1], x)
    torch.testing.assert_close(answer.norm, torch.tensor([2.0, 12.5**0.5]))
    assert not x.requires_grad


def test_uniform_attention_reaches_all_alike():
    """Queries of 0: every weight is 1 / L, and the Jacobian of out with respect to v_j is I / L."""

    def mean_of_past(x):
        v = x[:, None]
        return core.attend(torch.zeros_like(v), torch.zeros_like(v), v)[:, 0]

    answer = gradient_by_distance(mean_of_past, torch.randn(2, 8, 3, dtype=torch.float64))
    torch.testing.assert_close(answer.norm, torch.full((8,), 3**0.5 / 8, dtype=torch.float64), rtol=1e-12, atol=0)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_reach_of_stacked_windows(depth):
    torch.manual_seed(0)
    encoder = core.Encoder(8, depth, 2).double().eval()
    x = torch.randn(1, 21, 8, dtype=torch.float64)
    answer = gradient_by_distance(lambda z: encoder(z, mask=masks.Window(3, 2)), x, position=10)
    assert answer.reach == (3 * depth, 2 * depth)


def test_probes_estimate_the_exact_norm():
    torch.manual_seed(0)
    layer = nn.Linear(6, 5).double()

    def model(x):
        return layer(decaying_sum(x)).tanh()

    x = torch.randn(4, 7, 6, dtype=torch.float64)
    exact = gradient_by_distance(model, x)
    generator = torch.Generator().manual_seed(1)
    estimate = gradient_by_distance(model, x, probes=400, generator=generator)
    torch.testing.assert_close(estimate.norm, exact.norm, rtol=0.1, atol=0)
    again = gradient_by_distance(model, x, probes=400, generator=torch.Generator().manual_seed(1))
    assert torch.equal(again.norm, estimate.norm)


def test_works_without_grad_and_leaves_parameters_alone():
    layer = nn.Linear(2, 2)
    with torch.no_grad():
        answer = gradient_by_distance(layer, torch.randn(1, 3, 2))
    assert answer.reach == (0, 0) and answer.norm.tolist()[1:] == [0.0, 0.0]
    assert layer.weight.grad is None


@pytest.mark.parametrize(
    ("x", "options", "message"),
    [
        (torch.zeros(2, 3), {}, r"x: expected \(B, L, n\)"),
        (torch.zeros(0, 3, 1), {}, r"x: expected \(B, L, n\), none of them 0"),
        (torch.zeros(1, 3, 1), {"position": 3}, "position: expected one within the length of x, 3, got 3"),
        (torch.zeros(1, 3, 1), {"probes": 0}, "probes: expected at least 1"),
    ],
)
def test_errors(x, options, message):
    with pytest.raises(ValueError, match=message):
        gradient_by_distance(lambda z: z, x, **options)


def test_an_output_of_another_length_is_named():
    with pytest.raises(ValueError, match=r"model: expected \(1, 3, m\) or \(1, m\) for this x, got \(1, 2, 1\)"):
        gradient_by_distance(lambda z: z[:, 1:], torch.zeros(1, 3, 1))
