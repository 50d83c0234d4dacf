"""Scaling: variance and its error against simulation, the Jacobian against autograd, the lead against draws by hand."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import core
from core.analysis import theory
from core.analysis.theory.gaussian import integral


@pytest.mark.parametrize(("d", "sigma_q", "sigma_k"), [(1, 1.0, 1.0), (4, 2.0, 0.5), (32, 1.0, 3.0)])
def test_variance_and_kurtosis_of_drawn_dot_products(d, sigma_q, sigma_k):
    generator = torch.Generator().manual_seed(d)
    n = 100_000
    q = sigma_q * torch.randn(n, d, generator=generator, dtype=torch.float64)
    k = sigma_k * torch.randn(n, d, generator=generator, dtype=torch.float64)
    products = (q * k).sum(1)
    moments = theory.dot_product_moments(d, sigma_q, sigma_k)
    assert moments.variance == pytest.approx(d * (sigma_q * sigma_k) ** 2)
    error = theory.variance_standard_error(moments, n)
    assert abs(products.var().item() - moments.variance) < 4 * error
    blocks = products[: n // 20 * 20].reshape(-1, 20).var(1)  # many small samples: their variance is the error's square
    squared = theory.variance_standard_error(moments, 20) ** 2
    assert blocks.var().item() == pytest.approx(squared, rel=0.35)


def test_error_of_a_variance_by_hand():
    """Normal draws: Var(s^2) = 2 sigma^4 / (n - 1). Kurtosis k adds k sigma^4 / n."""
    assert theory.variance_standard_error(theory.Moments(3.0, 0.0), 9) == pytest.approx(1.5)
    assert theory.variance_standard_error(theory.Moments(1.0, 6.0), 2) == pytest.approx(math.sqrt(5))


@given(st.integers(1, 9), st.floats(0.01, 30), st.integers(0, 2**16))
@settings(deadline=None, max_examples=40)
def test_jacobian_is_that_of_softmax(keys, size, seed):
    logits = size * torch.randn(keys, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    weights = logits.softmax(0)
    expected = torch.autograd.functional.jacobian(lambda x: x.softmax(0), logits)
    torch.testing.assert_close(theory.softmax_jacobian(weights), expected, rtol=0, atol=1e-14)
    torch.testing.assert_close(theory.softmax_jacobian_norm(weights), expected.norm(), rtol=1e-9, atol=1e-15)


def test_norm_of_the_jacobian_by_hand():
    """Uniform over L: diag 1/L minus 1/L^2 has L - 1 eigenvalues 1/L. Two keys: 2 p (1 - p). One-hot: 0."""
    uniform = torch.full((5,), 0.2, dtype=torch.float64)
    assert theory.softmax_jacobian_norm(uniform).item() == pytest.approx(2 / 5)
    p = 1e-30  # where 1 - p is 1: the naive sum of powers has lost it
    two = torch.tensor([[1 - p, p], [0.5, 0.5], [1.0, 0.0]], dtype=torch.float64)
    assert theory.softmax_jacobian_norm(two).tolist() == pytest.approx([2 * p, 0.5, 0.0], rel=1e-12)


def test_norm_bounds_the_gradient_through_attend():
    """The gradient of the logits is J times what comes from above; at d = 512 it vanishes without a scale."""
    generator = torch.Generator().manual_seed(0)
    q, k = (torch.randn(64, 1, n, 512, generator=generator, dtype=torch.float64) for n in (1, 64))
    v = torch.randn(64, 1, 64, 1, generator=generator, dtype=torch.float64)
    medians = {}
    for scale in (1.0, None):
        added = torch.zeros(64, 1, 1, 64, dtype=torch.float64, requires_grad=True)
        answer = core.attend(q, k, v, bias=core.biases.Dense(added), scale=scale, need=("weights",))
        (gradient,) = torch.autograd.grad(answer.out.sum(), added)
        bound = theory.softmax_jacobian_norm(answer.weights.detach()) * v.transpose(2, 3).norm(dim=-1)
        assert (gradient.norm(dim=-1) <= bound * (1 + 1e-9)).all()
        medians[scale] = (answer.weights.amax(-1).median().item(), gradient.norm(dim=-1).median().item())
    assert medians[1.0][0] > 0.95 and medians[None][0] < 0.2
    assert medians[1.0][1] < medians[None][1] / 5


@pytest.mark.parametrize("sigma", [1.0, 7.0])
def test_lead_of_the_largest_of_two_and_of_many(sigma):
    """Two logits differ by a normal variable of variance 2 sigma^2; more are drawn."""
    gaps = torch.tensor([0.0, 0.5, 2.0], dtype=torch.float64)
    closed = torch.erfc(gaps / 2 / sigma)
    torch.testing.assert_close(theory.top_gap_survival(gaps, 2, sigma), closed, rtol=0, atol=1e-12)
    draws = sigma * torch.randn(20_000, 50, generator=torch.Generator().manual_seed(1))
    top = draws.topk(2).values
    lead = top[:, 0] - top[:, 1]
    for gap, probability in zip(gaps.tolist(), theory.top_gap_survival(gaps, 50, sigma).tolist(), strict=True):
        assert abs((lead > gap).double().mean().item() - probability) < 4 * 0.5 / math.sqrt(20_000)
    assert theory.median_top_gap(50, sigma) == pytest.approx(lead.median().item(), rel=0.04)
    assert theory.top_gap_survival(theory.median_top_gap(50, sigma), 50, sigma).item() == pytest.approx(0.5)


def test_the_lead_bounds_the_largest_weight():
    logits = 5 * torch.randn(1000, 30, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    top = logits.topk(2).values
    lead, largest = top[:, 0] - top[:, 1], logits.softmax(1).amax(1)
    assert (largest <= lead.sigmoid() + 1e-15).all() and (largest >= (lead - math.log(29)).sigmoid() - 1e-15).all()


def test_expectations_over_a_normal_variable():
    powers = integral(lambda y: torch.stack([y**n for n in (0, 1, 2, 3, 4, 6)]))
    torch.testing.assert_close(powers, torch.tensor([1, 0, 1, 0, 3, 15.0]).double(), rtol=0, atol=1e-12)
    assert integral(lambda y: torch.exp(y)).item() == pytest.approx(math.exp(0.5), abs=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: theory.dot_product_moments(0), "dim: expected at least 1, got 0"),
        (lambda: theory.dot_product_moments(2, 0.0), "query_sigma: expected a positive number, got 0.0"),
        (lambda: theory.dot_product_moments(2, 1.0, -1.0), "key_sigma: expected a positive number, got -1.0"),
        (lambda: theory.variance_standard_error(theory.Moments(1, 0), 1), "samples: expected at least 2, got 1"),
        (lambda: theory.top_gap_survival(0.0, 1), "keys: expected at least 2, got 1"),
        (lambda: theory.top_gap_survival(-1.0, 2), "gap: expected at least 0, got -1.0"),
        (lambda: theory.median_top_gap(2, 0.0), "logit_sigma: expected a positive number, got 0.0"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
