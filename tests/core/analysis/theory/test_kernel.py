"""Kernel view: attend against Nadaraya-Watson written out, statsmodels, and scipy's optimisers."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import Bounds, LinearConstraint, minimize
from statsmodels.nonparametric.kernel_regression import KernelReg
from torch.nn.functional import normalize

import core
from core import scores
from core.analysis import theory


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_hand(queries, inputs, targets, h):
    """The quotient of sums, point by point."""
    rows = []
    for x in queries:
        kernel = [math.exp(-(((x - point) / h) ** 2).sum().item() / 2) for point in inputs]
        rows.append(sum(w * y for w, y in zip(kernel, targets, strict=True)) / sum(kernel))
    return torch.stack(rows)


@pytest.mark.parametrize("h", [0.7, torch.tensor([0.5, 2.0, 1.0], dtype=torch.float64)])
def test_nadaraya_watson_is_the_quotient_of_sums(h):
    queries, inputs, targets = drawn(4, 3), drawn(9, 3, seed=1), drawn(9, 2, seed=2)
    answer = theory.nadaraya_watson(queries, inputs, targets, h)
    torch.testing.assert_close(answer, by_hand(queries, inputs, targets, h), rtol=0, atol=1e-12)


def test_statsmodels_agrees():
    queries, inputs, targets = drawn(5, 2), drawn(30, 2, seed=1), drawn(30, 1, seed=2)
    h = [0.6, 1.1]
    peer = KernelReg(targets[:, 0].numpy(), inputs.numpy(), "cc", reg_type="lc", bw=h, rng=np.random.default_rng(0))
    ours = theory.nadaraya_watson(queries, inputs, targets, torch.tensor(h, dtype=torch.float64))
    np.testing.assert_allclose(ours[:, 0].numpy(), peer.fit(queries.numpy())[0], rtol=0, atol=1e-12)


def test_far_from_all_data_the_nearest_point_speaks():
    inputs, targets = torch.tensor([[0.0], [1.0]]).double(), torch.tensor([[5.0], [7.0]]).double()
    far = torch.tensor([[1000.0], [-1000.0]]).double()
    assert theory.nadaraya_watson(far, inputs, targets, 0.1).flatten().tolist() == [7.0, 5.0]


@pytest.mark.parametrize("temperature", [0.05, 0.5, 3.0])
def test_keys_of_norm_one_make_dot_and_gaussian_the_same(temperature):
    """With |k| = 1, exp(q.k / T) and exp(-|q - k|^2 / 2T) differ by a factor of the query alone: bandwidth sqrt(T)."""
    q, k, v = 3 * drawn(1, 2, 5, 4), normalize(drawn(1, 2, 7, 4, seed=1), dim=-1), drawn(1, 2, 7, 3, seed=2)
    dot = core.attend(q, k, v, scale=1.0, temperature=temperature)
    gaussian = core.attend(q, k, v, score=scores.Gaussian(), temperature=temperature)
    torch.testing.assert_close(dot, gaussian, rtol=0, atol=1e-12)
    for head in range(2):
        expected = by_hand(q[0, head], k[0, head], v[0, head], math.sqrt(temperature))
        torch.testing.assert_close(dot[0, head], expected, rtol=0, atol=1e-12)


def test_the_norm_of_a_query_is_its_bandwidth():
    """Dot-product attention is kernel regression at q / |q|, each query with its own bandwidth."""
    q, k, v = drawn(6, 4), normalize(drawn(8, 4, seed=1), dim=-1), drawn(8, 2, seed=2)
    q = q * torch.logspace(-1, 1.5, 6, dtype=torch.float64)[:, None]
    dot = core.attend(q[None, None], k[None, None], v[None, None], temperature=0.8)[0, 0]
    h = theory.effective_bandwidth(q.norm(dim=1), scale=4**-0.5, temperature=0.8)
    for i in range(6):
        expected = by_hand(normalize(q[i : i + 1], dim=-1), k, v, h[i].item())
        torch.testing.assert_close(dot[i : i + 1], expected, rtol=0, atol=1e-12)
    assert theory.effective_bandwidth(torch.tensor(4.0), 1.0, 1.0).item() == 0.5


def test_leave_one_out_leaves_one_out():
    inputs, targets, h = drawn(7, 2), drawn(7, 1, seed=1), torch.tensor([0.4, 0.9], dtype=torch.float64)
    answer = theory.leave_one_out(inputs, targets, h)
    for i in range(7):
        rest = torch.arange(7) != i
        expected = by_hand(inputs[i : i + 1], inputs[rest], targets[rest], h)
        torch.testing.assert_close(answer[i : i + 1], expected, rtol=0, atol=1e-12)
    h.requires_grad_()
    assert torch.autograd.gradcheck(lambda h: theory.leave_one_out(inputs, targets, h), [h])


def test_cross_validation_finds_the_least_error():
    """Beside a grid, and Nelder and Mead, on the criterion written out. The second feature is noise."""
    inputs = drawn(60, 2)
    targets = torch.sin(2 * inputs[:, :1]) + 0.3 * drawn(60, 1, seed=1)
    others = ~np.eye(60, dtype=bool)
    y = targets[:, 0].numpy()

    def criterion(log_h, x):
        kernel = np.exp(-(((x[:, None] - x[None]) / np.exp(log_h)) ** 2).sum(2) / 2) * others
        return ((kernel @ y / kernel.sum(1) - y) ** 2).mean()

    one = theory.cross_validated_bandwidth(inputs[:, :1], targets).log().numpy()
    grid = np.linspace(-3, 1, 200)
    best = grid[np.argmin([criterion(h, inputs[:, :1].numpy()) for h in grid])]
    assert one[0] == pytest.approx(best, abs=0.02)
    two = theory.cross_validated_bandwidth(inputs, targets).log().numpy()
    reached = criterion(two, inputs.numpy())
    options = {"maxiter": 400, "fatol": 1e-12}
    further = minimize(criterion, two, (inputs.numpy(),), "Nelder-Mead", options=options).fun
    assert reached <= further * (1 + 1e-4)
    assert two[1] > two[0] + 1


@pytest.mark.parametrize("method", ["SLSQP", "trust-constr"])
@pytest.mark.parametrize("temperature", [0.4, 2.0])
def test_softmax_maximises_entropy_and_mean_logit(method, temperature):
    logits = drawn(5)
    weights = theory.maximum_entropy_weights(logits, temperature)
    x = logits.numpy()

    def loss(w):
        return -(w @ x) + temperature * (w * np.log(w)).sum()

    def gradient(w):
        return -x + temperature * (np.log(w) + 1)

    simplex = LinearConstraint(np.ones((1, 5)), 1, 1)
    options = {"SLSQP": {"ftol": 1e-15, "maxiter": 500}, "trust-constr": {"gtol": 1e-10, "xtol": 1e-14}}[method]
    found = minimize(
        loss,
        np.full(5, 0.2),
        jac=gradient,
        hess=(lambda w: np.diag(temperature / w)) if method == "trust-constr" else None,
        method=method,
        bounds=Bounds(np.full(5, 1e-12), np.ones(5), keep_feasible=True),
        constraints=simplex,
        options=options,
    )
    np.testing.assert_allclose(found.x, weights.numpy(), rtol=0, atol=2e-5)
    reached = theory.free_energy(weights, logits, temperature).item()
    assert reached == pytest.approx(temperature * torch.logsumexp(logits / temperature, 0).item(), abs=1e-12)
    assert -found.fun <= reached + 1e-9
    others = torch.distributions.Dirichlet(torch.ones(5, dtype=torch.float64)).sample((200,))
    assert (theory.free_energy(others, logits, temperature) < reached).all()


def test_largest_entropy_for_a_mean():
    """Fix the mean logit; SLSQP maximises the entropy alone. Its Lagrange multiplier is the temperature."""
    logits = torch.tensor([0.0, 1.0, 2.5, -1.0], dtype=torch.float64)
    temperature = theory.temperature_for_mean(logits, 1.6)
    weights = theory.maximum_entropy_weights(logits, temperature)
    assert (weights @ logits).item() == pytest.approx(1.6, abs=1e-12)
    x = logits.numpy()
    found = minimize(
        lambda w: (w * np.log(w)).sum(),
        np.full(4, 0.25),
        jac=lambda w: np.log(w) + 1,
        method="SLSQP",
        bounds=[(1e-12, 1)] * 4,
        constraints=[{"type": "eq", "fun": lambda w: w.sum() - 1}, {"type": "eq", "fun": lambda w: w @ x - 1.6}],
        options={"ftol": 1e-15, "maxiter": 500},
    )
    np.testing.assert_allclose(found.x, weights.numpy(), rtol=0, atol=1e-6)
    two = torch.tensor([0.0, 1.0])  # by hand: sigmoid(1 / T) = 0.75 at T = 1 / ln 3
    assert theory.temperature_for_mean(two, 0.75) == pytest.approx(1 / math.log(3), rel=1e-12)


def test_forbidden_keys_take_no_part():
    logits = torch.tensor([0.3, -math.inf, 1.0], dtype=torch.float64)
    weights = theory.maximum_entropy_weights(logits, 0.5)
    assert weights[1] == 0
    expected = 0.5 * torch.logsumexp(logits / 0.5, 0)
    torch.testing.assert_close(theory.free_energy(weights, logits, 0.5), expected)
    assert theory.free_energy(torch.tensor([0.5, 0.1, 0.4]).double(), logits, 0.5) == -math.inf


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: theory.nadaraya_watson(drawn(2, 3), drawn(4, 2), drawn(4, 1), 1.0), r"queries: expected \(m, 2\)"),
        (lambda: theory.nadaraya_watson(drawn(2, 2), drawn(4, 2), drawn(3, 1), 1.0), r"targets: expected \(4, p\)"),
        (lambda: theory.nadaraya_watson(drawn(2, 2), drawn(4), drawn(4, 1), 1.0), r"inputs: expected \(n, d\)"),
        (lambda: theory.leave_one_out(drawn(1, 2), drawn(1, 1), 1.0), "inputs: expected at least 2 rows, got 1"),
        (lambda: theory.leave_one_out(drawn(4, 2), drawn(4, 1), 0.0), "bandwidth: expected positive numbers, got 0.0"),
        (lambda: theory.leave_one_out(drawn(4, 2), drawn(4, 1), torch.ones(3)), r"bandwidth: .* \(2,\), got \(3,\)"),
        (
            lambda: theory.cross_validated_bandwidth(torch.ones(4, 1), drawn(4, 1)),
            "inputs: expected no constant feature",
        ),
        (lambda: theory.maximum_entropy_weights(drawn(2), 0.0), "temperature: expected a positive number, got 0.0"),
        (lambda: theory.effective_bandwidth(drawn(2), 0.0), "scale and temperature: expected positive numbers"),
        (lambda: theory.temperature_for_mean(torch.tensor([0.0, 1.0]), 0.4), "mean: expected a number between 0.5 and"),
        (lambda: theory.temperature_for_mean(torch.zeros(2), 0.0), "mean: expected a number between 0 and 0, got 0.0"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
