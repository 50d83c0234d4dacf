"""Attention in the band of a mask: exact, repeatable, linear in length."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

import core
from core import biases, masks
from core.backends.banded import banded
from tests.memory import peak_bytes
from tests.tolerance import FUNCTION, rounding

from ...cases import Sizes, bias_cases, cases
from ..test_backends import SCORES, TOLERANCE, assert_equal
from .bands import GLOBAL, MASKS, SIZES, SMALL, masks_with_a_band, small

FIRST = masks.Global(torch.tensor([0, 1]))


def answers(backend, qkv, learnable, build, gradient, **arguments):
    """Answer out, lse and entropy, as far as asked for, and all gradients of a loss that uses each."""
    inputs = [x.detach().clone().requires_grad_() for x in (*qkv, *learnable)]
    bias = None if build is None else build(*inputs[3:])
    arguments["generator"] = torch.Generator().manual_seed(1)
    got = core.attend(*inputs[:3], bias=bias, backend=backend, **arguments)
    outputs = [x for x in got if x is not None] if arguments["need"] else [got]
    loss = (outputs[0] * gradient).sum()
    loss = loss + sum(torch.where(x.isfinite(), x, 0.0).square().sum() for x in outputs[1:])
    return (*outputs, *torch.autograd.grad(loss, inputs, allow_unused=True))


@settings(max_examples=cases(150))
@given(
    sizes=SIZES,
    groups=st.sampled_from([1, 2]),
    dims=st.sampled_from([(4, 4), (3, 5), (5, 2)]),
    tile=SMALL,
    choice=MASKS,
    score=st.sampled_from(SCORES),
    dtype=st.sampled_from([torch.float64, torch.float64, torch.float32, torch.bfloat16]),
    dropout_p=st.sampled_from([0.0, 0.0, 0.3]),
    need=st.sampled_from([(), ("lse",), ("lse", "entropy")]),
    seed=st.integers(0, 10**6),
    data=st.data(),
)
def test_equals_the_reference(sizes, groups, dims, tile, choice, score, dtype, dropout_p, need, seed, data):
    B, Hk, Lq, Lk = sizes
    s = Sizes(B, Hk * groups, Lq, Lk, seed=seed)
    options, some_biases = masks_with_a_band(s), bias_cases(s)
    mask = options[choice % len(options)]
    name = data.draw(st.none() | st.sampled_from(sorted(some_biases)), label="bias")
    build, learnable, _ = (None, (), None) if name is None else some_biases[name]
    learnable = [t.to(torch.float64 if dtype == torch.float64 else torch.float32) for t in learnable]
    if build is not None and data.draw(st.booleans(), label="fixed"):
        fixed = build(*learnable)
        build, learnable = (lambda: fixed), []
    per_head = (s.normal(s.H).abs() + 0.5).to(torch.float64 if dtype == torch.float64 else torch.float32)
    temperature = data.draw(st.sampled_from([0.7, per_head]), label="temperature")
    qkv = [s.normal(B, h, L, d).to(dtype) for h, L, d in ((s.H, Lq, dims[0]), (Hk, Lk, dims[0]), (Hk, Lk, dims[1]))]
    gradient = s.normal(B, s.H, Lq, dims[1]).to(dtype)
    arguments = {"mask": mask, "score": score, "temperature": temperature, "dropout_p": dropout_p, "need": need}
    expected = answers("reference", qkv, learnable, build, gradient, **arguments)
    with small(*tile):
        got = answers("banded", qkv, learnable, build, gradient, **arguments)
    finite = [[None if x is None else x.nan_to_num(neginf=-1.0) for x in xs] for xs in (got, expected)]
    assert_equal(*finite, TOLERANCE[dtype])


@pytest.mark.parametrize("L", [1, 63, 64, 65, 128, 200])
@pytest.mark.parametrize("mask", [masks.Window(17, 5), masks.Dilated(9, 9, 3), masks.Window(300, 9) | GLOBAL], ids=str)
def test_lengths_at_the_edges_of_blocks(L, mask):
    """Blocks of the size that is used: a block less one, a block, and a block and one; a window beyond both ends."""
    s = Sizes(2, 2, L, max(L, 4))
    qkv = [s.normal(2, 2, n, 8) for n in (L, max(L, 4), max(L, 4))]
    arguments = {"mask": mask, "need": ("lse",)}
    gradient = s.normal(2, 2, L, 8)
    expected = answers("reference", qkv, [], None, gradient, **arguments)
    assert_equal(answers("banded", qkv, [], None, gradient, **arguments), expected, 1e-10)


def test_receptive_field_by_hand():
    """q = 0: every visible key weighs the same, so the output is the mean position of what is seen."""
    q, k = torch.zeros(1, 1, 100, 2), torch.zeros(1, 1, 100, 2)
    v = torch.arange(100.0)[None, None, :, None]
    out = core.attend(q, k, v, mask=masks.Dilated(2, 1, 10) | masks.Global(torch.tensor([99])), backend="banded")
    expected = {50: (30 + 40 + 50 + 60 + 99) / 5, 5: (5 + 15 + 99) / 3, 99: 49.5, 89: (69 + 79 + 89 + 99) / 4}
    for row, value in expected.items():
        assert out[0, 0, row, 0].item() == pytest.approx(value, abs=rounding(100 + FUNCTION, 99.0))


def test_the_kernel_runs_where_it_can(monkeypatch):
    """With a learned bias, dropout, entropy or a NaN the tile engine takes over, and answers the same."""
    calls = []
    blocks = banded.attend_by_blocks
    monkeypatch.setattr(banded, "attend_by_blocks", lambda *a: calls.append(1) or blocks(*a))
    x, nan = torch.randn(1, 2, 9, 4), torch.randn(1, 2, 9, 4)
    nan[0, 0, 3, 0] = torch.nan
    slopes = torch.ones(2, requires_grad=True)
    cases = [
        (x, {}, 1),
        (x, {"bias": biases.Alibi(slopes.detach()), "need": ("lse",)}, 1),
        (x, {"bias": biases.Alibi(slopes)}, 0),
        (x, {"dropout_p": 0.1}, 0),
        (x, {"need": ("entropy",)}, 0),
        (nan, {}, 0),
    ]
    for q, arguments, expected in cases:
        calls.clear()
        core.attend(q, x, x, mask=masks.Window(1, 1), backend="banded", **arguments)
        assert len(calls) == expected, arguments


@pytest.mark.parametrize("mask", [masks.Window(1, 0), masks.Dilated(1, 1, 2) | GLOBAL], ids=str)
@pytest.mark.parametrize("score", SCORES, ids=str)
def test_gradcheck(mask, score):
    s = Sizes(1, 2, 5, 6)
    inputs = [s.normal(1, h, L, 2).requires_grad_() for h, L in ((2, 5), (1, 6), (1, 6))]
    padded = mask & masks.Padding(torch.tensor([4]))

    def f(*qkv):
        got = core.attend(*qkv, mask=padded, score=score, need=("lse",), backend="banded")
        return got.out, torch.where(got.lse.isfinite(), got.lse, 0.0)

    with small(2, 2, 1 << 20):
        assert gradcheck(f, inputs)


@pytest.mark.parametrize("mask", [masks.Window(3, 3), masks.Window(3, 3) | masks.Global(torch.tensor([1]))], ids=str)
def test_what_nobody_may_see_changes_nothing(mask):
    mask = mask & masks.Padding(torch.tensor([150]))
    q, k, v = (torch.randn(1, 2, 200, 8) for _ in range(3))
    gradient = torch.randn(1, 2, 200, 8)
    clean = answers("banded", (q, k, v), [], None, gradient, mask=mask, need=("lse",))
    for junk in (torch.nan, torch.inf, 1e4):
        dirty = [x.index_fill(2, torch.arange(150, 200), junk) for x in (k, v)]
        got = answers("banded", (q, *dirty), [], None, gradient, mask=mask, need=("lse",))
        assert_equal([x.nan_to_num(neginf=-1.0) for x in got], [x.nan_to_num(neginf=-1.0) for x in clean], 1e-5)


def test_a_nan_stays_within_the_window():
    q, k, v = (torch.randn(1, 2, 40, 4) for _ in range(3))
    v[0, 0, 20, 1] = torch.nan
    out = core.attend(q, k, v, mask=masks.Window(2, 1), backend="banded")
    rows = out.isnan().any(dim=-1)
    assert rows[0, 0].nonzero().flatten().tolist() == [19, 20, 21, 22]
    assert not rows[0, 1].any()


@pytest.mark.parametrize("learned", [False, True])
def test_two_runs_are_bitwise_equal(learned):
    s = Sizes(2, 2, 300, 300, dtype=torch.float32)
    qkv, slopes = [s.normal(2, 2, 300, 16) for _ in range(3)], [torch.tensor([0.1, 0.2])] if learned else []
    mask = masks.Window(20, 20) | GLOBAL
    runs = [
        answers("banded", qkv, slopes, biases.Alibi if learned else None, torch.ones(()), mask=mask, need=())
        for _ in "12"
    ]
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))


def test_what_it_cannot_do_is_said():
    x = torch.randn(1, 1, 8, 2, requires_grad=True)
    with pytest.raises(ValueError, match="got 'banded', which cannot: the mask has no band: expected a Window"):
        core.attend(x, x, x, mask=masks.Causal(), backend="banded")
    with pytest.raises(ValueError, match="got 'banded', which cannot: weights: a block is gone"):
        core.attend(x, x, x, mask=masks.Window(1, 1), need=("weights",), backend="banded")
    out = core.attend(x, x, x, mask=masks.Window(1, 1), backend="banded")
    with pytest.raises(RuntimeError, match=r"backend: expected 'reference' for second derivatives.*got 'banded'"):
        torch.autograd.grad(out.sum(), x, create_graph=True)


def test_deepcopy_and_checkpoint():
    x = torch.randn(1, 2, 70, 4, requires_grad=True)

    def f(x):
        return core.attend(x, x, x, mask=masks.Window(3, 3), backend="banded")

    again = torch.utils.checkpoint.checkpoint(f, x, use_reentrant=False)
    assert torch.equal(*(torch.autograd.grad(out.square().sum(), x)[0] for out in (f(x), again)))


def test_autocast_of_the_caller_does_not_round_the_gradients():
    """Backward within autocast: sums stay in float32."""
    x = torch.randn(1, 2, 40, 8, requires_grad=True)
    out = core.attend(x, x, x, mask=masks.Window(3, 3) | GLOBAL, backend="banded")
    (expected,) = torch.autograd.grad(out.square().sum(), x, retain_graph=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        (got,) = torch.autograd.grad(out.square().sum(), x)
    assert torch.equal(got, expected)


def test_cost_is_linear_in_length():
    def flops(L, mask):
        x = torch.empty(1, 2, L, 16, device="meta")
        found = {c.backend: c for c in core.plan(x, x, x, mask=mask).candidates}["banded"]
        assert found.cost.is_linear
        assert not found.reasons
        return found.cost.flops

    for mask in (masks.Window(32, 32), masks.Dilated(8, 0, 4), masks.Window(8, 8) | GLOBAL.to("meta")):
        assert flops(8192, mask) == 4 * flops(2048, mask)


def test_equals_the_package_local_attention():
    """Another implementation: every query sees `window_size` keys on either side."""
    local_attention = pytest.importorskip("local_attention", reason="a peer: pip install local-attention")
    peer = local_attention.LocalAttention(
        window_size=16, causal=False, look_backward=1, look_forward=1, exact_windowsize=True, use_rotary_pos_emb=False
    )
    inputs = [torch.randn(2, 3, 96, 8, requires_grad=True) for _ in range(3)]
    gradient = torch.randn(2, 3, 96, 8)
    outs = peer(*inputs), core.attend(*inputs, mask=masks.Window(16, 16), backend="banded")
    got, expected = ((out, *torch.autograd.grad((out * gradient).sum(), inputs)) for out in outs)
    assert_equal(got, expected, 1e-5)


@pytest.mark.parametrize(
    ("mask", "learns", "least", "most"),
    [
        (masks.Dilated(32, 32, 4) | FIRST, True, 0.7, 1.4),
        (masks.Window(64, 64) | FIRST, False, 0.5, 1.0),  # the plan counts all buffers of the blocks as full
    ],
    ids=str,
)
def test_peak_memory_is_what_was_planned(mask, learns, least, most):
    """L = 8192, where one L x L matrix of four heads would be 1 GB; twice the plan, or half of it, lies outside."""
    q, k, v = (torch.randn(1, 4, 8192, 64, requires_grad=True) for _ in range(3))
    slopes = torch.full((4,), 0.1, requires_grad=learns)
    arguments = {"mask": mask, "bias": biases.Alibi(slopes) if learns else None}
    inputs = [q, k, v, slopes] if learns else [q, k, v]
    planned = {c.backend: c.cost for c in core.plan(q, k, v, **arguments).candidates}["banded"].peak_bytes
    measured = peak_bytes(
        lambda: torch.autograd.grad(core.attend(q, k, v, **arguments, backend="banded").sum(), inputs)
    )
    assert least <= measured / planned <= most, (measured, planned)
