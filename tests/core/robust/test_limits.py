"""Limits of norms: by hand, gradients, and the options of every layer."""

import pytest
import torch

from core import masks, scores
from core.layers import AttentionPooling, Encoder, MultiheadAttention, Rotary, TransformerBlock
from core.layers.limits import limit_norms
from tests.tolerance import FUNCTION, rounding


def test_by_hand():
    x = torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0], [-30.0, 40.0]])
    expected = torch.tensor([[1.2, 1.6], [0.3, 0.4], [0.0, 0.0], [-1.2, 1.6]])
    torch.testing.assert_close(limit_norms(x, 2.0), expected)
    assert limit_norms(x, None) is x


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_short_vectors_stay_bit_for_bit_and_long_ones_overflow_nowhere(dtype):
    x = torch.randn(64, 8, generator=torch.Generator().manual_seed(0)).to(dtype)
    assert torch.equal(limit_norms(x, 1000.0), x)
    long = limit_norms(x * 3000, 2.0)  # squares beyond what float16 holds
    norms = long.double().norm(dim=-1)
    torch.testing.assert_close(norms, torch.full_like(norms, 2.0), rtol=4 * torch.finfo(dtype).eps, atol=0)


def test_gradients():
    x = torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]], dtype=torch.float64, requires_grad=True)
    limit_norms(x, 2.0)[2].sum().backward()
    torch.testing.assert_close(x.grad[2], torch.ones(2, dtype=torch.float64))
    assert torch.autograd.gradcheck(lambda t: limit_norms(t, 2.0), (x[:2].detach().requires_grad_(),))
    x.grad = None
    (limit_norms(x, 2.0)[0] @ x.detach()[0]).backward()  # along the vector nothing passes
    # The difference of two numbers up to 4, each of a norm and a product over 2.
    torch.testing.assert_close(x.grad, torch.zeros_like(x), rtol=0, atol=rounding(2 + 2 + 1 + FUNCTION, 4.0, x.dtype))


@pytest.mark.parametrize("rotary", [False, True])
@pytest.mark.parametrize("qk_norm", [False, True])
def test_the_layer_limits_each_heads_vectors(rotary, qk_norm):
    torch.manual_seed(0)
    turn = Rotary(4) if rotary else None
    layer = MultiheadAttention(
        8, 2, query_norm_limit=0.7, key_norm_limit=0.4, rotary=turn, qk_norm=qk_norm, scale=5.0
    ).double()
    x = torch.randn(3, 5, 8, dtype=torch.float64)
    q, k, v = (p(x).unflatten(-1, (2, 4)) for p in (layer.q_proj, layer.k_proj, layer.v_proj))
    if qk_norm:
        q, k = layer.q_norm(q), layer.k_norm(k)
    q = (
        torch.stack([row * min(1.0, 0.7 / float(row.detach().norm())) for row in q.reshape(-1, 4)])
        .view_as(q)
        .transpose(1, 2)
    )
    k = (
        torch.stack([row * min(1.0, 0.4 / float(row.detach().norm())) for row in k.reshape(-1, 4)])
        .view_as(k)
        .transpose(1, 2)
    )
    if turn is not None:
        q, k = turn(q), turn(k)
    weights = (5.0 * q @ k.mT).softmax(-1)
    expected = layer.out_proj((weights @ v.transpose(1, 2)).transpose(1, 2).flatten(2))
    answer = layer(x, need=("weights",))
    torch.testing.assert_close(answer.weights, weights, rtol=0, atol=1e-12)
    torch.testing.assert_close(answer.out, expected, rtol=0, atol=1e-12)


def test_padding_stays_behind_the_fence():
    torch.manual_seed(0)
    block = TransformerBlock(8, 2, query_norm_limit=1.0, key_norm_limit=1.0).eval()
    x = torch.randn(2, 5, 8)
    x[1, 3:] = torch.nan
    mask = masks.Padding(torch.tensor([5, 3]))
    out = block(x, mask=mask)
    torch.testing.assert_close(out[1, :3], block(x[1:, :3])[0])
    assert (out[1, 3:] == 0).all() and out.isfinite().all()


def test_every_layer_takes_the_options():
    given = {"query_norm_limit": 2.0, "key_norm_limit": 3.0, "score": scores.Gaussian(), "scale": 4.0}
    block = TransformerBlock(8, 2, cross=True, **given)
    layers = [block.attention, block.cross_attention, AttentionPooling(8, 2, **given).attention]
    layers += [b.attention for b in Encoder(8, 2, 2, **given).blocks]
    for layer in layers:
        assert {name: getattr(layer, name) for name in given} == given
        assert "query_norm_limit=2, key_norm_limit=3" in repr(layer)
    assert "norm_limit" not in repr(MultiheadAttention(8, 2))


@pytest.mark.parametrize("limit", [0.0, -1.0, float("nan"), float("inf")])
def test_limits_that_are_none_are_refused(limit):
    with pytest.raises(ValueError, match="key_norm_limit: expected a finite number above 0"):
        MultiheadAttention(8, 2, key_norm_limit=limit)


def test_limits_that_the_score_ignores_are_refused():
    with pytest.raises(ValueError, match="Cosine scores, which ignore norms"):
        MultiheadAttention(8, 2, key_norm_limit=1.0, score=scores.Cosine())
