"""TorchMultiheadAttention against torch.nn.MultiheadAttention over its options."""

import inspect
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from core.layers import TorchMultiheadAttention
from tests.tolerance import FUNCTION, rounding


def pair(**options):
    """torch's layer and ours with the same random weights."""
    theirs = nn.MultiheadAttention(**options, dtype=torch.float64)
    for parameter in theirs.parameters():
        nn.init.normal_(parameter)
    ours = TorchMultiheadAttention(**options, dtype=torch.float64)
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def make_mask(kind, shape, generator):
    """A mask that leaves the first key open to every query."""
    blocked = torch.rand(shape, generator=generator) < 0.4
    blocked[..., 0] = False
    if kind == "bool":
        return blocked
    values = torch.randn(shape, generator=generator, dtype=torch.float64)
    return values if kind == "float" else values.masked_fill(blocked, -torch.inf)


kinds = st.sampled_from([None, "bool", "float", "inf"])


@settings(max_examples=100, deadline=None)
@given(
    heads=st.integers(1, 3),
    batch=st.integers(1, 3),
    lengths=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    widths=st.sampled_from([None, (3, 5), (6, 4)]),
    self_attention=st.booleans(),
    unbatched=st.booleans(),
    bias=st.booleans(),
    add_bias_kv=st.booleans(),
    add_zero_attn=st.booleans(),
    batch_first=st.booleans(),
    padding=kinds,
    pairs=kinds,
    per_head=st.booleans(),
    need_weights=st.booleans(),
    average=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_equals_torch(
    heads, batch, lengths, widths, self_attention, unbatched, bias, add_bias_kv, add_zero_attn, batch_first, padding,
    pairs, per_head, need_weights, average, seed,
):  # fmt: skip
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    if {padding, pairs} in ({"bool", "float"}, {"bool", "inf"}):  # torch is deprecating this mixture with a warning
        pairs = padding
    batch = 1 if unbatched else batch
    Lq, Lk = (lengths[0],) * 2 if self_attention else lengths
    dim = 4 * heads
    kdim, vdim = widths if widths and not self_attention else (None, None)
    theirs, ours = pair(
        embed_dim=dim, num_heads=heads, bias=bias, add_bias_kv=add_bias_kv, add_zero_attn=add_zero_attn, kdim=kdim,
        vdim=vdim, batch_first=batch_first,
    )  # fmt: skip

    def shaped(length, features):
        x = torch.randn(batch, length, features, generator=generator, dtype=torch.float64)
        return x[0] if unbatched else x if batch_first else x.transpose(0, 1).contiguous()

    inputs = (
        [shaped(Lq, dim)] if self_attention else [shaped(Lq, dim), shaped(Lk, kdim or dim), shaped(Lk, vdim or dim)]
    )
    key_padding_mask = None if padding is None else make_mask(padding, (batch, Lk), generator)
    if key_padding_mask is not None and unbatched:
        key_padding_mask = key_padding_mask[0]
    attn_mask = None
    if pairs is not None:
        attn_mask = make_mask(pairs, (batch * heads, Lq, Lk) if per_head else (Lq, Lk), generator)

    def run(layer):
        given = [x.clone().requires_grad_() for x in inputs]
        added = attn_mask.clone().requires_grad_() if pairs in ("float",) else attn_mask
        out, weights = layer(
            *(given * 3 if self_attention else given),
            key_padding_mask=key_padding_mask,
            attn_mask=added,
            need_weights=need_weights,
            average_attn_weights=average,
        )
        loss = (out * torch.cos(torch.arange(dim))).sum()
        if weights is not None:
            loss = loss + weights.square().sum()
        loss.backward()
        extra = [added.grad] if pairs == "float" else []
        return [out, weights, *[x.grad for x in given], *extra, *[p.grad for p in layer.parameters()]]

    for one, other in zip(run(ours), run(theirs), strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("batch_first", [True, False])
def test_float32_to_rounding(batch_first):
    # Two projections of 32 numbers, logits of 8, softmax and mean over at most 7 keys; inputs are below 4.
    tolerance = rounding(2 * 32 + 8 + 7 + 7 + FUNCTION, 4.0)
    torch.manual_seed(0)
    theirs = nn.MultiheadAttention(32, 4, batch_first=batch_first)
    ours = TorchMultiheadAttention(32, 4, batch_first=batch_first)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(7, 5, 32)
    keys = torch.arange(5 if batch_first else 7) >= torch.randint(1, 5, (7 if batch_first else 5, 1))
    for options in ({}, {"need_weights": False}, {"key_padding_mask": keys}):
        out, expected = ours(x, x, x, **options)[0], theirs(x, x, x, **options)[0]
        torch.testing.assert_close(out, expected, rtol=0, atol=tolerance)


def test_signature_and_state_are_torchs():
    for name in ("__init__", "forward"):
        theirs = inspect.signature(getattr(nn.MultiheadAttention, name)).parameters.values()
        ours = inspect.signature(getattr(TorchMultiheadAttention, name)).parameters.values()
        assert [(p.name, p.default, p.kind) for p in ours] == [(p.name, p.default, p.kind) for p in theirs]
    for options in ({}, {"kdim": 3, "vdim": 5}, {"add_bias_kv": True}, {"bias": False}):
        torch.manual_seed(3)
        theirs = nn.MultiheadAttention(4, 2, **options).state_dict()
        torch.manual_seed(3)
        ours = TorchMultiheadAttention(4, 2, **options).state_dict()
        assert list(ours) == list(theirs)
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_inside_torchs_encoder_layer(norm_first, training):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(
        8, 2, 16, dropout=0.0, batch_first=True, norm_first=norm_first, dtype=torch.float64
    ).train(training)
    x = torch.randn(3, 5, 8, dtype=torch.float64)
    causal = nn.Transformer.generate_square_subsequent_mask(5, dtype=torch.float64)
    keys = torch.arange(5) >= torch.tensor([5, 3, 1])[:, None]
    padding = torch.zeros(3, 5, dtype=torch.float64).masked_fill(keys, -torch.inf)

    def run():
        layer.zero_grad()
        first = layer(x)
        out = (
            first + layer(x, src_mask=causal, is_causal=True) + layer(x, src_mask=causal, src_key_padding_mask=padding)
        )
        out.square().sum().backward()
        return [out, *[p.grad for p in layer.parameters()]]

    expected = [tensor.clone() for tensor in run()]
    ours = TorchMultiheadAttention(8, 2, batch_first=True, dtype=torch.float64).train(training)
    ours.load_state_dict(layer.self_attn.state_dict())
    layer.self_attn = ours
    for one, other in zip(run(), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


def test_polarity_by_hand():
    """True blocks: with every key but the last blocked, all queries answer the last value."""
    layer = TorchMultiheadAttention(2, 1, batch_first=True)
    x = torch.randn(1, 3, 2)
    out, weights = layer(x, x, x, key_padding_mask=torch.tensor([[True, True, False]]))
    assert weights.tolist() == [[[0.0, 0.0, 1.0]] * 3]
    torch.testing.assert_close(out[:, 0], out[:, 2])


def test_dead_query_gets_the_output_bias_and_no_weight():
    layer = TorchMultiheadAttention(4, 2, batch_first=True)
    nn.init.normal_(layer.out_proj.bias)
    x = torch.randn(1, 2, 4, requires_grad=True)
    out, weights = layer(x, x, x, attn_mask=torch.tensor([[True, True], [False, False]]))
    torch.testing.assert_close(out[0, 0], layer.out_proj.bias, rtol=0, atol=0)
    assert weights[0, 0].tolist() == [0.0, 0.0]
    out.sum().backward()
    assert torch.isfinite(x.grad).all()


def test_blocked_keys_may_hold_anything():
    torch.manual_seed(0)
    layer = TorchMultiheadAttention(4, 2, batch_first=True)
    x, y = torch.randn(2, 3, 4), torch.randn(2, 5, 4)
    blocked = torch.arange(5) >= torch.tensor([5, 2])[:, None]

    def run(fill):
        layer.zero_grad()
        z = y.masked_fill(blocked[..., None], fill)
        out, _ = layer(x, z, z, key_padding_mask=blocked)
        out.square().sum().backward()
        return [out, *[p.grad for p in layer.parameters()]]

    expected = [tensor.clone() for tensor in run(0.0)]
    for one, other in zip(run(torch.nan), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


@pytest.mark.parametrize("need_weights", [True, False])
def test_empty_batch(need_weights):
    """torch's own layer fails here once a mask is given without need_weights."""
    layer = TorchMultiheadAttention(8, 2, add_bias_kv=True, add_zero_attn=True, batch_first=True)
    x = torch.zeros(0, 5, 8)
    out, weights = layer(x, x, x, key_padding_mask=torch.zeros(0, 5).bool(), need_weights=need_weights)
    assert out.shape == (0, 5, 8)
    assert weights is None if not need_weights else weights.shape == (0, 5, 7)


def test_dropout_keeps_the_mean():
    torch.manual_seed(0)
    layer = TorchMultiheadAttention(4, 1, dropout=0.5, batch_first=True, dtype=torch.float64)
    x = torch.randn(1, 6, 4, dtype=torch.float64)
    draws = torch.stack([layer(x, x, x, need_weights=False)[0] for _ in range(600)])
    expected = layer.eval()(x, x, x)[0]
    error = (draws.mean(0) - expected).abs()
    assert (error < 5 * draws.std(0) / math.sqrt(600)).all()
    assert draws.std(0).max() > 0.01


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"key_padding_mask": torch.zeros(2, 4).bool()}, r"key_padding_mask: expected \(2, 5\), got \(2, 4\)"),
        ({"attn_mask": torch.zeros(5, 4).bool()}, r"attn_mask: expected \(5, 5\) or \(4, 5, 5\), got \(5, 4\)"),
        ({"attn_mask": torch.zeros(5, 5).int()}, r"attn_mask: expected bool .* or a float, got torch.int32"),
        ({"key_padding_mask": torch.zeros(2, 5).int()}, r"key_padding_mask: expected bool .* got torch.int32"),
        ({"is_causal": True}, "attn_mask: expected the causal mask where is_causal=True, got None"),
    ],
)
def test_mask_errors(options, message):
    x = torch.zeros(2, 5, 8)
    with pytest.raises(ValueError, match=message):
        TorchMultiheadAttention(8, 2, batch_first=True)(x, x, x, **options)


def test_shape_errors():
    layer = TorchMultiheadAttention(8, 2)
    x = torch.zeros(5, 2, 8)
    with pytest.raises(ValueError, match=r"key: expected \(L, B, 8\), got \(5, 2, 7\)"):
        layer(x, x[..., :7], x)
    with pytest.raises(ValueError, match=r"value: expected \(5, 2\) rows as key has, got \(4, 2\)"):
        layer(x, x, x[:4])
    with pytest.raises(ValueError, match="key: expected the batch of query, 2, got 1"):
        layer(x, x[:, :1], x[:, :1])
    with pytest.raises(ValueError, match=r"query: expected .* got \(1, 5, 2, 8\)"):
        layer(x[None], x, x)


def test_nested_tensors_are_refused():
    layer = TorchMultiheadAttention(8, 2, batch_first=True)
    nested = torch.nested.nested_tensor([torch.zeros(2, 8), torch.zeros(3, 8)], layout=torch.jagged)
    with pytest.raises(ValueError, match="expected padded tensors with key_padding_mask, got a nested tensor"):
        layer(nested, nested, nested)
