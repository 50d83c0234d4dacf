"""What tiles must not change: the answer, whatever their size."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import core
from core import biases, masks
from core.tiles import tiles

from ...cases import Sizes, bias_cases, cases, mask_cases
from ..test_backends import SCORES, TOLERANCE, assert_equal, run


@pytest.fixture
def tile(monkeypatch):
    def use(rows, cols, cells=1 << 20):
        monkeypatch.setattr(tiles, "TILE", tiles.TileSize(rows, cols, cells))

    return use


@settings(max_examples=cases(250))
@given(
    sizes=st.tuples(st.integers(0, 3), st.sampled_from([1, 2]), st.integers(1, 9), st.integers(1, 9)),
    groups=st.sampled_from([1, 2]),
    score=st.sampled_from(SCORES),
    rows=st.integers(1, 4),
    cols=st.integers(1, 4),
    cells=st.sampled_from([1, 40, 1 << 20]),
    dtype=st.sampled_from([torch.float64, torch.float32]),
    seed=st.integers(0, 10**6),
    data=st.data(),
)
def test_small_tiles_equal_the_reference(sizes, groups, score, rows, cols, cells, dtype, seed, data):
    B, Hk, Lq, Lk = sizes
    H = Hk * groups
    s = Sizes(B, H, Lq, Lk, seed=seed, dtype=dtype)
    some_masks, some_biases = mask_cases(s), bias_cases(s)
    mask = some_masks[data.draw(st.sampled_from(sorted(some_masks)))][0]
    build, learnable, _ = some_biases[data.draw(st.sampled_from(sorted(some_biases)))]
    qkv = [s.normal(B, h, L, d) for h, L, d in ((H, Lq, 3), (Hk, Lk, 3), (Hk, Lk, 2))]
    gradient = s.normal(B, H, Lq, 2)
    arguments = {"score": score, "temperature": 0.7}
    expected = run("reference", s, mask, build, learnable, qkv, gradient, **arguments)
    old, tiles.TILE = tiles.TILE, tiles.TileSize(rows, cols, cells)
    try:
        got = run("tiled", s, mask, build, learnable, qkv, gradient, **arguments)
    finally:
        tiles.TILE = old
    # Logits of the size S err by about S * eps in float32, in the reference too, whose error is allowed.
    double = [[x.double() for x in xs] for xs in (learnable, qkv)]
    exact = run("reference", s, mask, build, *double, gradient.double(), **arguments)
    pairs = [(x, y) for x, y in zip(expected, exact, strict=True) if x is not None and x.numel()]
    own = max((float((x.double() - y).detach().abs().max()) for x, y in pairs), default=0.0)
    largest = max((float(y.detach().abs().max()) for _, y in pairs), default=1.0)
    assert_equal(got, expected, TOLERANCE[dtype] + 2 * own / max(largest, 1e-30))


@pytest.mark.parametrize("L", [1, 7, 8, 9, 16, 17])
@pytest.mark.parametrize("mask", [None, masks.Causal(), masks.Window(3, 2)], ids=str)
@pytest.mark.parametrize("dropout_p", [0.0, 0.3])
def test_every_answer_at_the_edges_of_tiles(tile, L, mask, dropout_p):
    """Output, lse, entropy, dropout and all gradients, at lengths of a tile less one, a tile and a tile and one."""
    g = torch.Generator().manual_seed(L)
    inputs = [torch.randn(2, 2, L, 4, generator=g, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    slopes = torch.tensor([0.2, 0.7], dtype=torch.float64, requires_grad=True)
    answers = []
    for backend, size in (("reference", (8, 8)), ("tiled", (8, 8)), ("tiled", (3, 5)), ("tiled", (64, 64))):
        tile(*size)
        got = core.attend(
            *inputs,
            mask=mask,
            bias=biases.Alibi(slopes),
            dropout_p=dropout_p,
            generator=torch.Generator().manual_seed(1),
            backend=backend,
            need=("lse", "entropy"),
        )
        loss = got.out.square().sum() + got.lse.sin().sum() + got.entropy.square().sum()
        answers.append((got.out, got.lse, got.entropy, *torch.autograd.grad(loss, (*inputs, slopes))))
    for answer in answers[1:]:
        for a, b in zip(answer, answers[0], strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_second_derivatives_name_the_way_out():
    x = torch.randn(1, 1, 3, 2, requires_grad=True)
    out = core.attend(x, x, x, backend="tiled")
    with pytest.raises(RuntimeError, match=r"backend: expected 'reference' for second derivatives.*by tiles"):
        torch.autograd.grad(out.sum(), x, create_graph=True)


def test_what_it_cannot_do_is_said():
    x = torch.randn(1, 1, 3, 2)
    with pytest.raises(ValueError, match="got 'tiled', which cannot: weights: a tile is gone once it has been used"):
        core.attend(x, x, x, need=("weights",), backend="tiled")


def test_only_what_is_asked_for_gets_a_gradient():
    q, k, v = (torch.randn(1, 1, 3, 2) for _ in range(3))
    slopes = torch.ones(1, requires_grad=True)
    out = core.attend(q, k.requires_grad_(), v, bias=biases.Alibi(slopes), backend="tiled")
    out.sum().backward()
    assert q.grad is None
    assert v.grad is None
    assert k.grad.shape == k.shape
    assert slopes.grad.shape == (1,)


def test_deepcopy_and_checkpoint():
    x = torch.randn(1, 2, 9, 4, requires_grad=True)

    def f(x):
        return core.attend(x, x, x, dropout_p=0.4, backend="tiled")

    gradients = []
    for call in (f, lambda x: torch.utils.checkpoint.checkpoint(f, x, use_reentrant=False)):
        torch.manual_seed(3)
        gradients.append(torch.autograd.grad(call(x).square().sum(), x)[0])
    assert torch.equal(*gradients)
