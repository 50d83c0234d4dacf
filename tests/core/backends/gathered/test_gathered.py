"""Attention over listed pairs: it equals the definition and costs its pairs."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

import core
from core import biases, masks
from core.symbols import Pairs
from tests.memory import peak_bytes

from ...cases import Sizes, bias_cases, cases
from ..test_backends import SCORES, TOLERANCE, assert_equal
from .listed import answers, graph, pair_masks


@settings(max_examples=cases(200))
@given(
    sizes=st.tuples(st.integers(0, 3), st.sampled_from([1, 2]), st.integers(1, 9), st.integers(1, 9)),
    groups=st.sampled_from([1, 2]),
    D=st.integers(1, 9),
    Dv=st.integers(1, 9),
    score=st.sampled_from(SCORES),
    dtype=st.sampled_from([torch.float64, torch.float64, torch.float32, torch.bfloat16]),
    numbers=st.sampled_from([(None, 1.0), (0.3, 0.7), ("scalar", "heads"), ("heads", 2.0)]),
    dropout_p=st.sampled_from([0.0, 0.3]),
    seed=st.integers(0, 10**6),
    data=st.data(),
)
def test_equals_reference(sizes, groups, D, Dv, score, dtype, numbers, dropout_p, seed, data):
    """Outputs, lse, entropy, pair weights and all gradients, scale and temperature learned or not."""
    B, Hk, Lq, Lk = sizes
    H = Hk * groups
    s = Sizes(B, H, Lq, Lk, seed=seed)
    mask = data.draw(st.sampled_from(list(pair_masks(s))), label="mask")
    some_biases = bias_cases(s)
    bias = data.draw(st.none() | st.sampled_from(sorted(some_biases)), label="bias")
    build, learnable, _ = (None, (), None) if bias is None else some_biases[bias]
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    learned = [x.to(wide) for x in learnable]
    values = {"scalar": s.normal(()).abs() + 0.5, "heads": s.normal(H).abs() + 0.5}
    given = [values[x].to(wide) if isinstance(x, str) else x for x in numbers]
    qkv = [s.normal(B, h, L, d).to(dtype) for h, L, d in ((H, Lq, D), (Hk, Lk, D), (Hk, Lk, Dv))]
    need = {"lse", "entropy"}
    if sum(isinstance(m, masks.PairMask) for m in mask.leaves()) == 1:
        need.add("pair_weights")

    def f(backend):
        mine = [x.clone().requires_grad_() if isinstance(x, torch.Tensor) else x for x in given]
        arguments = {"mask": mask, "score": score, "scale": mine[0], "temperature": mine[1], "dropout_p": dropout_p}
        return answers(backend, qkv, learned, build, need, generator=torch.Generator().manual_seed(seed), **arguments)

    assert_equal(f("gathered"), f("reference"), TOLERANCE[dtype])


def test_worked_by_hand():
    """Query 0 sees keys 0 and 2, the edge from 2 listed twice; query 1 sees key 1; query 2 sees none."""
    q = torch.ones(1, 1, 3, 1, dtype=torch.float64)
    k = torch.tensor([0.0, 5.0, 0.0], dtype=torch.float64).log1p().view(1, 1, 3, 1)
    v = torch.tensor([1.0, 10.0, 100.0], dtype=torch.float64).view(1, 1, 3, 1)
    edges = torch.tensor([[2, 0, 1, 2], [0, 0, 1, 0]])
    value = torch.tensor([1.0, 0.0, 0.0, 2.0], dtype=torch.float64).log1p()  # ln 2 + ln 3 on the edge listed twice
    need = ("lse", "entropy", "pair_weights")
    got = core.attend(q, k, v, mask=masks.Edges(edges), need=need, backend="gathered")
    assert got.out.flatten().tolist() == pytest.approx([50.5, 10.0, 0.0])
    assert got.lse.flatten().exp().tolist() == pytest.approx([2.0, 6.0, 0.0])
    assert got.entropy.flatten().exp().tolist() == pytest.approx([2.0, 1.0, 1.0])
    assert got.pair_weights.tolist() == [[pytest.approx([0.5, 0.5, 1.0, 0.5])]]
    bias = biases.EdgeBias(edges, value)
    got = core.attend(q, k, v, mask=masks.Edges(edges), bias=bias, need=need, backend="gathered")
    assert got.pair_weights.tolist() == [[pytest.approx([6 / 7, 1 / 7, 1.0, 6 / 7])]]
    table = masks.Neighbours(torch.tensor([[2, 0, 2], [-1, 1, -1], [-1, -1, -1]]))
    got = core.attend(q, k, v, mask=table, need=need, backend="gathered")
    assert got.pair_weights.tolist() == [[[[0.5, 0.5, 0.5], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]]]


def test_equals_transformer_conv():
    """PyTorch Geometric's attention over edges, with the same projections."""
    conv_of = pytest.importorskip("torch_geometric.nn").TransformerConv
    torch.manual_seed(0)
    conv = conv_of(12, 5, heads=4, root_weight=False).double()
    x, other = (y.requires_grad_() for y in torch.randn(30, 12).double().expand(2, -1, -1).clone().unbind())
    edges = torch.unique(torch.randint(0, 30, (2, 150)), dim=1)
    q, k, v = (
        layer(other).view(1, 30, 4, 5).transpose(1, 2) for layer in (conv.lin_query, conv.lin_key, conv.lin_value)
    )
    ours = core.attend(q, k, v, mask=masks.Edges(edges), backend="gathered").transpose(1, 2).reshape(30, 20)
    theirs = conv(x, edges)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
    for loss in (ours, theirs):
        loss.square().sum().backward()
    torch.testing.assert_close(other.grad, x.grad, rtol=1e-10, atol=1e-10)


@settings(max_examples=cases(150))
@given(
    sizes=st.tuples(st.integers(0, 3), st.sampled_from([1, 2]), st.integers(1, 9), st.integers(1, 9)),
    seed=st.integers(0, 10**6),
    data=st.data(),
)
def test_lists_hold_every_allowed_pair_once(sizes, seed, data):
    B, H, Lq, Lk = sizes
    mask, _ = masks.split(data.draw(st.sampled_from(list(pair_masks(Sizes(*sizes, seed=seed))))))
    listing = mask.listing(B, Lq, Lk)
    numbers = listing.numbers(B, Lq, Lk, torch.device("cpu"))
    assert numbers.tolist() == sorted(set(numbers.tolist()))
    assert numbers.numel() <= listing.count
    pairs = Pairs.of_numbers(numbers, B, H, Lq, Lk)
    found = torch.zeros(B, H, Lq, Lk, dtype=torch.bool)
    holds = torch.tensor([[True]])
    for condition in listing.rest:
        holds = holds & condition.at(pairs)
    found[pairs.item, :, pairs.query, pairs.key] = holds.expand(H, numbers.numel()).T
    assert torch.equal(found, mask.materialize(*sizes).expand(sizes))


@pytest.mark.parametrize("mask", [None, masks.Causal(), masks.Window(1, 1), ~masks.Edges(torch.zeros(2, 1).long())])
def test_masks_without_a_list_are_refused(mask):
    x = torch.randn(1, 1, 4, 2)
    with pytest.raises(ValueError, match="got 'gathered', which cannot: the mask lists no pairs: expected Neigh"):
        core.attend(x, x, x, mask=mask, backend="gathered")
    edges = masks.Edges(torch.zeros(2, 1).long())
    with pytest.raises(ValueError, match="the mask lists no pairs"):
        core.attend(x, x, x, mask=edges | masks.Causal(), backend="gathered")
    with pytest.raises(ValueError, match="weights: only listed pairs are computed"):
        core.attend(x, x, x, mask=edges, backend="gathered", need=("weights",))


def test_gradcheck():
    s = Sizes(2, 2, 3, 4)
    edges, item = s.integers(0, 3, 2, 8), s.integers(0, 2, 8)
    inputs = [
        x.requires_grad_()
        for x in (s.normal(2, 2, 3, 3), s.normal(2, 1, 4, 3), s.normal(2, 1, 4, 2), s.normal(8, 2), s.normal(2).exp())
    ]

    def f(q, k, v, value, temperature):
        got = core.attend(
            q,
            k,
            v,
            mask=masks.Edges(edges, item) | masks.Window(0, 0),
            bias=biases.EdgeBias(edges, value, item),
            temperature=temperature,
            dropout_p=0.2,
            generator=torch.Generator().manual_seed(1),
            need=("lse", "entropy", "pair_weights"),
            backend="gathered",
        )
        return got.out, got.lse, got.entropy, got.pair_weights

    assert gradcheck(f, inputs)


def test_two_runs_are_bitwise_equal():
    s = Sizes(2, 4, 200, 200, dtype=torch.float32)
    edges = graph(200, 30)
    inputs, value = [s.normal(2, h, 200, 16) for h in (4, 2, 2)], s.normal(6000, 4)
    runs = [
        answers(
            "gathered",
            inputs,
            [value],
            lambda x: biases.EdgeBias(edges, x),
            ("lse", "entropy", "pair_weights"),
            mask=masks.Edges(edges),
        )
        for _ in range(2)
    ]
    for a, b in zip(*runs, strict=True):
        assert torch.equal(a, b)


def test_long_rows_are_summed_exactly_enough():
    """One query sees 50,000 keys alike: entropy ln 50000, and 1e-5 in float32 for output and gradients."""
    q, v = torch.zeros(1, 1, 1, 8), torch.randn(1, 1, 50_000, 8, generator=torch.Generator().manual_seed(0)) + 1
    mask = masks.Edges(torch.stack([torch.arange(50_000), torch.zeros(50_000, dtype=torch.long)]))
    v.requires_grad_()
    got = core.attend(q, v, v, mask=mask, need=("entropy",), backend="gathered")
    assert float(got.entropy.detach()) == pytest.approx(10.819778284410283, rel=1e-6)
    torch.testing.assert_close(got.out[0, 0, 0], v[0, 0].double().mean(dim=0).float(), rtol=1e-5, atol=0.0)


@pytest.mark.parametrize(
    ("B", "Lq", "Lk", "Dv"), [(1, 3, 3, 0), (2, 0, 3, 2), (2, 3, 0, 2), (0, 3, 3, 2), (2, 0, 0, 2), (1, 1, 1, 1)]
)
def test_nothing_and_almost_nothing(B, Lq, Lk, Dv):
    s = Sizes(B, 2, Lq, Lk)
    inputs = [s.normal(B, 2, Lq, 4), s.normal(B, 1, Lk, 4), s.normal(B, 1, Lk, Dv)]
    for mask in (
        masks.Neighbours(torch.full((Lq, 2), -1)),
        masks.Neighbours(torch.full((B, Lq, 2), 0 if Lk else -1)),
        masks.Edges(torch.zeros(2, 0).long()) | masks.Window(1, 1),
    ):
        results = [
            answers(backend, inputs, [torch.ones(2).double()], biases.Alibi, ("lse", "entropy"), mask=mask)
            for backend in ("gathered", "reference")
        ]
        assert_equal(*results, 1e-10)


def test_second_derivatives_name_the_way_out():
    x = torch.randn(1, 1, 3, 2, requires_grad=True)
    out = core.attend(x, x, x, mask=masks.Neighbours(torch.zeros(3, 1).long()), backend="gathered")
    with pytest.raises(RuntimeError, match=r"backend: expected 'reference' for second derivatives.*got 'gathered'"):
        torch.autograd.grad(out.sum(), x, create_graph=True)


def test_only_what_is_asked_for_gets_a_gradient():
    q, k, v = (torch.randn(1, 1, 5, 2) for _ in range(3))
    core.attend(q, k.requires_grad_(), v, mask=masks.Edges(graph(5, 2)), backend="gathered").sum().backward()
    assert q.grad is None
    assert v.grad is None
    assert k.grad.shape == k.shape


def test_checkpoint_drops_the_same_weights():
    x, mask = torch.randn(1, 2, 40, 4, requires_grad=True), masks.Edges(graph(40, 6))

    def f(x):
        return core.attend(x, x, x, mask=mask, dropout_p=0.4, backend="gathered")

    gradients = []
    for call in (f, lambda x: torch.utils.checkpoint.checkpoint(f, x, use_reentrant=False)):
        torch.manual_seed(3)
        gradients.append(torch.autograd.grad(call(x).square().sum(), x)[0])
    assert torch.equal(*gradients)


def test_layouts_and_autocast():
    mask = masks.Neighbours(torch.randint(0, 5, (5, 3), generator=torch.Generator().manual_seed(0)))
    for x in (
        torch.randn(2, 5, 4, 6).transpose(1, 2),
        torch.randn(2, 4, 6, 5).mT,
        torch.randn(1, 4, 5, 6).expand(2, -1, -1, -1),
    ):
        a = core.attend(x, x, x, mask=mask, backend="gathered")
        torch.testing.assert_close(a, core.attend(*[x.contiguous()] * 3, mask=mask, backend="reference"))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = core.attend(x, x, x, mask=mask, need=("lse",), backend="gathered")
    low = x.to(torch.bfloat16)
    assert torch.equal(got.out, core.attend(low, low, low, mask=mask, backend="gathered"))
    assert got.lse.dtype == torch.float32


def test_plan():
    """By shapes alone: large graphs are gathered, also where there are no values; weights and compiling are not."""
    x = torch.empty(1, 2, 8192, 16, device="meta")
    plan = core.plan(x, x, x, mask=masks.Neighbours(torch.zeros(8192, 16, dtype=torch.long, device="meta")))
    assert plan.backend == "gathered"
    cost = next(c.cost for c in plan.candidates if c.backend == "gathered")
    assert cost.flops == 6 * 8192 * 16 * 2 * 32  # three products of 2 flops for D, three for Dv
    assert cost.peak_bytes < 100e6
    small = torch.empty(1, 2, 8, 4)
    both = (masks.Edges(graph(8, 3)) | masks.Window(0, 0)) & masks.Neighbours(torch.zeros(8, 2).long())
    least = next(c for c in core.plan(small, small, small, mask=both).candidates if c.backend == "gathered")
    assert least.cost.flops == 6 * 8 * 2 * 2 * 8  # the shorter list is walked


def memory(Lq, Lk, k, star):
    """Answer what a training step over k keys a query, and `star` more of the first, is planned to take, and takes."""
    g = torch.Generator().manual_seed(0)
    listed = torch.stack([torch.randint(0, Lk, (Lq * k,), generator=g), torch.arange(Lq).repeat_interleave(k)])
    own = torch.stack([torch.arange(star), torch.zeros(star, dtype=torch.long)])
    mask = masks.Edges(torch.cat([listed, own], dim=1))
    q, kv = (torch.randn(1, 8, L, 8, requires_grad=True) for L in (Lq, Lk))
    rate = torch.ones(8, requires_grad=True)
    bias = biases.DistanceDecay(torch.rand(1, Lq, 3), rate, key_positions=torch.rand(1, Lk, 3))

    def step():
        out = core.attend(q, kv, kv, mask=mask, bias=bias, backend="gathered")
        torch.autograd.grad(out.sum(), (q, kv, rate))

    candidates = core.plan(q, kv, kv, mask=mask, bias=bias).candidates
    return next(c.cost.peak_bytes for c in candidates if c.backend == "gathered"), peak_bytes(step)


def test_memory_is_linear_in_the_pairs():
    """One query with 50,000 keys among 10,000 with 5 costs what as many pairs cost elsewhere."""
    even, skewed, many = (
        memory(*sizes) for sizes in ((10_000, 50_000, 10, 0), (10_000, 50_000, 5, 50_000), (5_000, 5_000, 80, 0))
    )
    assert skewed[1] < 1.1 * even[1]  # rows padded to the longest would take gigabytes
    assert many[1] < 4.4 * even[1]  # four times the pairs
    for planned, measured in (even, skewed, many):
        assert 0.7 <= measured / planned <= 1.4
