"""TransformerBlock and what stands on its branches: torch's layers as oracle, dropout, checkpointing, errors."""

import copy
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from core import AttentionOutput, biases, masks, scores
from core.layers import MLP, BlockOutput, DropPath, LayerScale, MultiheadAttention, Rotary, TransformerBlock


def load(block, theirs):
    """Give a block the weights of torch's encoder or decoder layer."""
    block.attention.load_state_dict(MultiheadAttention.from_torch(theirs.self_attn).state_dict())
    block.attention_norm.load_state_dict(theirs.norm1.state_dict())
    norm = theirs.norm2
    if hasattr(theirs, "multihead_attn"):
        block.cross_attention.load_state_dict(MultiheadAttention.from_torch(theirs.multihead_attn).state_dict())
        block.cross_norm.load_state_dict(theirs.norm2.state_dict())
        norm = theirs.norm3
    block.mlp_norm.load_state_dict(norm.state_dict())
    block.mlp.expand.load_state_dict(theirs.linear1.state_dict())
    block.mlp.contract.load_state_dict(theirs.linear2.state_dict())


def scramble(module):
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5)


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_equals_torchs_encoder_layer(norm):
    torch.manual_seed(0)
    theirs = nn.TransformerEncoderLayer(
        8, 2, 16, dropout=0.0, activation="gelu", batch_first=True, norm_first=norm == "pre", dtype=torch.float64
    )
    scramble(theirs)
    block = TransformerBlock(8, 2, mlp_ratio=2.0, norm=norm).double()
    load(block, theirs)
    x = torch.randn(3, 5, 8, dtype=torch.float64)
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    causal = nn.Transformer.generate_square_subsequent_mask(5, dtype=torch.float64)
    out, expected = block(a, mask=masks.Causal()), theirs(b, src_mask=causal)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-11)
    out.square().sum().backward()
    expected.square().sum().backward()
    torch.testing.assert_close(a.grad, b.grad, rtol=1e-10, atol=1e-9)
    torch.testing.assert_close(block.mlp.expand.weight.grad, theirs.linear1.weight.grad, rtol=1e-10, atol=1e-9)


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_equals_torchs_decoder_layer(norm):
    torch.manual_seed(0)
    theirs = nn.TransformerDecoderLayer(
        8, 2, 16, dropout=0.0, activation="gelu", batch_first=True, norm_first=norm == "pre", dtype=torch.float64
    )
    scramble(theirs)
    block = TransformerBlock(8, 2, mlp_ratio=2.0, norm=norm, cross=True).double()
    load(block, theirs)
    x, memory = torch.randn(3, 5, 8, dtype=torch.float64), torch.randn(3, 4, 8, dtype=torch.float64)
    keys = torch.tensor([4, 2, 1])
    expected = theirs(x, memory, memory_key_padding_mask=torch.arange(4) >= keys[:, None])
    torch.testing.assert_close(block(x, memory, context_mask=masks.Padding(keys)), expected, rtol=0, atol=1e-11)


def test_cross_attention_answers_both():
    block = TransformerBlock(8, 2, cross=True, context_dim=6)
    x, context = torch.randn(2, 5, 8), torch.randn(2, 4, 6)
    answer = block(x, context, mask=masks.Causal(), need=("weights",), context_bias=biases.Alibi(torch.ones(2)))
    assert isinstance(answer, BlockOutput)
    assert answer.own.weights.shape == (2, 2, 5, 5) and answer.context.weights.shape == (2, 2, 5, 4)
    assert answer.own.weights[..., 0, 1:].count_nonzero() == 0
    assert torch.equal(answer.own.out, answer.out) and torch.equal(answer.context.out, answer.out)


def test_padding_whose_queries_are_not_its_keys():
    """Row 0 is a query alone, row 3 a key alone, row 4 neither: row 3 is read, and goes on without attention."""
    torch.manual_seed(0)
    block = TransformerBlock(8, 2).double()
    x = torch.randn(1, 5, 8, dtype=torch.float64)
    keys, queries = torch.tensor([[False, True, True, True, False]]), torch.tensor([[True, True, True, False, False]])
    out = block(x, mask=masks.Padding(keys, queries=queries))
    assert (out[0, 4] == 0).all()
    torch.testing.assert_close(out[0, 3], x[0, 3] + block.mlp(block.mlp_norm(x[0, 3])), rtol=0, atol=1e-12)
    alone = block.attention(block.attention_norm(x[:, :3]), block.attention_norm(x[:, 1:4]))
    stream = x[:, :3] + alone
    torch.testing.assert_close(out[:, :3], stream + block.mlp(block.mlp_norm(stream)), rtol=0, atol=1e-12)
    equal = masks.Padding(keys, queries=keys.clone())  # equal values in two tensors, as .to() may leave them
    torch.testing.assert_close(block(x, mask=equal), block(x, mask=masks.Padding(keys)), rtol=0, atol=0)


def test_need_answers_the_blocks_output():
    block = TransformerBlock(8, 2)
    x = torch.randn(2, 5, 8)
    answer = block(x, need=("entropy", "weights"))
    assert isinstance(answer, AttentionOutput)
    torch.testing.assert_close(answer.out, block(x))
    inner = block.attention(block.attention_norm(x), need=("entropy",))
    torch.testing.assert_close(answer.entropy, inner.entropy)


@pytest.mark.parametrize("need", [(), ("entropy",)])
@pytest.mark.parametrize("options", [{}, {"cross": True}, {"gated_mlp": True, "norm": "post", "layer_scale": 0.1}])
def test_checkpointing_changes_nothing(options, need):
    torch.manual_seed(0)
    dropped = {"dropout": 0.2, "attention_dropout": 0.3, "drop_path": 0.4}
    block = TransformerBlock(8, 2, **dropped, **options)
    again = TransformerBlock(8, 2, **dropped, **options, checkpoint=True)
    again.load_state_dict(block.state_dict())
    x, context = torch.randn(4, 5, 8), torch.randn(4, 3, 8) if options.get("cross") else None
    table = torch.randn(2, 9, requires_grad=True)

    def run(module):
        module.zero_grad()
        table.grad = None
        torch.manual_seed(7)
        given = x.clone().requires_grad_()
        answer = module(
            given, context, bias=biases.Relative(table), mask=masks.Padding(torch.tensor([5, 2, 0, 3])), need=need
        )
        out = answer.out if need else answer
        out.square().sum().backward()
        return [out.detach(), given.grad, table.grad, *[p.grad for p in module.parameters()]]

    for one, other in zip(run(again), [t.clone() for t in run(block)], strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_checkpointing_keeps_less():
    kept = []

    def pack(tensor):
        kept.append(tensor.numel())
        return tensor

    sizes = {}
    for flag in (False, True):
        block = TransformerBlock(8, 2, checkpoint=flag)
        kept.clear()
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            block(torch.randn(2, 64, 8, requires_grad=True))
        sizes[flag] = sum(kept)
    assert sizes[True] < 0.2 * sizes[False]


def test_drop_path_drops_whole_items_and_keeps_the_mean():
    torch.manual_seed(0)
    drop = DropPath(0.25)
    out = drop(torch.ones(4000, 2, 3))
    values = out[:, 0, 0]
    assert (out == values[:, None, None]).all()
    torch.testing.assert_close(values.unique(), torch.tensor([0.0, 1 / 0.75]))
    assert abs((values == 0).float().mean().item() - 0.25) < 0.03
    assert drop.eval()(out) is out
    with pytest.raises(ValueError, match=r"drop_path: expected a probability in \[0, 1\), got 1"):
        DropPath(1.0)


def test_an_item_whose_branches_are_dropped_passes_through():
    torch.manual_seed(0)
    block = TransformerBlock(8, 2, drop_path=0.9)
    x = torch.randn(50, 3, 8)
    same = (block(x) == x).flatten(1).all(1)
    assert 30 < same.sum() < 50  # about .81 of 50
    assert not (block.eval()(x) == x).flatten(1).all(1).any()


def test_layer_scale():
    block = TransformerBlock(8, 2, layer_scale=0.0)
    x = torch.randn(2, 3, 8)
    assert torch.equal(block(x), x)
    scale = LayerScale(2, 0.5)
    assert scale(torch.tensor([2.0, 4.0])).tolist() == [1.0, 2.0]


def test_gated_mlp_by_hand():
    """act(W1 x) * (V x): relu(2 * 3) * (1 * 3) = 18, contracted by 1."""
    mlp = MLP(1, 1.5, gated=True, activation=nn.ReLU)
    with torch.no_grad():
        mlp.expand.weight.copy_(torch.tensor([[2.0], [1.0]]))
        mlp.contract.weight.fill_(1.0)
    assert mlp(torch.tensor([[3.0]])).item() == 18.0


@given(dim=st.integers(4, 64), ratio=st.floats(1.0, 6.0))
@settings(deadline=None, max_examples=30)
def test_gated_mlp_has_the_plain_ones_weights(dim, ratio):
    plain = MLP(dim, ratio, bias=False)
    gated = MLP(dim, ratio, gated=True, bias=False)
    count = [sum(p.numel() for p in mlp.parameters()) for mlp in (plain, gated)]
    assert abs(count[0] - count[1]) <= 3 * dim


def test_options_reach_their_places():
    rotary = Rotary(2, base=100.0)
    block = TransformerBlock(
        8, 4, qk_norm=True, projection_bias=False, kv_heads=2, rotary=rotary, score=scores.Cosine(), scale=3.0,
        temperature=2.0, head_dim=2, attention_dropout=0.1, backend="reference", activation=nn.SiLU,
        norm_layer=partial(nn.LayerNorm, eps=1e-3), cross=True,
    )  # fmt: skip
    for attention in (block.attention, block.cross_attention):
        assert attention.q_proj.bias is None and attention.out_proj.bias is not None
        assert isinstance(attention.q_norm, nn.LayerNorm)
        assert (attention.kv_heads, attention.scale, attention.temperature, attention.backend) == (
            2,
            3.0,
            2.0,
            "reference",
        )
        assert (attention.dropout, attention.score) == (0.1, scores.Cosine())
    assert block.attention.rotary is rotary and block.cross_attention.rotary is None
    assert isinstance(block.mlp.activation, nn.SiLU)
    assert block.attention_norm.eps == block.mlp_norm.eps == block.cross_norm.eps == 1e-3
    assert copy.deepcopy(block)(torch.zeros(1, 2, 8), torch.zeros(1, 2, 8)).shape == (1, 2, 8)


@pytest.mark.parametrize(
    ("options", "arguments", "message"),
    [
        ({"norm": "both"}, {}, "norm: expected 'pre' or 'post', got 'both'"),
        ({"cross": True}, {}, "context: expected a tensor, as cross=True, got None"),
        ({}, {"context": torch.zeros(1, 2, 8)}, r"context: expected None, as cross=False, got \(1, 2, 8\)"),
        ({}, {"context_mask": masks.Causal()}, "context_mask, context_bias: expected None, as cross=False"),
        ({"mlp_ratio": 0.0}, {}, "mlp_ratio: expected at least one hidden unit"),
    ],
)
def test_errors(options, arguments, message):
    with pytest.raises(ValueError, match=message):
        TransformerBlock(8, 2, **options)(torch.zeros(1, 3, 8), **arguments)
