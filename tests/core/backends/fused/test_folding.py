"""Biases that become features: folded where that is right, left alone where it is not, never wrong."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import core
from core import biases, masks
from core.backends.fused.folding import limit

B, H, L, D = 2, 4, 9, 5
LENGTHS = torch.tensor([6, 9])
SORTED = torch.tensor([[0.0, 1, 1, 2, 5, 8, 8, 8, 9], [3, 4, 5, 5, 5, 6, 20, 21, 22]], dtype=torch.float64)
CAUSAL = masks.Causal()
PADDED = masks.Padding(LENGTHS, LENGTHS)
RATE = torch.tensor([0.01, 0.1, 0.5, 2.0], dtype=torch.float64)
POINTS = torch.randn(B, L, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
VALUE = torch.randn(B, L, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def reversed_times(rate):
    return biases.TimeDecay(SORTED.flip(1), rate)


def memory_of_fused(mask, bias, dtype=torch.float64, Hk=H, **arguments):
    q, k = torch.zeros(B, H, L, D, dtype=dtype), torch.zeros(B, Hk, L, D, dtype=dtype)
    return core.plan(q, k, k, mask=mask, bias=bias, **arguments).candidates[0].cost.memory


FOLDED = {
    "sorted times": (CAUSAL, lambda r: biases.TimeDecay(SORTED, r), RATE),
    "sorted times, padded": (CAUSAL & PADDED, lambda r: biases.TimeDecay(SORTED, r), RATE),
    "gaussian times in any order": (None, lambda r: biases.TimeDecay(SORTED.flip(1), r, "gaussian"), RATE),
    "gaussian distance": (masks.Padding(LENGTHS), lambda r: biases.DistanceDecay(POINTS, r, "gaussian"), RATE),
    "ALiBi": (CAUSAL, biases.Alibi, RATE),
    "key bias": (PADDED, biases.KeyBias, VALUE),
    "two of them": (CAUSAL, lambda r: biases.Alibi(r) + biases.TimeDecay(SORTED, 0.3), RATE),
    "a scalar rate": (CAUSAL, lambda r: biases.TimeDecay(SORTED, r), RATE[1]),
}
LEFT_ALONE = {
    "times that are not sorted": (CAUSAL, reversed_times, RATE),
    "no causality": (None, lambda r: biases.TimeDecay(SORTED, r), RATE),
    "another kernel": (CAUSAL, lambda r: biases.TimeDecay(SORTED, r, "logarithmic"), RATE),
    "large features": (CAUSAL, lambda r: biases.TimeDecay(SORTED * 1e6, r), RATE),
    "what cannot be folded is learned too": (
        CAUSAL,
        lambda r: biases.TimeDecay(SORTED, r) + biases.Relative(r[:, None]),
        RATE,
    ),
    "a key bias of -inf": (None, lambda v: biases.KeyBias(v.masked_fill(v > 1, -torch.inf)), VALUE),
}


def answers(mask, build, learnable, q, k, v, backend, **arguments):
    inputs = [x.detach().clone().requires_grad_() for x in (q, k, v, learnable)]
    out = core.attend(*inputs[:3], mask=mask, bias=build(inputs[3]), backend=backend, **arguments)
    weight = torch.randn(out.shape, generator=torch.Generator().manual_seed(5), dtype=out.dtype)
    return (out, *torch.autograd.grad((out * weight).sum(), inputs))


@pytest.mark.parametrize(
    "arguments", [{}, {"temperature": 2.0}, {"scale": 0.0}, {"score": core.scores.Gaussian()}], ids=str
)
@pytest.mark.parametrize("name", [*FOLDED, *LEFT_ALONE])
def test_equals_the_reference(name, arguments):
    mask, build, learnable = {**FOLDED, **LEFT_ALONE}[name]
    q, k, v = torch.randn(3, B, H, L, D, dtype=torch.float64)
    expected = answers(mask, build, learnable, q, k, v, "reference", **arguments)
    for got, wanted in zip(answers(mask, build, learnable, q, k, v, "fused", **arguments), expected, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", FOLDED)
def test_folded_without_a_mask_of_the_square_of_the_length(name):
    mask, build, learnable = FOLDED[name]
    assert memory_of_fused(mask, build(learnable.clone().requires_grad_())) == "O(L d)"


@pytest.mark.parametrize("name", LEFT_ALONE)
def test_left_alone(name):
    mask, build, learnable = LEFT_ALONE[name]
    assert memory_of_fused(mask, build(learnable.clone().requires_grad_())).startswith("O(L^2)")


def test_grouped_queries():
    q, k, v = torch.randn(B, H, L, D).double(), torch.randn(B, 2, L, D).double(), torch.randn(B, 2, L, D).double()
    mask, build, rate = FOLDED["sorted times, padded"]
    assert memory_of_fused(mask, build(rate), Hk=2) == "O(L d)"
    pairs = zip(*(answers(mask, build, rate, q, k, v, b) for b in ("fused", "reference")), strict=True)
    for got, wanted in pairs:
        torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-10)
    per_head = biases.KeyBias(torch.zeros(B, H, L, dtype=torch.float64, requires_grad=True))
    assert memory_of_fused(None, per_head, Hk=2).startswith("O(L^2)")
    assert memory_of_fused(None, per_head) == "O(L d)"


def test_half_precision_is_never_folded():
    mask, build, rate = FOLDED["sorted times"]
    assert memory_of_fused(mask, build(rate), dtype=torch.bfloat16).startswith("O(L^2)")


def test_order_and_values_in_the_padding_do_not_matter():
    mask, _, rate = FOLDED["sorted times, padded"]
    q, k, v = torch.randn(3, B, H, L, D, dtype=torch.float64)
    clean = None
    for fill in (0.0, -5.0, math.nan, math.inf):
        times = SORTED.clone()
        times[0, 6:] = fill
        assert memory_of_fused(mask, biases.TimeDecay(times, rate)) == "O(L d)"
        got = answers(mask, lambda r, times=times: biases.TimeDecay(times, r), rate, q, k, v, "fused")
        clean = got if clean is None else clean
        for a, b in zip(got, clean, strict=True):
            assert torch.equal(a, b)


def test_a_padded_query_that_counts_must_be_sorted_too():
    """Padding that fences keys alone leaves the later rows in, so their times must come in order as well."""
    times = SORTED.clone()
    times[0, 6:] = -5.0
    mask = CAUSAL & masks.Padding(LENGTHS)
    assert memory_of_fused(mask, biases.TimeDecay(times, RATE.clone().requires_grad_())).startswith("O(L^2)")


def test_the_plan_of_a_compiled_program_does_not_depend_on_times():
    def f(x, times, rate):
        return core.attend(x, x, x, mask=masks.Causal(), bias=biases.TimeDecay(times, rate))

    x, rate = torch.randn(B, H, L, D, dtype=torch.float64), RATE
    compiled = torch.compile(f, fullgraph=True, backend="aot_eager")
    for times in (SORTED, SORTED.flip(1)):
        torch.testing.assert_close(compiled(x, times, rate), f(x, times, rate))


@settings(max_examples=100)
@given(st.floats(-3, 1), st.floats(0.0, 1.0), st.integers(2, 200), st.integers(0, 10**6))
def test_float32_error_at_and_below_the_limit(log_rate, share, length, seed):
    """Features up to the limit keep the weights within 1e-5 of float64."""
    g = torch.Generator().manual_seed(seed)
    rate = 10**log_rate
    span = 2 * share * limit(torch.float32) / rate * 0.999
    times = torch.rand(1, length, generator=g, dtype=torch.float64).sort().values * span
    times = times.float()
    q, k = torch.randn(2, 1, 1, length, 8, generator=g)
    v = torch.eye(length)[None, None]  # the output is the weights themselves
    assert core.plan(q, k, v, mask=CAUSAL, bias=biases.TimeDecay(times, rate)).candidates[0].cost.is_linear
    got = core.attend(q, k, v, mask=CAUSAL, bias=biases.TimeDecay(times, rate), backend="fused")
    exact = core.attend(
        *(x.double() for x in (q, k, v)), mask=CAUSAL, bias=biases.TimeDecay(times.double(), rate), backend="reference"
    )
    assert (got - exact).abs().max() < 1e-5


@pytest.mark.parametrize(("batch", "length"), [(0, 3), (2, 0), (1, 1)])
@pytest.mark.parametrize("backend", ["fused", "reference", "tiled"])
@pytest.mark.parametrize("mask", [None, CAUSAL, masks.Window(1, 0)], ids=str)
def test_nothing_and_almost_nothing(batch, length, backend, mask):
    x = torch.randn(batch, H, length, D)
    times, points = torch.zeros(batch, length), torch.zeros(batch, length, 2)
    for bias in (
        biases.TimeDecay(times, 0.1),
        biases.TimeDecay(times, 0.1, "gaussian"),
        biases.DistanceDecay(points, 0.1, "gaussian"),
        biases.Alibi(0.1),
        biases.KeyBias(times),
    ):
        assert core.attend(x, x, x, mask=mask, bias=bias, backend=backend).shape == x.shape
