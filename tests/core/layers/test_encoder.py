"""Encoder: composition, answers, biases per block, degenerate input, compile and export."""

import copy
import io

import pytest
import torch
from torch import nn

from core import biases, masks
from core.layers import Encoder, EncoderOutput, LayerScale, RelativeBias, Rotary, TransformerBlock


def test_is_its_blocks_in_turn():
    torch.manual_seed(0)
    encoder = Encoder(8, 3, 2)
    x = torch.randn(2, 5, 8)
    expected = x
    for block in encoder.blocks:
        expected = block(expected, mask=masks.Causal())
    torch.testing.assert_close(encoder(x, mask=masks.Causal()), encoder.norm(expected), rtol=0, atol=0)
    bare = Encoder(8, 3, 2, final_norm=False)
    bare.load_state_dict({k: v for k, v in encoder.state_dict().items() if not k.startswith("norm.")})
    torch.testing.assert_close(bare(x, mask=masks.Causal()), expected, rtol=0, atol=0)


def test_answers_by_block():
    encoder = Encoder(8, 3, 2)
    x = torch.randn(2, 5, 8)
    answer = encoder(x, need=("weights", "entropy"))
    assert isinstance(answer, EncoderOutput) and len(answer.layers) == 3
    torch.testing.assert_close(answer.out, encoder(x))
    torch.testing.assert_close(encoder.norm(answer.layers[-1].out), answer.out, rtol=0, atol=0)
    for layer, block, given in zip(answer.layers, encoder.blocks, [x, *[a.out for a in answer.layers]], strict=False):
        torch.testing.assert_close(layer.weights, block(given, need=("weights",)).weights)
        torch.testing.assert_close(layer.weights.sum(-1), torch.ones(2, 2, 5))


def test_drop_path_rises_linearly():
    encoder = Encoder(8, 5, 2, drop_path=0.4)
    torch.testing.assert_close([b.drop_path.p for b in encoder.blocks], [0.0, 0.1, 0.2, 0.3, 0.4])
    assert Encoder(8, 1, 2, drop_path=0.4).blocks[0].drop_path.p == 0.0


def test_block_options_are_passed_on():
    encoder = Encoder(8, 2, 2, layer_scale=1e-3, gated_mlp=True, norm="post", final_norm=False)
    assert all(isinstance(block.mlp_scale, LayerScale) and block.mlp.gated for block in encoder.blocks)
    assert isinstance(encoder.norm, nn.Identity)
    with pytest.raises(TypeError, match="no_such_option"):
        Encoder(8, 2, 2, no_such_option=1)
    with pytest.raises(ValueError, match="depth: expected at least 0 blocks, got -1"):
        Encoder(8, -1, 2)


def test_no_blocks_is_the_norm():
    x = torch.randn(2, 3, 8)
    torch.testing.assert_close(Encoder(8, 0, 2)(x), nn.functional.layer_norm(x, (8,)))
    assert Encoder(8, 0, 2)(x, need=("entropy",)).layers == ()


def test_one_bias_or_one_for_each_block():
    torch.manual_seed(0)
    encoder = Encoder(8, 2, 2)
    x = torch.randn(2, 5, 8)
    relative = [RelativeBias(2, 3, std=1.0), RelativeBias(2, 3, std=1.0)]
    each = encoder(x, bias=[module() for module in relative])
    by_hand = encoder.norm(encoder.blocks[1](encoder.blocks[0](x, bias=relative[0]()), bias=relative[1]()))
    torch.testing.assert_close(each, by_hand, rtol=0, atol=0)
    one = encoder(x, bias=relative[0]())
    torch.testing.assert_close(one, encoder(x, bias=[relative[0](), relative[0]()]), rtol=0, atol=0)
    assert (each - one).abs().max() > 1e-4
    (each * torch.randn(8)).sum().backward()  # the sum of a LayerNorm's output is 0
    assert all(module.table.grad.abs().max() > 1e-3 for module in relative)
    with pytest.raises(ValueError, match="bias: expected one for each of 2 blocks, got 1"):
        encoder(x, bias=[None])


def test_cross_attention_in_every_block():
    torch.manual_seed(0)
    encoder = Encoder(8, 2, 2, cross=True, context_dim=6)
    x, context = torch.randn(2, 5, 8), torch.randn(2, 3, 6)
    lengths = masks.Padding(torch.tensor([3, 1]))
    answer = encoder(x, context, context_mask=lengths, need=("weights",))
    assert answer.layers[1].context.weights[1, ..., 1:].count_nonzero() == 0
    torch.testing.assert_close(answer.out, encoder(x, context, context_mask=lengths))


def test_a_token_sees_no_later_one():
    """Causal: the gradient of output i with respect to input j > i is exactly 0."""
    encoder = Encoder(8, 2, 2, rotary=Rotary(4))
    x = torch.randn(1, 6, 8, requires_grad=True)
    (encoder(x, mask=masks.Causal())[0, 2] * torch.randn(8)).sum().backward()  # the sum of a LayerNorm's output is 0
    assert x.grad[0, 3:].count_nonzero() == 0
    assert (x.grad[0, :3].abs().sum(-1) > 1e-3).all()


@pytest.mark.parametrize("checkpoint", [False, True])
@pytest.mark.parametrize("shape", [(0, 4, 8), (2, 1, 8), (2, 0, 8)])
def test_empty_and_single(shape, checkpoint):
    encoder = Encoder(8, 2, 2, checkpoint=checkpoint, dropout=0.1, attention_dropout=0.1, drop_path=0.1)
    x = torch.randn(shape, requires_grad=True)
    out = encoder(x, mask=masks.Padding(torch.full(shape[:1], shape[1])))
    assert out.shape == shape
    out.sum().backward()
    assert x.grad.shape == shape


def test_nothing_valid_is_nothing():
    encoder = Encoder(8, 2, 2)
    x = torch.full((2, 3, 8), torch.nan, requires_grad=True)
    out = encoder(x, mask=masks.Padding(torch.tensor([0, 0])))
    assert out.count_nonzero() == 0
    out.sum().backward()
    assert x.grad.count_nonzero() == 0
    assert all(p.grad.count_nonzero() == 0 for p in encoder.parameters())


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_types(dtype):
    torch.manual_seed(0)
    encoder = Encoder(8, 2, 2, rotary=Rotary(4), layer_scale=0.5).to(dtype)
    x, mask = torch.randn(2, 5, 8).to(dtype), masks.Padding(torch.tensor([5, 3]))
    out = encoder(x, mask=mask)
    assert out.dtype == dtype
    exact = copy.deepcopy(encoder).double()(x.double(), mask=mask)
    torch.testing.assert_close(out.double(), exact, rtol=0, atol=1e-12 if dtype == torch.float64 else 0.1)


def test_autocast_close_to_float32():
    torch.manual_seed(0)
    encoder = Encoder(16, 2, 2, gated_mlp=True, drop_path=0.0)
    x, mask = torch.randn(2, 5, 16), masks.Causal() & masks.Padding(torch.tensor([5, 3]))
    with torch.autocast("cpu", torch.bfloat16):
        out = encoder(x, mask=mask, bias=biases.Alibi(torch.tensor([0.5, 0.1])))
    exact = encoder(x, mask=mask, bias=biases.Alibi(torch.tensor([0.5, 0.1])))
    torch.testing.assert_close(out.float(), exact, rtol=0, atol=0.1)
    assert (out[1, 3:] == 0).all()


def test_saved_state_loads_without_running_code():
    encoder = Encoder(8, 2, 2, layer_scale=0.1)
    buffer = io.BytesIO()
    torch.save(encoder.state_dict(), buffer)
    buffer.seek(0)
    other = Encoder(8, 2, 2, layer_scale=0.1)
    other.load_state_dict(torch.load(buffer, weights_only=True))
    x = torch.randn(2, 3, 8)
    torch.testing.assert_close(other(x), encoder(x), rtol=0, atol=0)
    torch.testing.assert_close(copy.deepcopy(encoder)(x), encoder(x), rtol=0, atol=0)


class Padded(nn.Module):
    """An encoder that takes lengths, so that they are an input of the graph."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder(8, 2, 2, rotary=Rotary(4), qk_norm=True)

    def forward(self, x, lengths):
        return self.encoder(x, mask=masks.Window(2, 2) & masks.Padding(lengths))


def test_exports():
    module = Padded().eval()
    x, lengths = torch.randn(3, 6, 8), torch.tensor([6, 2, 0])
    batch = torch.export.Dim("batch", min=2, max=64)
    program = torch.export.export(module, (x, lengths), dynamic_shapes=({0: batch}, {0: batch}))
    torch.testing.assert_close(program.module()(x, lengths), module(x, lengths))
    x, lengths = torch.randn(5, 6, 8), torch.tensor([1, 2, 3, 4, 5])
    torch.testing.assert_close(program.module()(x, lengths), module(x, lengths))


def test_one_graph_under_compile():
    """fullgraph: nothing in forward or backward falls back to Python."""
    torch.manual_seed(0)
    module = Padded().train()
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    x, lengths = torch.randn(3, 6, 8), torch.tensor([6, 2, 0])
    expected = module(x, lengths)
    expected.square().sum().backward()
    gradients = [p.grad.clone() for p in module.parameters()]
    module.zero_grad()
    out = compiled(x, lengths)
    out.square().sum().backward()
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-5)
    for parameter, gradient in zip(module.parameters(), gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-4)


def test_blocks_are_transformer_blocks():
    encoder = Encoder(8, 2, 2)
    assert all(isinstance(block, TransformerBlock) for block in encoder.blocks)
    assert len({id(block) for block in encoder.blocks}) == 2
