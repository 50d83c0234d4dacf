"""Every backend equals `reference`, outputs and all gradients, over the product of masks, biases, scores and types."""

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

import core
from core import biases, masks, scores
from core.backends import BACKENDS
from core.engine import pose

from ..cases import Sizes, bias_cases, cases, mask_cases

SCORES = [scores.Dot(), scores.Cosine(), scores.Gaussian()]
OTHERS = [name for name in BACKENDS if name not in ("reference", "flex")]  # flex serves on CUDA alone: test_flex.py
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 2e-3}


def refusals(backend, q, k, v, **arguments):
    """Answer why the backend cannot serve `attend` with these arguments; empty if it can."""
    defaults = {"mask": None, "bias": None, "score": scores.Dot(), "scale": None, "temperature": 1.0}
    problem = pose(q, k, v, **{**defaults, "dropout_p": 0.0, "need": (), **arguments})
    return BACKENDS[backend].not_supported_reasons(problem)


def skip_refused(backend, q, k, v, **arguments):
    """Skip the test where the backend serves other problems than this one."""
    reasons = refusals(backend, q, k, v, **arguments)
    if reasons:
        pytest.skip(f"{backend} serves other problems: {'; '.join(reasons)}")


def run(backend, s, mask, build, learnable, qkv, gradient, **arguments):
    """Answer the output and every gradient: of q, k and v and of what the bias learns."""
    inputs = [x.detach().clone().requires_grad_() for x in qkv]
    tensors = [t.detach().clone().requires_grad_() for t in learnable]
    bias = None if build is None else build(*tensors)
    out = core.attend(*inputs, mask=mask, bias=bias, backend=backend, **arguments)
    return (out, *torch.autograd.grad((out * gradient).sum(), [*inputs, *tensors], allow_unused=True))


def assert_equal(got, expected, tolerance):
    """Compare relative to the largest number in play: a gradient may be a sum of large terms that cancel."""
    scale = max((float(y.detach().abs().max()) for y in expected if y is not None and y.numel()), default=0.0)
    for x, y in zip(got, expected, strict=True):
        if y is None or x is None:
            assert (x is None or (x == 0).all()) and (y is None or (y == 0).all())
            continue
        assert x.dtype == y.dtype
        torch.testing.assert_close(x, y, rtol=tolerance, atol=tolerance * scale)


@pytest.mark.parametrize("backend", OTHERS)
@settings(max_examples=cases(250))
@given(
    sizes=st.tuples(st.integers(0, 2), st.sampled_from([1, 2, 4]), st.integers(1, 9), st.integers(1, 9)),
    heads=st.sampled_from([1, 2]),
    D=st.integers(1, 9),
    Dv=st.integers(1, 9),
    score=st.sampled_from(SCORES),
    dtype=st.sampled_from([torch.float64, torch.float64, torch.float32, torch.bfloat16, torch.float16]),
    temperature=st.sampled_from([1.0, 0.5, 3.0]),
    seed=st.integers(0, 10**6),
    data=st.data(),
)
def test_equals_reference(backend, sizes, heads, D, Dv, score, dtype, temperature, seed, data):
    B, Hk, Lq, Lk = sizes
    H = Hk * heads
    s = Sizes(B, H, Lq, Lk, seed=seed)
    some_masks, some_biases = mask_cases(s), bias_cases(s)
    bias = data.draw(st.none() | st.sampled_from(sorted(some_biases)), label="bias")
    build, learnable, _ = (None, (), None) if bias is None else some_biases[bias]
    qkv = [s.normal(B, h, L, d).to(dtype) for h, L, d in ((H, Lq, D), (Hk, Lk, D), (Hk, Lk, Dv))]
    choices = {"none": None} | {name: case[0] for name, case in some_masks.items()}
    logits = {"bias": None if build is None else build(*learnable), "score": score, "temperature": temperature}
    served = [name for name, mask in choices.items() if not refusals(backend, *qkv, mask=mask, **logits)]
    assume(served)
    mask = choices[data.draw(st.sampled_from(served), label="mask")]
    gradient = s.normal(B, H, Lq, Dv).to(dtype)
    learnable = tuple(t.to(torch.float64 if dtype == torch.float64 else torch.float32) for t in learnable)
    arguments = {"score": score, "temperature": temperature}
    expected = run("reference", s, mask, build, learnable, qkv, gradient, **arguments)
    got = run(backend, s, mask, build, learnable, qkv, gradient, **arguments)
    assert_equal(got, expected, TOLERANCE[dtype])


@pytest.mark.parametrize("backend", OTHERS)
@settings(max_examples=cases(200))
@given(
    sizes=st.tuples(st.integers(1, 2), st.sampled_from([1, 2]), st.integers(1, 9), st.integers(1, 9)),
    heads=st.sampled_from([1, 2]),
    D=st.integers(1, 9),
    Dv=st.integers(1, 9),
    score=st.sampled_from(SCORES),
    dtype=st.sampled_from([torch.float64, torch.float32]),
    temperature=st.sampled_from([1.0, 0.5, 3.0]),
    seed=st.integers(0, 10**6),
    data=st.data(),
)
def test_statistics_equal_reference(backend, sizes, heads, D, Dv, score, dtype, temperature, seed, data):
    """Output, lse and entropy where nothing is differentiated, which is all that some backends serve."""
    B, Hk, Lq, Lk = sizes
    s = Sizes(B, Hk * heads, Lq, Lk, seed=seed, dtype=dtype)
    some_masks, some_biases = mask_cases(s), bias_cases(s)
    bias = data.draw(st.none() | st.sampled_from(sorted(some_biases)), label="bias")
    qkv = [s.normal(B, h, L, d) for h, L, d in ((s.H, Lq, D), (Hk, Lk, D), (Hk, Lk, Dv))]
    arguments = {
        "bias": None if bias is None else some_biases[bias][0](*some_biases[bias][1]),
        "score": score,
        "temperature": temperature,
        "need": ("lse", "entropy"),
    }
    choices = {"none": None} | {name: case[0] for name, case in some_masks.items()}
    served = [name for name, mask in choices.items() if not refusals(backend, *qkv, mask=mask, **arguments)]
    assume(served)
    mask = choices[data.draw(st.sampled_from(served), label="mask")]
    expected, got = (core.attend(*qkv, mask=mask, backend=b, **arguments) for b in ("reference", backend))
    tolerance = TOLERANCE[dtype]
    scale = max(1.0, float(expected.lse.nan_to_num(neginf=0.0).abs().max()))
    for x, y in zip(got[:3], expected[:3], strict=True):
        torch.testing.assert_close(x, y, rtol=tolerance, atol=tolerance * scale)


@pytest.mark.parametrize("backend", OTHERS)
@pytest.mark.parametrize("strange", ["transposed", "strided", "expanded", "reversed"])
def test_memory_layouts(backend, strange):
    def make():
        if strange == "transposed":
            return torch.randn(2, 5, 4, 6, dtype=torch.float64).transpose(1, 2)
        if strange == "strided":
            return torch.randn(2, 4, 6, 5, dtype=torch.float64).mT
        if strange == "expanded":
            return torch.randn(1, 4, 5, 6, dtype=torch.float64).expand(2, -1, -1, -1)
        return torch.randn(2, 4, 5, 12, dtype=torch.float64)[..., ::2]

    q, k, v = make(), make(), make()
    skip_refused(backend, q, k, v)
    a = core.attend(q, k, v, backend=backend)
    torch.testing.assert_close(a, core.attend(q.contiguous(), k.contiguous(), v.contiguous(), backend="reference"))


@pytest.mark.parametrize("backend", list(BACKENDS))
def test_gradcheck(backend):
    s = Sizes(2, 2, 3, 4)
    lengths = torch.tensor([2, 4])
    times, key_times = s.normal(2, 3), s.normal(2, 4)
    q, k, v, rate = (
        x.requires_grad_() for x in (s.normal(2, 2, 3, 3), s.normal(2, 1, 4, 3), s.normal(2, 1, 4, 2), s.normal(2))
    )

    def f(q, k, v, rate):
        bias = biases.TimeDecay(times, rate, key_times=key_times)
        return core.attend(q, k, v, mask=masks.Causal() & masks.Padding(lengths), bias=bias, backend=backend)

    skip_refused(backend, q, k, v, mask=masks.Causal() & masks.Padding(lengths))
    assert gradcheck(f, (q, k, v, rate))


def test_double_backward_of_the_reference():
    s = Sizes(1, 1, 3, 3)
    inputs = [s.normal(1, 1, 3, 2).requires_grad_() for _ in range(3)]
    assert gradgradcheck(lambda q, k, v: core.attend(q, k, v, mask=masks.Causal(), backend="reference"), inputs)


@pytest.mark.parametrize("need", ["lse", "entropy", "weights"])
def test_statistics_are_differentiable(need):
    s = Sizes(1, 2, 3, 3)
    inputs = [s.normal(1, 2, 3, 2).requires_grad_() for _ in range(3)]
    assert gradcheck(lambda q, k, v: getattr(core.attend(q, k, v, mask=masks.Window(1, 1), need=(need,)), need), inputs)


@pytest.mark.parametrize("backend", list(BACKENDS))
def test_two_runs_are_bitwise_equal(backend):
    s = Sizes(2, 2, 64, 64, dtype=torch.float32)
    qkv = [s.normal(2, 2, 64, 16) for _ in range(3)]
    slopes = torch.tensor([0.1, 0.2])
    skip_refused(backend, *qkv, mask=masks.Causal())
    answers = [run(backend, s, masks.Causal(), biases.Alibi, (slopes,), qkv, torch.ones(())) for _ in range(2)]
    for a, b in zip(*answers, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("backend", list(BACKENDS))
@pytest.mark.parametrize("autocast", [torch.bfloat16, torch.float16])
def test_autocast(backend, autocast):
    """q, k and v take autocast's dtype; the bias and its rate stay in float32."""
    q, k, v = (torch.randn(1, 2, 5, 8) for _ in range(3))
    rate = torch.tensor([0.3, 0.01], requires_grad=True)
    times = torch.arange(5.0)[None] * 100
    skip_refused(backend, q, k, v)
    with torch.autocast("cpu", dtype=autocast):
        out = core.attend(q, k, v, bias=biases.TimeDecay(times, rate), backend=backend)
        wide = core.attend(q.double(), k.double(), v.double(), backend=backend)
    assert out.dtype == autocast
    assert wide.dtype == torch.float64
    low = [x.to(autocast) for x in (q, k, v)]
    assert torch.equal(out, core.attend(*low, bias=biases.TimeDecay(times, rate), backend=backend))
    (gradient,) = torch.autograd.grad(out.float().sum(), rate)
    assert gradient.dtype == torch.float32


@pytest.mark.parametrize("backend", [name for name in OTHERS if name != "fused"])
@pytest.mark.parametrize("name", ["window", "neighbours"])
def test_autocast_around_backward_rounds_nothing(backend, name):
    """Gradients are the same whether backward is called inside of autocast or outside; torch's own are rounded."""
    s = Sizes(1, 2, 6, 6, dtype=torch.float32)
    mask = mask_cases(s)[name][0]
    inputs = [s.normal(1, 2, 6, 4).requires_grad_() for _ in range(3)]
    slopes = torch.tensor([0.1, 0.2], requires_grad=True)
    skip_refused(backend, *inputs, mask=mask, bias=biases.Alibi(slopes))
    found = []
    for inside in (False, True):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = core.attend(*inputs, mask=mask, bias=biases.Alibi(slopes), backend=backend).float().square().sum()
            if inside:
                found.append(torch.autograd.grad(out, (*inputs, slopes)))
        if not inside:
            found.append(torch.autograd.grad(out, (*inputs, slopes)))
    for a, b in zip(*found, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("backend", list(BACKENDS))
@pytest.mark.parametrize("name", ["window", "neighbours per item"])
def test_threads_change_nothing_but_rounding(backend, name):
    s = Sizes(2, 4, 96, 96)
    mask, qkv = mask_cases(s)[name][0], [s.normal(2, 4, 96, 16) for _ in range(3)]
    slopes = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    skip_refused(backend, *qkv, mask=mask, bias=biases.Alibi(slopes))
    before, answers = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            answers.append(run(backend, s, mask, biases.Alibi, (slopes,), qkv, torch.ones((), dtype=torch.float64)))
    finally:
        torch.set_num_threads(before)
    for answer in answers[1:]:
        for a, b in zip(answer, answers[0], strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


class TestFusedKernel:
    """What `plan` says of memory is what torch does: the flash kernel (1 on the CPU) or its math path (0)."""

    @pytest.mark.parametrize(
        ("arguments", "choice", "memory"),
        [
            ({}, 1, "O(L d)"),
            ({"mask": masks.Causal()}, 1, "O(L d)"),
            ({"mask": masks.Padding(torch.tensor([3, 6]))}, 1, "O(L d)"),
            ({"mask": masks.Window(1, 1)}, 1, "O(L^2): a dense mask"),
            ({"bias": biases.Alibi(0.1)}, 1, "O(L^2): a dense mask"),
            ({"bias": biases.Alibi(torch.ones(4, requires_grad=True))}, 0, "O(L^2): the mask requires grad"),
            ({"score": scores.Gaussian()}, 1, "O(L d)"),
            ({"score": scores.Cosine()}, 1, "O(L d)"),
        ],
    )
    @pytest.mark.parametrize("Dv", [4, 8, 12])
    @pytest.mark.parametrize("Hk", [2, 4])
    def test_kernel_and_memory(self, monkeypatch, arguments, choice, memory, Dv, Hk):
        seen = []
        sdpa = torch.nn.functional.scaled_dot_product_attention

        def spy(q, k, v, **kw):
            seen.append(torch._fused_sdp_choice(q, k, v, **kw))
            return sdpa(q, k, v, **kw)

        monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", spy)
        q, k, v = (torch.randn(2, h, 6, d, requires_grad=True) for h, d in ((4, 8), (Hk, 8), (Hk, Dv)))
        core.attend(q, k, v, **arguments, backend="fused")
        assert seen == [choice]
        plan = core.plan(q, k, v, **arguments)
        assert plan.backend == "fused"
        assert plan.candidates[0].cost.memory.startswith(memory)

    def test_lengths_on_both_sides_keep_the_causal_kernel(self, monkeypatch):
        x, lengths = torch.randn(2, 2, 6, 8), torch.tensor([3, 6])
        assert "O(L d)" in core.plan(x, x, x, mask=masks.Causal() & masks.Padding(lengths, lengths)).candidates[0].cost
        assert (
            "O(L^2): a dense mask"
            in core.plan(x, x, x, mask=masks.Causal() & masks.Padding(lengths)).candidates[0].cost
        )
