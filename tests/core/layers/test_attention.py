"""MultiheadAttention: exact cases, torch's layer as oracle, degenerate input, errors."""

import copy
import io
import itertools
import math

import pytest
import torch
from torch import nn

from core import AttentionOutput, biases, masks, scores
from core.layers import MultiheadAttention, Rotary


def gradients(module, *inputs):
    return [p.grad for p in (*inputs, *module.parameters())]


def test_two_tokens_by_hand():
    """q = k = v = x with unit weights, x = (0, 1): logits 0 0 / 0 1, so the second row is weighted e : 1."""
    layer = MultiheadAttention(1, 1)
    for projection in (layer.q_proj, layer.k_proj, layer.v_proj, layer.out_proj):
        nn.init.ones_(projection.weight)
    nn.init.constant_(layer.out_proj.bias, 10.0)
    answer = layer(torch.tensor([[[0.0], [1.0]]]), need=("weights", "entropy", "lse"))
    high = math.e / (1 + math.e)
    torch.testing.assert_close(answer.out.flatten(), torch.tensor([10.5, 10 + high]))
    torch.testing.assert_close(answer.weights[0, 0], torch.tensor([[0.5, 0.5], [1 - high, high]]))
    torch.testing.assert_close(answer.lse.flatten(), torch.tensor([math.log(2), math.log(1 + math.e)]))


@pytest.mark.parametrize(
    ("cross", "widths", "bias"),
    [(False, None, True), (False, None, False), (True, None, True), (True, (6, 10), True), (True, (6, 10), False)],
)
@pytest.mark.parametrize("batch_first", [True, False])
def test_from_torch_equals_torch(cross, widths, bias, batch_first):
    torch.manual_seed(0)
    kdim, vdim = widths or (8, 8)
    theirs = nn.MultiheadAttention(8, 2, bias=bias, kdim=kdim, vdim=vdim, batch_first=batch_first).double()
    for parameter in theirs.parameters():
        nn.init.normal_(parameter)
    ours = MultiheadAttention.from_torch(theirs)
    x = torch.randn(3, 5, 8, dtype=torch.float64)
    y, z = torch.randn(3, 4, kdim, dtype=torch.float64), torch.randn(3, 4, vdim, dtype=torch.float64)
    allowed = torch.rand(5, 4 if cross else 5) > 0.4
    allowed[:, 0] = True
    lengths = torch.tensor([4, 3, 2])
    keys = torch.arange(4 if cross else 5) < lengths[:, None]

    def inputs():
        given = (x, y, z) if cross else (x,)
        return [tensor.clone().requires_grad_() for tensor in given]

    a, b = inputs(), inputs()
    mask = masks.Dense(allowed[None, None]) & masks.Padding(keys, queries=torch.ones(3, 5, dtype=torch.bool))
    out = ours(*a, mask=mask, need=("weights",))
    rows = [t if batch_first else t.transpose(0, 1) for t in (b if cross else [b[0]] * 3)]
    expected, weights = theirs(*rows, key_padding_mask=~keys, attn_mask=~allowed, average_attn_weights=False)
    expected = expected if batch_first else expected.transpose(0, 1)
    torch.testing.assert_close(out.out, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(out.weights, weights, rtol=0, atol=1e-12)
    factor = torch.randn_like(expected)
    (out.out * factor).sum().backward()
    (expected * factor).sum().backward()
    for one, other in zip(a, b, strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=0, atol=1e-11)
    if theirs.in_proj_weight is not None:
        weight = theirs.in_proj_weight.grad
        ours_weight = torch.cat([ours.q_proj.weight.grad, ours.k_proj.weight.grad, ours.v_proj.weight.grad])
        torch.testing.assert_close(ours_weight, weight, rtol=0, atol=1e-11)
    else:
        torch.testing.assert_close(ours.k_proj.weight.grad, theirs.k_proj_weight.grad, rtol=0, atol=1e-11)
        torch.testing.assert_close(ours.v_proj.weight.grad, theirs.v_proj_weight.grad, rtol=0, atol=1e-11)
    torch.testing.assert_close(ours.out_proj.weight.grad, theirs.out_proj.weight.grad, rtol=0, atol=1e-11)


def test_from_torch_copies_mode_dtype_and_dropout_but_not_the_tensors():
    theirs = nn.MultiheadAttention(4, 2, dropout=0.25, dtype=torch.bfloat16).eval()
    ours = MultiheadAttention.from_torch(theirs)
    assert (ours.dropout, ours.training, ours.q_proj.weight.dtype) == (0.25, False, torch.bfloat16)
    with torch.no_grad():
        ours.q_proj.weight.zero_()
    assert theirs.in_proj_weight.count_nonzero() > 0


@pytest.mark.parametrize("option", ["add_bias_kv", "add_zero_attn"])
def test_from_torch_refuses_what_it_cannot_hold(option):
    with pytest.raises(ValueError, match=rf"mha: expected one without.*{option}=True.*TorchMultiheadAttention"):
        MultiheadAttention.from_torch(nn.MultiheadAttention(4, 2, **{option: True}))


def test_grouped_queries_share_keys_and_values():
    torch.manual_seed(0)
    grouped = MultiheadAttention(8, 4, kv_heads=2).double()
    full = MultiheadAttention(8, 4).double()
    state = grouped.state_dict()
    for name, part in itertools.product(("k_proj", "v_proj"), ("weight", "bias")):
        per_head = state[f"{name}.{part}"].unflatten(0, (2, 2))
        state[f"{name}.{part}"] = per_head.repeat_interleave(2, dim=0).flatten(0, 1)
    full.load_state_dict(state)
    x = torch.randn(2, 5, 8, dtype=torch.float64)
    torch.testing.assert_close(grouped(x), full(x), rtol=0, atol=1e-12)


def test_one_matrix_product_equals_three():
    torch.manual_seed(0)
    layer = MultiheadAttention(8, 2, kv_heads=1).double()
    x = torch.randn(2, 5, 8, dtype=torch.float64, requires_grad=True)
    together = layer(x)
    together.square().sum().backward()
    expected = [g.clone() for g in gradients(layer, x)]
    x.grad = None
    layer.zero_grad()
    calls = []
    layer.k_proj.register_forward_hook(lambda *_: calls.append("k"))  # a hook must fire, so the products come apart
    apart = layer(x)
    apart.square().sum().backward()
    assert calls == ["k"]
    torch.testing.assert_close(apart, together, rtol=0, atol=1e-12)
    for one, other in zip(gradients(layer, x), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_a_projection_that_was_replaced_is_called():
    class Doubled(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    layer = MultiheadAttention(4, 1)
    plain = layer(torch.ones(1, 2, 4))
    doubled = Doubled(4, 4)
    doubled.load_state_dict(layer.v_proj.state_dict())
    layer.v_proj = doubled
    torch.testing.assert_close(layer(torch.ones(1, 2, 4)), 2 * plain)


def test_a_projection_may_lose_its_bias():
    layer = MultiheadAttention(4, 1)
    bare = nn.Linear(4, 4, bias=False)
    bare.weight = layer.k_proj.weight
    x = torch.randn(1, 3, 4)
    expected = layer(x)
    layer.k_proj = bare  # its bias was 0
    torch.testing.assert_close(layer(x), expected)


def test_rotary_sees_offsets_only():
    torch.manual_seed(0)
    layer = MultiheadAttention(8, 2, rotary=Rotary(4), qk_norm=True).double()
    x = torch.randn(2, 5, 8, dtype=torch.float64)
    positions = torch.tensor([0.0, 1.5, 2.0, 7.0, 9.0], dtype=torch.float64)
    torch.testing.assert_close(layer(x, positions=positions + 100), layer(x, positions=positions), rtol=0, atol=1e-12)
    assert (layer(x, positions=2 * positions) - layer(x, positions=positions)).abs().max() > 1e-3
    torch.testing.assert_close(layer(x), layer(x, positions=torch.arange(5)), rtol=0, atol=0)
    crossed = layer(x, x.clone(), positions=positions, key_positions=positions)
    torch.testing.assert_close(crossed, layer(x, positions=positions), rtol=0, atol=1e-12)


def test_rotary_cross_attention_asks_for_both_positions():
    layer = MultiheadAttention(8, 2, rotary=Rotary(4))
    with pytest.raises(ValueError, match="positions and key_positions"):
        layer(torch.ones(1, 2, 8), torch.ones(1, 3, 8), positions=torch.arange(2))


def test_scale_temperature_and_score_reach_the_logits():
    torch.manual_seed(0)
    x = torch.randn(1, 4, 8)
    layer = MultiheadAttention(8, 2, scale=0.5, temperature=2.0)
    other = MultiheadAttention(8, 2, scale=0.25)
    other.load_state_dict(layer.state_dict())
    torch.testing.assert_close(layer(x), other(x))
    cosine = MultiheadAttention(8, 2, score=scores.Cosine())
    cosine.load_state_dict(layer.state_dict())
    entropy = cosine(x, need=("entropy",)).entropy
    assert (entropy > math.log(4) - 0.6).all()  # cosines of scale 1 keep logits within [-1, 1]
    assert (cosine(x) - other(x)).abs().max() > 1e-4


def test_bias_is_added():
    layer = MultiheadAttention(4, 2)
    closed = torch.zeros(1, 1, 3, 3)
    closed[..., 1:] = -torch.inf  # only the first key is left
    x = torch.randn(2, 3, 4)
    torch.testing.assert_close(layer(x, bias=biases.Dense(closed)), layer(x, x[:, :1]))


def test_dropout_in_training_only():
    layer = MultiheadAttention(8, 2, dropout=0.5)
    x = torch.randn(2, 6, 8)
    torch.manual_seed(1)
    first = layer(x)
    torch.manual_seed(1)
    torch.testing.assert_close(layer(x), first, rtol=0, atol=0)
    assert not torch.equal(layer(x), first)
    layer.eval()
    torch.testing.assert_close(layer(x), layer(x), rtol=0, atol=0)
    plain = MultiheadAttention(8, 2)
    plain.load_state_dict(layer.state_dict())
    torch.testing.assert_close(layer(x), plain(x))


def test_gradcheck():
    torch.manual_seed(0)
    layer = MultiheadAttention(4, 2, qk_norm=True, rotary=Rotary(2)).double()
    x = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    mask = masks.Causal() & masks.Padding(torch.tensor([3, 2]))
    assert torch.autograd.gradcheck(lambda t: layer(t, mask=mask), x)


@pytest.mark.parametrize("need", [(), ("entropy",)])
def test_empty_batch_and_single_token(need):
    layer = MultiheadAttention(8, 2, qk_norm=True, rotary=Rotary(4))
    for shape in ((0, 5, 8), (2, 1, 8), (0, 1, 8), (2, 0, 8)):
        x = torch.randn(shape, requires_grad=True)
        answer = layer(x, mask=masks.Padding(torch.full(shape[:1], shape[1])), need=need)
        out = answer.out if need else answer
        assert out.shape == shape
        out.sum().backward()
        assert x.grad.shape == shape


def test_all_keys_masked_leaves_the_output_bias():
    layer = MultiheadAttention(8, 2)
    nn.init.normal_(layer.out_proj.bias)
    x, y = torch.randn(2, 3, 8), torch.full((2, 4, 8), torch.nan, requires_grad=True)
    answer = layer(x, y, mask=masks.Padding(torch.tensor([0, 0])), need=("weights", "entropy", "lse"))
    assert torch.equal(answer.out, layer.out_proj.bias.expand(2, 3, 8))
    assert answer.weights.count_nonzero() == 0 and answer.entropy.count_nonzero() == 0
    assert (answer.lse == -torch.inf).all()
    answer.out.sum().backward()
    assert y.grad.count_nonzero() == 0 and layer.k_proj.weight.grad.count_nonzero() == 0


def test_non_contiguous_input():
    layer = MultiheadAttention(8, 2)
    x = torch.randn(8, 5, 3).permute(2, 1, 0)
    torch.testing.assert_close(layer(x), layer(x.contiguous()))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_types(dtype):
    torch.manual_seed(0)
    layer = MultiheadAttention(8, 2, qk_norm=True, rotary=Rotary(4)).to(dtype)
    x = torch.randn(2, 5, 8).to(dtype)
    out = layer(x, mask=masks.Padding(torch.tensor([5, 2])))
    assert out.dtype == dtype
    exact = copy.deepcopy(layer).double()(x.double(), mask=masks.Padding(torch.tensor([5, 2])))
    tolerance = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 5e-2}[dtype]
    torch.testing.assert_close(out.double(), exact, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("options", [{}, {"qk_norm": True}, {"rotary": Rotary(4)}], ids=["plain", "norm", "rotary"])
def test_autocast(options):
    torch.manual_seed(0)
    layer = MultiheadAttention(8, 2, **options)
    x = torch.randn(2, 5, 8)
    mask = masks.Padding(torch.tensor([5, 2]))
    with torch.autocast("cpu", torch.bfloat16):
        out = layer(x, mask=mask)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), layer(x, mask=mask), rtol=5e-2, atol=5e-2)
    out.float().sum().backward()
    assert layer.q_proj.weight.grad.dtype == torch.float32


def test_deepcopy_and_saved_state(tmp_path):
    layer = MultiheadAttention(8, 2, qk_norm=True, rotary=Rotary(4))
    x = torch.randn(2, 5, 8)
    torch.testing.assert_close(copy.deepcopy(layer)(x), layer(x), rtol=0, atol=0)
    buffer = io.BytesIO()
    torch.save(layer.state_dict(), buffer)
    buffer.seek(0)
    other = MultiheadAttention(8, 2, qk_norm=True, rotary=Rotary(4))
    other.load_state_dict(torch.load(buffer, weights_only=True))
    torch.testing.assert_close(other(x), layer(x), rtol=0, atol=0)


def test_answer_has_the_layers_output():
    layer = MultiheadAttention(8, 2)
    x = torch.randn(2, 5, 8)
    answer = layer(x, need=("entropy",))
    assert isinstance(answer, AttentionOutput)
    torch.testing.assert_close(answer.out, layer(x))
    assert answer.weights is None and answer.entropy.shape == (2, 2, 5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"heads": 3}, "heads: expected a divisor of dim = 8.*got 3"),
        ({"kv_heads": 3}, "kv_heads: expected a positive divisor of heads = 2, got 3"),
        ({"dropout": 1.0}, r"dropout: expected a probability in \[0, 1\), got 1.0"),
        ({"rotary": Rotary(2)}, "rotary: expected one for head_dim = 4, got one for 2"),
    ],
)
def test_construction_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        MultiheadAttention(**({"dim": 8, "heads": 2} | arguments))


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (((2, 5, 7),), r"query: expected \(B, L, 8\), got \(2, 5, 7\)"),
        (((5, 8),), r"query: expected \(B, L, 8\), got \(5, 8\)"),
        (((2, 5, 8), (2, 4, 7)), r"key: expected \(B, L, 8\), got \(2, 4, 7\)"),
        (((2, 5, 8), (3, 4, 8)), "key: expected the batch of query, 2, got 3"),
        (((2, 5, 8), (2, 4, 8), (2, 3, 8)), r"value: expected \(B, Lk\) of key, \(2, 4\), got \(2, 3\)"),
        (((2, 5, 8), None, (2, 3, 8)), "key: expected a tensor where value is given, got None"),
    ],
)
def test_shape_errors(inputs, message):
    layer = MultiheadAttention(8, 2)
    with pytest.raises(ValueError, match=message):
        layer(*[None if shape is None else torch.zeros(shape) for shape in inputs])


def test_positions_without_a_rotary_are_refused():
    with pytest.raises(ValueError, match="positions: expected None without a rotary"):
        MultiheadAttention(8, 2)(torch.zeros(1, 2, 8), positions=torch.arange(2))
