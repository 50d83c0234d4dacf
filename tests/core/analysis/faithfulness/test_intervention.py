"""Other weights in a layer: against the formula written out, for every kind of layer, and nothing is left behind."""

import copy

import pytest
import timm
import torch
from torch import nn

import core
from core import masks
from core.analysis.faithfulness.intervention import (
    attention_layers,
    check_rewriting,
    recorded,
    rewritten,
    uniform_weights,
)
from core.engine import observers


def written_out(layer, query, key, weights):
    """concat_h(w_h v_h) Wo + bo with the parameters of core's layer."""
    B, L, _ = key.shape
    v = (key @ layer.v_proj.weight.T + layer.v_proj.bias).view(B, L, layer.kv_heads, layer.head_dim)
    heads = []
    for h in range(layer.heads):
        heads.append(weights[:, h] @ v[:, :, h // (layer.heads // layer.kv_heads)])
    return torch.cat(heads, -1) @ layer.out_proj.weight.T + layer.out_proj.bias


def drawn_weights(*shape):
    return torch.rand(shape, dtype=torch.float64).softmax(-1)


@pytest.mark.parametrize("kv_heads", [4, 2, 1])
def test_the_output_is_that_of_the_new_weights(kv_heads):
    torch.manual_seed(0)
    layer = core.MultiheadAttention(8, 4, kv_heads=kv_heads).double()
    query, key = torch.randn(2, 3, 8).double(), torch.randn(2, 5, 8).double()
    new = drawn_weights(2, 4, 3, 5)
    with rewritten(layer, lambda old, allowed: new):
        out = layer(query, key)
    torch.testing.assert_close(out, written_out(layer, query, key, new), rtol=0, atol=1e-12)


def test_weights_and_what_is_allowed_are_those_of_the_call():
    torch.manual_seed(0)
    layer = core.MultiheadAttention(8, 2).double()
    x = torch.randn(2, 4, 8).double()
    mask = masks.Causal() & masks.Padding(torch.tensor([4, 2]))
    bias = core.biases.Dense(torch.randn(2, 2, 4, 4).double())
    with recorded({"it": layer}) as calls:
        out = layer(x, mask=mask, bias=bias)
    answer = layer(x, mask=mask, bias=bias, need=("weights",))
    ((name, weights, allowed),) = calls
    assert name == "it" and torch.equal(out, layer(x, mask=mask, bias=bias))
    torch.testing.assert_close(weights, answer.weights, rtol=0, atol=1e-12)
    expected = torch.ones(4, 4).tril().bool().repeat(2, 2, 1, 1)
    expected[1, :, :, 2:] = expected[1, :, 2:] = False
    assert torch.equal(allowed, expected)


def test_uniform_weights_average_the_values_of_the_allowed_keys():
    torch.manual_seed(0)
    layer = core.MultiheadAttention(6, 2).double()
    x = torch.randn(1, 4, 6).double()
    x[:, 3] = torch.nan  # padding
    with rewritten(layer, uniform_weights):
        out = layer(x, mask=masks.Padding(torch.tensor([3])))
    values = (x[0, :3] @ layer.v_proj.weight.T + layer.v_proj.bias).mean(0)
    expected = values @ layer.out_proj.weight.T + layer.out_proj.bias
    torch.testing.assert_close(out[0, :3], expected.expand(3, 6), rtol=0, atol=1e-12)
    assert (out[0, 3] == 0).all()


class Classifier(nn.Module):
    """torch's own encoder, with a head."""

    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.encoder(x).mean(1))


def with_torch_twin():
    model = Classifier()
    for layer in model.encoder.layers:
        twin = core.TorchMultiheadAttention(8, 2, batch_first=True)
        twin.load_state_dict(layer.self_attn.state_dict())
        layer.self_attn = twin
    return model


def timm_vit(**options):
    return timm.create_model("vit_tiny_patch16_224", img_size=16, patch_size=8, depth=2, num_classes=3, **options)


MODELS = {
    "core": (lambda: nn.Sequential(core.Encoder(8, 2, 2), core.AttentionPooling(8, 2)), (2, 5, 8), 3),
    "torch": (Classifier, (2, 5, 8), 2),
    "core's twin of torch": (with_torch_twin, (2, 5, 8), 2),
    "timm": (timm_vit, (2, 3, 16, 16), 2),
    "timm, norms": (lambda: timm_vit(qk_norm=True, scale_attn_norm=True), (2, 3, 16, 16), 2),
}


def build(name):
    torch.manual_seed(0)
    make, shape, layers = MODELS[name]
    return make().eval(), torch.randn(shape), layers


@pytest.mark.parametrize("name", MODELS)
def test_equal_weights_leave_the_output_and_other_weights_do_not(name):
    model, x, count = build(name)
    layers = attention_layers(model)
    assert len(layers) == count
    with torch.no_grad():
        assert check_rewriting(layers, lambda: model(x)) == list(layers)
        before = model(x)
        for module in layers.values():
            with rewritten(module, lambda w, allowed: w.flip(-1)):
                assert (model(x) - before).abs().max() > 1e-4


@pytest.mark.parametrize("name", MODELS)
def test_everything_is_restored_also_after_an_error(name):
    model, x, _ = build(name)
    state = copy.deepcopy(model.state_dict())
    kinds = [type(module) for module in model.modules()]
    with torch.no_grad():
        before = model(x)
        first = next(iter(attention_layers(model).values()))
        with pytest.raises(RuntimeError, match="on purpose"), rewritten(first, uniform_weights):
            model(x)
            raise RuntimeError("on purpose")
        assert torch.equal(model(x), before)
    assert kinds == [type(module) for module in model.modules()] and not observers
    for module in model.modules():
        assert not (module._forward_hooks or module._forward_pre_hooks or module._backward_hooks)
        assert not module._forward_hooks_always_called
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("name", ["core", "torch"])
def test_recording_is_bitwise_free(name):
    model, x, _ = build(name)
    if name == "torch":  # torch's layer has a fast path of its own: compare on the path of its twin
        model = with_torch_twin().eval()
    before = model(x)
    with recorded(attention_layers(model)) as calls:
        assert torch.equal(model(x), before)
    assert all((weights.sum(-1) - 1).abs().max() < 1e-5 for _, weights, _ in calls)


def test_gradients_flow_through_new_weights():
    torch.manual_seed(0)
    layer = core.MultiheadAttention(4, 2).double()
    x = torch.randn(1, 3, 4).double()

    def run(weights):
        with rewritten(layer, lambda old, allowed: weights):
            return layer(x)

    assert torch.autograd.gradcheck(run, drawn_weights(1, 2, 3, 3).requires_grad_())


def test_a_failed_call_leaves_the_next_one_whole():
    layer = core.MultiheadAttention(4, 2)
    x = torch.randn(1, 3, 4)
    with rewritten(layer, uniform_weights):
        expected = layer(x)
        with pytest.raises(ValueError, match="query"):
            layer(torch.randn(1, 3, 5))
        torch.testing.assert_close(layer(x), expected, rtol=0, atol=0)


def test_refusals():
    layer = core.MultiheadAttention(4, 2)
    x = torch.randn(1, 3, 4)
    with pytest.raises(TypeError, match=r"core\.MultiheadAttention.*got torch\.nn\.modules\.linear\.Linear"):
        with rewritten(nn.Linear(2, 2), uniform_weights):
            pass
    with rewritten(layer, lambda w, allowed: w[..., :2]), pytest.raises(ValueError, match=r"rewrite: .*\(1, 2, 3, 3\)"):
        layer(x)
    attention = timm_vit().blocks[0].attn
    with rewritten(attention, uniform_weights), pytest.raises(ValueError, match="attn_mask"):
        attention(torch.randn(1, 5, 192), attn_mask=torch.zeros(5, 5))


def test_a_layer_that_does_more_than_is_known_is_found_out():
    class Gated(core.MultiheadAttention):
        """Doubles what stands between the attention and the output projection."""

        def forward(self, x):
            q, k, v = (p(x)[:, None] for p in (self.q_proj, self.k_proj, self.v_proj))
            return self.out_proj(2 * core.attend(q, k, v)[:, 0])

    torch.manual_seed(0)
    x = torch.randn(1, 3, 4)
    gated, plain = Gated(4, 1), core.MultiheadAttention(4, 1)
    assert check_rewriting({"plain": plain}, lambda: plain(x)) == ["plain"]
    with pytest.raises(ValueError, match="got a change of"):
        check_rewriting({"gated": gated}, lambda: gated(x))
    noisy = nn.Sequential(plain, nn.Dropout())
    with pytest.raises(ValueError, match="random numbers"):
        check_rewriting(attention_layers(noisy), lambda: noisy(x))
