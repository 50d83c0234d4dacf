"""Rollout and relevance: against explicit products of weights, with and without weights in memory."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from core import biases, masks
from core.analysis import Capture, CaptureError
from core.analysis.capture import capture
from core.analysis.heads import gradient_relevance, relevance, rollout
from core.layers import Encoder, MultiheadAttention
from tests.tolerance import FUNCTION, rounding

from ..models import images, timm_vit, tokens, torch_encoder, vit


def held(model, *inputs, quantities=("weights",), **options):
    with torch.no_grad(), capture(model, quantities) as seen:
        model(*inputs, **options)
    return seen


def explicit(seen, residual=0.5):
    """R = A_n ... A_1 with dense matrices."""
    R = None
    for record in seen:
        W = record.weights.mean(1)
        A = residual * torch.eye(W.shape[-1], dtype=W.dtype) + (1 - residual) * W
        R = A if R is None else A @ R
    return R


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("residual", [0.5, 0.0])
@pytest.mark.parametrize("structure", ["plain", "causal, alibi, padding", "grouped"])
def test_both_ways_equal_the_matrix_product(structure, residual, dtype):
    # A block's longest way to a weight and its output: 8 numbers each in two norms and four projections, 2 in a logit,
    # 9 in the softmax and in the sum of values, 32 in the MLP; three blocks and the product of their weights, 9 numbers
    # each. Inputs are up to three standard deviations of 3.
    tolerance = rounding(3 * (6 * 8 + 2 + 9 + 9 + 32 + 4 * FUNCTION + 9), 9.0, dtype)
    torch.manual_seed(0)
    model = Encoder(8, 3, 4, kv_heads=2 if structure == "grouped" else None).to(dtype).eval()
    x = 3 * torch.randn(2, 9, 8, dtype=dtype)
    options = {}
    if structure == "causal, alibi, padding":
        slopes = torch.tensor([0.5, 0.1, 0.2, 1.0], dtype=dtype, requires_grad=True)
        options = {"mask": masks.Causal() & masks.Padding(torch.tensor([9, 6])), "bias": biases.Alibi(slopes)}
    weights = held(model, x, **options)
    inputs = held(model, x, quantities=("inputs",), **options)
    expected = explicit(weights, residual)
    for seen in (weights, inputs):
        torch.testing.assert_close(rollout(seen, residual=residual), expected, rtol=0, atol=tolerance)
        some = rollout(seen, rows=[-1, 2], residual=residual)
        torch.testing.assert_close(some, expected[:, [8, 2]], rtol=0, atol=tolerance)
        start = torch.rand(2, 3, 9, dtype=dtype)
        torch.testing.assert_close(
            rollout(seen, start=start, residual=residual), start @ expected, rtol=0, atol=9 * tolerance
        )
    if structure == "plain":
        torch.testing.assert_close(expected.sum(-1), torch.ones(2, 9, dtype=dtype), rtol=0, atol=9 * tolerance)


def test_rollout_of_a_capture_in_inference_mode():
    model, x = vit().eval().double(), images().double()
    with torch.inference_mode():
        with capture(model, ("inputs", "weights")) as seen:
            model(x)
        bare = Capture(("inputs",))
        for record in seen:
            bare.add(replace(record, weights=None))
        inside = rollout(bare, rows=[0])
    expected = explicit(seen)[:, :1]
    torch.testing.assert_close(inside, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(rollout(bare, rows=[0]), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["timm", "torch"])
def test_rollout_of_models_from_elsewhere(kind):
    model, x = (timm_vit(), images()) if kind == "timm" else (torch_encoder(), tokens())
    model, x = model.eval().double(), x.double()
    expected = explicit(held(model, x))
    torch.testing.assert_close(rollout(held(model, x, quantities=("inputs",))), expected, rtol=0, atol=1e-12)


def test_rollout_without_weights_holds_no_square():
    """A row through 2 layers of 4096 tokens: the weights would take 2 x 134 MB; the largest tensor made is small."""
    torch.manual_seed(0)
    model = Encoder(8, 1, 2).eval()
    seen = held(model, torch.randn(1, 2048, 8), quantities=("inputs",))
    largest = 0

    class Sizes(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            nonlocal largest
            out = func(*args, **(kwargs or {}))
            parts = out if isinstance(out, (tuple, list)) else (out,)
            largest = max([largest, *(part.numel() for part in parts if isinstance(part, torch.Tensor))])
            return out

    start = torch.zeros(1, 1, 2048)
    start[..., 0] = 1.0
    with Sizes():
        row = rollout(seen, start=start)
    assert float(row.sum()) == pytest.approx(1.0, abs=1e-5)
    assert largest < 2048 * 2048 / 8


def explicit_relevance(model, x, label, names):
    """Chefer's rule with weights written out and differentiated by autograd."""
    weights = []

    class Explicit(nn.Module):
        def __init__(self, layer):
            super().__init__()
            self.layer = layer

        def forward(self, query, **_):
            q, k, v = (
                projection(query).unflatten(-1, (self.layer.heads, -1)).transpose(1, 2)
                for projection in (self.layer.q_proj, self.layer.k_proj, self.layer.v_proj)
            )
            w = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)
            w.retain_grad()
            weights.append(w)
            return self.layer.out_proj((w @ v).transpose(1, 2).flatten(2))

    for block in model.blocks:
        block.attention = Explicit(block.attention)
    model(x)[:, label].sum().backward()
    for block in model.blocks:
        block.attention = block.attention.layer
    model.zero_grad()
    R = torch.eye(weights[0].shape[-1], dtype=x.dtype)
    for w in weights:
        R = R + (w * w.grad).clamp_min(0).mean(1) @ R
    return R.detach()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_relevance_equals_the_explicit_rule(dtype, monkeypatch):
    # A block's longest way: 16 numbers in two norms and four projections, 4 in a logit, 17 in the softmax and in the
    # sum of values, 64 in the MLP; three blocks, the gradient back through them (about twice the way there), and the
    # product of relevances, 17 numbers each. Relative to the largest of the answer.
    tolerance = rounding(3 * (3 * (6 * 16 + 4 + 17 + 17 + 64 + 4 * FUNCTION) + 17), dtype=dtype)
    monkeypatch.setattr(gradient_relevance, "CELLS", 500)
    model, x = vit(depth=3).eval().to(dtype), images().to(dtype)
    expected = explicit_relevance(model, x, 1, None)
    scale = float(expected.max())

    def score():
        return model(x)[:, 1]

    for hold in ("rows", "weights"):
        found = relevance(model, score, hold=hold)
        torch.testing.assert_close(found / scale, expected / scale, rtol=0, atol=tolerance)
        torch.testing.assert_close(
            relevance(model, score, rows=[0], hold=hold) / scale, expected[:, :1] / scale, rtol=0, atol=tolerance
        )
    assert all(parameter.grad is None for parameter in model.parameters())
    assert bool((found >= torch.eye(17, dtype=dtype)).all())


@pytest.mark.parametrize("kind", ["core", "timm", "torch"])
def test_both_ways_agree_on_every_kind_of_model(kind):
    make, data = {"core": (vit, images), "timm": (timm_vit, images), "torch": (torch_encoder, tokens)}[kind]
    model, x = make().eval().double(), data().double()

    def score():
        out = model(x)
        return out[:, 1] if out.ndim == 2 else out[:, 0, 1]

    a, b = relevance(model, score, hold="rows"), relevance(model, score, hold="weights")
    torch.testing.assert_close(a, b, rtol=0, atol=1e-12)
    assert float((a - torch.eye(a.shape[-1])).abs().max()) > 1e-3


def test_torch_and_core_give_the_same_relevance():
    theirs = nn.MultiheadAttention(16, 4, batch_first=True).double().eval()
    ours = MultiheadAttention.from_torch(theirs)
    x = tokens().double()
    a = relevance(theirs, lambda: theirs(x, x, x)[0][:, 0, 3])
    b = relevance(ours, lambda: ours(x)[:, 0, 3])
    torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def test_rollout_refuses_what_is_no_chain():
    model = Encoder(8, 1, 2, cross=True)
    x, y = torch.randn(1, 3, 8), torch.randn(1, 5, 8)
    with pytest.raises(ValueError, match=r"self-attention over 3 tokens.*\(1, 2, 3, 5\) in 'blocks.0.cross_attention'"):
        rollout(held(model, x, y))
    plain = Encoder(8, 1, 2)
    with pytest.raises(ValueError, match="one forward pass, got 2"), torch.no_grad():
        with capture(plain, ("weights",)) as seen:
            plain(x)
            plain(x)
        rollout(seen)
    with pytest.raises(ValueError, match=r"a capture of 'inputs' or of the 'weights'.*without both"):
        rollout(held(plain, x, quantities=("entropy",)))
    seen = held(plain, x)
    for options, message in (
        ({"rows": [3]}, "indices of 3 tokens"),
        ({"residual": 1.5}, "residual: .*got 1.5"),
        ({"start": torch.ones(1, 3)}, r"expected \(B, n, L\) = \(1, n, 3\)"),
        ({"start": torch.ones(1, 1, 3), "rows": [0]}, "expected None where rows are given"),
    ):
        with pytest.raises(ValueError, match=message):
            rollout(seen, **options)


def test_relevance_says_what_is_missing():
    model, x = vit().eval(), images()
    with pytest.raises(ValueError, match=r"score: expected the score of each item, \(B,\), got \(2, 3\)"):
        relevance(model, lambda: model(x))
    with pytest.raises(ValueError, match=r"hold: .*got 'all'"):
        relevance(model, lambda: model(x)[:, 0], hold="all")
    with pytest.raises(ValueError, match="rows: expected indices of 17 tokens"):
        relevance(model, lambda: model(x)[:, 0], rows=[17])
    model.requires_grad_(False)
    with pytest.raises(CaptureError, match=r"model: expected parameters or an input.*got no gradient in"):
        relevance(model, lambda: model(x)[:, 0])
    layers = nn.ModuleList([MultiheadAttention(8, 2), MultiheadAttention(8, 2)])
    y = torch.randn(1, 3, 8)
    with pytest.raises(CaptureError, match=r"score: expected a score that depends.*gradient does not reach 1"):
        relevance(layers, lambda: layers[0](y)[:, 0, 0] + 0 * layers[1](y.detach()).detach()[:, 0, 0])


def test_relevance_through_checkpoints():
    """Checkpoints without reentrance leave the graph whole; reentrant ones hide it, which is said."""
    model, x = vit().eval(), images()
    expected = relevance(model, lambda: model(x)[:, 0], rows=[0])
    model.set_grad_checkpointing()
    torch.testing.assert_close(relevance(model, lambda: model(x)[:, 0], rows=[0]), expected)

    def reentrant():
        hidden = checkpoint(model.blocks, model._embed(x).requires_grad_(), use_reentrant=True)
        return model.forward_head(model.norm(hidden))[:, 0]

    with pytest.raises(CaptureError, match="no reentrant checkpoint"):
        relevance(model, reentrant)
