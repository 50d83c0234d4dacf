"""timm's and torch's own attention under capture: right weights, unchanged outputs, fast paths, refusals."""

import pytest
import torch
from timm.layers import Attention, AttentionRope
from torch import nn

from core.analysis import CaptureError, CaptureWarning
from core.analysis.capture import capture
from core.layers import TorchMultiheadAttention

from ..models import images, timm_vit, tokens, torch_encoder


def test_timm_fused_and_unfused_give_the_same_weights():
    model, x = timm_vit(qk_norm=True).eval().double(), images().double()
    with capture(model, ("weights", "entropy")) as fused:
        model(x)
    held = []
    for block in model.blocks:
        assert block.attn.fused_attn
        block.attn.fused_attn = False
        block.attn.attn_drop.register_forward_pre_hook(lambda module, args: held.append(args[0]))
    model(x)
    assert list(fused.layers) == ["blocks.0.attn", "blocks.1.attn"]
    for record, expected in zip(fused, held, strict=True):
        torch.testing.assert_close(record.weights, expected.detach(), rtol=0, atol=1e-12)
        torch.testing.assert_close(record.entropy, torch.special.entr(expected.detach()).sum(-1), rtol=0, atol=1e-12)


@pytest.mark.parametrize("training", [True, False])
def test_timm_outputs_stay_bit_for_bit(training):
    model = timm_vit(attn_drop_rate=0.2, drop_path_rate=0.1).train(training)
    x = images()
    torch.manual_seed(0)
    expected = model(x)
    torch.manual_seed(0)
    with capture(model, ("weights",), rows=[0]) as seen:
        assert torch.equal(model(x), expected)
    assert seen["blocks.0.attn"].weights.shape == (2, 4, 1, 17)


@pytest.mark.parametrize("kind", ["bool", "float", "causal"])
def test_timm_masks(kind):
    layer = Attention(8, 2).double()
    x = torch.randn(2, 5, 8, dtype=torch.float64)
    allowed = torch.ones(5, 5).tril().bool()
    given = {
        "bool": {"attn_mask": allowed},
        "float": {"attn_mask": torch.zeros(5, 5, dtype=torch.float64).masked_fill(~allowed, -torch.inf)},
        "causal": {"is_causal": True},
    }[kind]
    with capture(layer, ("weights", "inputs")) as seen:
        out = layer(x, **given)
    weights, v = seen[""].weights, seen[""].inputs.v
    assert not weights.masked_select(~allowed).any()
    torch.testing.assert_close(layer.proj((weights @ v).transpose(1, 2).flatten(2)), out, rtol=0, atol=1e-12)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("grad", [False, True])
def test_torch_encoder_with_and_without_the_fast_path(padded, norm_first, grad):
    model, x = torch_encoder(norm_first=norm_first).eval().double(), tokens().double()
    mask = torch.tensor([[False] * 5, [False] * 3 + [True] * 2]) if padded else None
    held = []
    for layer in model.layers:  # torch's slow path, asked for its weights
        ask = dict(need_weights=True, average_attn_weights=False)
        layer.self_attn.register_forward_pre_hook(lambda m, a, k, ask=ask: (a, {**k, **ask}), with_kwargs=True)
        layer.self_attn.register_forward_hook(lambda m, a, out: held.append(out[1].detach()))
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        model(x, src_key_padding_mask=mask)
    finally:
        torch.backends.mha.set_fastpath_enabled(True)
    for layer in model.layers:
        layer.self_attn._forward_pre_hooks.clear()
        layer.self_attn._forward_hooks.clear()
        layer.self_attn._forward_pre_hooks_with_kwargs.clear()
    with torch.set_grad_enabled(grad):
        expected = model(x, src_key_padding_mask=mask)
        with capture(model, ("weights",)) as seen:
            assert torch.equal(model(x, src_key_padding_mask=mask), expected)
    assert list(seen.layers) == ["layers.0.self_attn", "layers.1.self_attn"]
    for record, weights in zip(seen, held, strict=True):
        torch.testing.assert_close(record.weights[0], weights[0], rtol=0, atol=1e-12)
        keys = 3 if padded else 5
        torch.testing.assert_close(record.weights[1, :, :keys, :keys], weights[1, :, :keys, :keys], rtol=0, atol=1e-12)
        assert not record.weights[1, :, :, keys:].any()


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("unbatched", [True, False])
@pytest.mark.parametrize("extras", [{}, {"add_bias_kv": True, "add_zero_attn": True}, {"kdim": 6, "vdim": 3}])
def test_torch_attention_in_every_form(batch_first, unbatched, extras):
    layer = nn.MultiheadAttention(8, 2, batch_first=batch_first, dropout=0.4, **extras).double().eval()
    shapes = [(2, 4, 8), (2, 5, extras.get("kdim", 8)), (2, 5, extras.get("vdim", 8))]
    q, k, v = (torch.randn(*shape, dtype=torch.float64) for shape in shapes)
    q, k, v = (x[0] if unbatched else x if batch_first else x.transpose(0, 1) for x in (q, k, v))
    blocked = torch.tensor([False, True, False, False, False])
    given = {"key_padding_mask": blocked if unbatched else blocked.expand(2, 5)}
    with capture(layer, ("weights",)) as seen:
        _, weights = layer(q, k, v, average_attn_weights=False, **given)
    expected = weights[None] if unbatched else weights
    torch.testing.assert_close(seen[""].weights, expected.detach(), rtol=0, atol=1e-12)


def test_cores_own_torch_layer_is_seen_through_attend():
    layer = TorchMultiheadAttention(8, 2)
    x = torch.randn(4, 1, 8)
    with capture(layer, ("weights",)) as seen:
        _, weights = layer(x, x, x, average_attn_weights=False)
    assert len(seen) == 1
    torch.testing.assert_close(seen[""].weights, weights)


def test_unknown_attention_is_named_and_alone_refused():
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.known = Attention(8, 2)
            self.strange = AttentionRope(8, 2, num_prefix_tokens=0)

        def forward(self, x):
            return self.strange(self.known(x))

    model = Mixed()
    x = torch.randn(1, 4, 8)
    with pytest.warns(CaptureWarning, match=r"strange \(timm\.layers\.attention\.AttentionRope\) looks like attention"):
        with capture(model) as seen:
            model(x)
    assert list(seen.layers) == ["known"]
    with pytest.raises(CaptureError, match=r"(?s)none but these, which are not supported:.*AttentionRope"):
        with pytest.warns(CaptureWarning), capture(model.strange):
            model.strange(x)


def test_a_subclass_with_another_forward_is_not_taken_for_its_base():
    class Other(nn.MultiheadAttention):
        def forward(self, query, key, value, **options):
            return query, None

    model = nn.ModuleList([Other(8, 2)])
    x = torch.randn(1, 4, 8)
    with pytest.raises(CaptureError, match="Other"), pytest.warns(CaptureWarning, match="Other"), capture(model):
        model[0](x, x, x)
