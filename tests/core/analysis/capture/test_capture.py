"""capture: exact cases, bitwise outputs, rows and heads, memory, refusals, what may go on around it."""

import copy
import math
import warnings

import pytest
import torch
from torch import nn
from torch.nn.modules import module as torch_module

import core
from core import biases, masks, scores
from core.analysis import CaptureError
from core.analysis.capture import capture, recording
from core.analysis.capture.linear import linear_statistic
from core.engine.observe import observers
from core.layers import Encoder, MultiheadAttention, TransformerBlock

from ..models import Direct, images, vit


def gradients(model, out):
    return torch.autograd.grad(out.square().sum(), list(model.parameters()), allow_unused=True)


def same(a, b):
    return all(x is y is None or torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_equal_keys_have_the_entropy_ln_l():
    layer = MultiheadAttention(8, 2)
    nn.init.zeros_(layer.k_proj.weight)
    with capture(layer, ("entropy", "lse", "weights")) as seen:
        layer(torch.randn(3, 7, 8))
    record = seen[""]
    assert record.sizes == (3, 2, 7, 7)
    torch.testing.assert_close(record.entropy, torch.full((3, 2, 7), math.log(7)))
    torch.testing.assert_close(record.lse, torch.full((3, 2, 7), math.log(7)))
    torch.testing.assert_close(record.weights, torch.full((3, 2, 7, 7), 1 / 7))


def test_two_tokens_by_hand():
    """q = k = x = (0, 1) with unit weights: the second row is weighted 1 : e."""
    layer = MultiheadAttention(1, 1)
    for projection in (layer.q_proj, layer.k_proj):
        nn.init.ones_(projection.weight)
    with capture(layer, ("entropy", "weights"), statistics={"bias": biases.Alibi(1.0), "past": masks.Causal()}) as seen:
        layer(torch.tensor([[[0.0], [1.0]]]))
    high = math.e / (1 + math.e)
    torch.testing.assert_close(seen[""].weights[0, 0], torch.tensor([[0.5, 0.5], [1 - high, high]]))
    entropy = -high * math.log(high) - (1 - high) * math.log(1 - high)
    torch.testing.assert_close(seen[""].entropy.flatten(), torch.tensor([math.log(2), entropy]))
    torch.testing.assert_close(seen[""].statistics["past"].flatten(), torch.tensor([0.5, 1.0]))
    torch.testing.assert_close(seen[""].statistics["bias"].flatten(), torch.tensor([-0.5, high - 1]))


STRUCTURES = {
    "plain": (None, None),
    "causal, alibi": (masks.Causal(), biases.Alibi(torch.tensor([0.5, 0.1, 0.2, 1.0]).double())),
    "padding": (masks.Padding(torch.tensor([6, 3])), None),
    "all": (
        masks.Window(2, 1) & masks.Padding(torch.tensor([6, 4])),
        biases.Relative(torch.randn(4, 5).double()) + biases.KeyBias(torch.randn(2, 6).double()),
    ),
    "dense": (masks.Dense(torch.ones(1, 1, 6, 6).tril().bool()), biases.Dense(torch.randn(2, 4, 6, 6).double())),
    "times": (
        masks.NotAfter(torch.arange(12.0).double().reshape(2, 6)),
        biases.TimeDecay(torch.arange(12.0).double().reshape(2, 6), torch.rand(4).double()),
    ),
}


@pytest.mark.parametrize("score", [scores.Dot(), scores.Cosine(), scores.Gaussian()])
@pytest.mark.parametrize("structure", STRUCTURES)
def test_every_quantity_equals_what_attend_answers(structure, score):
    mask, bias = STRUCTURES[structure]
    layer = MultiheadAttention(8, 4, kv_heads=2, score=score, temperature=0.7, scale=1.5).double()
    x = torch.randn(2, 6, 8, dtype=torch.float64)
    expected = layer(x, mask=mask, bias=bias, need=("weights", "entropy", "lse"))
    with capture(
        layer, ("weights", "entropy", "lse"), statistics={"own": lambda p: torch.ones(p.B, p.H, p.Lq)}
    ) as seen:
        layer(x, mask=mask, bias=bias)
    record = seen[""]
    for name in ("weights", "entropy", "lse"):
        torch.testing.assert_close(getattr(record, name), getattr(expected, name), rtol=0, atol=1e-10)
        assert not getattr(record, name).requires_grad
    assert bool((record.statistics["own"] == 1).all())


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize(("heads", "rows"), [([3, 0], None), (None, [5, 1, 2]), ([2], [-1, 0])])
def test_heads_and_rows_are_those_of_the_whole(structure, heads, rows):
    mask, bias = STRUCTURES[structure]
    layer = MultiheadAttention(8, 4, kv_heads=2).double()
    x = torch.randn(2, 6, 8, dtype=torch.float64)
    quantities = ("weights", "entropy", "lse")
    statistics = {"past": masks.Window(1, 0), "mean bias": biases.Alibi(1.0)}
    with capture(layer, quantities, statistics=statistics) as whole:
        layer(x, mask=mask, bias=bias)
    with capture(layer, quantities, statistics=statistics, heads=heads, rows=rows) as seen:
        layer(x, mask=mask, bias=bias)
    for name in quantities:
        expected = getattr(whole[""], name)
        expected = expected if heads is None else expected[:, heads]
        expected = expected if rows is None else expected[:, :, rows]
        torch.testing.assert_close(getattr(seen[""], name), expected, rtol=0, atol=1e-12)
    for name in statistics:
        expected = whole[""].statistics[name]
        expected = expected if heads is None else expected[:, heads]
        expected = expected if rows is None else expected[:, :, rows]
        torch.testing.assert_close(seen[""].statistics[name], expected, rtol=0, atol=1e-12)


def test_rows_of_cross_attention_stay_aligned_with_the_last_key():
    """Three queries, five keys, causal: query i sees keys up to i + 2."""
    layer = MultiheadAttention(4, 1)
    nn.init.zeros_(layer.k_proj.weight)
    with capture(layer, ("weights",), rows=[1]) as seen:
        layer(torch.randn(1, 3, 4), torch.randn(1, 5, 4), mask=masks.Causal())
    torch.testing.assert_close(seen[""].weights[0, 0], torch.tensor([[0.25, 0.25, 0.25, 0.25, 0.0]]))


def test_rows_do_not_compute_the_others(monkeypatch):
    """A bias that counts what it is asked for: one row of 64 is one row of pairs."""
    asked = []
    original = biases.Alibi._block
    monkeypatch.setattr(biases.Alibi, "_block", lambda self, part: asked.append(part.n_rows) or original(self, part))
    layer = MultiheadAttention(8, 2)
    x = torch.randn(1, 64, 8)
    with capture(layer, ("weights",), rows=[63]) as seen:
        layer(x, mask=masks.Causal(), bias=biases.Alibi(0.1))
    assert seen[""].weights.shape == (1, 2, 1, 64)
    assert asked and asked[-1] == 1


def test_large_weights_are_computed_in_blocks(monkeypatch):
    layer = MultiheadAttention(8, 2).double()
    x = torch.randn(2, 9, 8, dtype=torch.float64)
    bias = biases.Relative(torch.randn(2, 3))
    with capture(layer, ("weights",), statistics={"past": masks.Causal()}) as whole:
        layer(x, bias=bias)
    monkeypatch.setattr(recording, "CELLS", 100)
    with capture(layer, ("weights",), statistics={"past": masks.Causal()}) as seen:
        layer(x, bias=bias)
    torch.testing.assert_close(seen[""].weights, whole[""].weights, rtol=0, atol=1e-14)
    torch.testing.assert_close(seen[""].statistics["past"], whole[""].statistics["past"], rtol=0, atol=1e-14)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("quantities", [("entropy",), ("weights", "lse", "inputs")])
def test_outputs_gradients_and_random_numbers_stay_the_same(training, quantities):
    model = vit(attn_drop_rate=0.3, proj_drop_rate=0.1, drop_path_rate=0.2).train(training)
    x = images()
    torch.manual_seed(5)
    plain = model(x)
    expected, number = gradients(model, plain), torch.rand(3)
    torch.manual_seed(5)
    with capture(model, quantities, statistics={"past": masks.Causal()}):
        watched = model(x)
    assert torch.equal(watched, plain)
    assert same(gradients(model, watched), expected)
    assert torch.equal(torch.rand(3), number)


def test_dropout_from_a_generator_stays_the_same():
    q = torch.randn(1, 2, 5, 4)

    class Dropping(nn.Module):
        def forward(self, generator):
            return core.attend(q, q, q, dropout_p=0.5, generator=generator)

    model = Dropping()
    plain = model(torch.Generator().manual_seed(3))
    with capture(model, ("weights",)) as seen:
        assert torch.equal(model(torch.Generator().manual_seed(3)), plain)
    torch.testing.assert_close(seen[""].weights.sum(-1), torch.ones(1, 2, 5))


@pytest.mark.parametrize("training", [True, False])
def test_a_checkpointed_block_is_recorded_once(training):
    block = TransformerBlock(8, 2, checkpoint=True, attention_dropout=0.2).train(training)
    x = torch.randn(2, 4, 8, requires_grad=True)
    torch.manual_seed(0)
    expected = gradients(block, block(x))
    torch.manual_seed(0)
    with capture(block, ("entropy",)) as seen:
        found = gradients(block, block(x))
    assert len(seen) == 1
    assert same(found, expected)


def test_reentrant_checkpoints_are_recorded_once():
    model = vit()
    model.set_grad_checkpointing()
    with capture(model, ("entropy",)) as seen:
        model(images()).sum().backward()
    assert [record.layer for record in seen] == ["blocks.0.attention", "blocks.1.attention"]


def test_a_module_called_twice_has_two_records():
    layer = MultiheadAttention(8, 2)

    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = layer

        def forward(self, x):
            return self.inner(self.inner(x))

    model = Twice()
    with capture(model, ("weights",)) as seen:
        model(torch.randn(1, 3, 8))
        model(torch.randn(1, 4, 8))
    assert [record.sizes[2] for record in seen.layers["inner"]] == [3, 3, 4, 4]
    assert [len(records) for records in seen.passes] == [2, 2]
    assert seen["inner"] is seen.records[-1]


def test_nested_captures_see_the_model_and_not_each_other():
    model = vit()
    with capture(model, ("entropy",)) as outer:
        with capture(model, ("weights",), layers="blocks.1") as inner:
            model(images())
        model.blocks[0].attention(torch.randn(1, 3, 16))
    assert len(outer) == 3 and len(inner) == 1
    assert inner.records[0].layer == "blocks.1.attention"
    assert outer.records[2].forward is None and outer.records[0].forward == 0


def test_nothing_is_left_behind_even_by_an_error():
    model = vit()
    before = copy.deepcopy(model.state_dict())
    hooks = nn.modules.module._global_forward_hooks, nn.modules.module._global_forward_pre_hooks
    with pytest.raises(ZeroDivisionError), capture(model):
        model(images())
        raise ZeroDivisionError
    with pytest.raises(ValueError, match="images: expected shape"), capture(model):
        model(torch.randn(2, 7, 8, 8))
    assert not observers and not any(hooks)
    assert all(not module._forward_hooks and not module._forward_pre_hooks for module in model.modules())
    assert same(model.state_dict().values(), before.values())


def test_an_error_that_the_model_catches_does_not_confuse_the_names():
    class Fallible(nn.Module):
        def __init__(self):
            super().__init__()
            self.fails, self.works = nn.Linear(3, 3), MultiheadAttention(8, 2)

        def forward(self, x):
            try:
                self.fails(x)
            except RuntimeError:
                pass
            return core.attend(*[x[:, None]] * 3) + self.works(x)[:, None]

    model = Fallible()
    with capture(model) as seen:
        model(torch.randn(1, 4, 8))
    assert list(seen.layers) == ["", "works"]


def test_a_module_that_calls_attend_is_named():
    model = nn.Sequential(nn.Linear(4, 4), Direct())
    with capture(model, ("entropy",)) as seen:
        model(torch.randn(2, 3, 4))
    assert list(seen.layers) == ["1"]
    assert "1: B, H, Lq, Lk = (2, 2, 3, 3): entropy (2, 2, 3)" in str(seen)


def test_a_statistic_may_attend_itself():
    """What a statistic computes by `attend` is not recorded, by this capture or by one around it."""
    model = vit().double()

    def past(p):
        return linear_statistic(p.q, p.k, masks.Causal(), scale=p.scale)

    with capture(model) as outer, capture(model, (), statistics={"f": past, "mask": masks.Causal()}) as seen:
        model(images().double())
    assert len(outer) == len(seen) == 2
    for record in seen:
        torch.testing.assert_close(record.statistics["f"], record.statistics["mask"], rtol=0, atol=1e-10)


def test_layers_by_name_pattern_and_parent():
    model = vit(depth=3)
    chosen = {
        "blocks.1.attention": ["blocks.1.attention"],
        "blocks.[02].*": ["blocks.0.attention", "blocks.2.attention"],
        "blocks.2": ["blocks.2.attention"],
        "*attention": [f"blocks.{n}.attention" for n in range(3)],
    }
    for pattern, expected in chosen.items():
        with capture(model, layers=pattern) as seen:
            model(images())
        assert list(seen.layers) == expected, pattern


def test_cross_attention_and_padding_of_an_encoder():
    model = Encoder(8, 1, 2, cross=True, context_dim=6)
    lengths = torch.tensor([3, 1])
    with capture(model, ("weights", "entropy")) as seen:
        model(torch.randn(2, 3, 8), torch.randn(2, 5, 6), mask=masks.Padding(lengths))
    own, other = seen["blocks.0.attention"], seen["blocks.0.cross_attention"]
    assert other.weights.shape == (2, 2, 3, 5)
    assert not own.weights[1, :, 1:].any() and not own.entropy[1, :, 1:].any()


def test_memory_is_claimed_before_weights_are_taken():
    layer = MultiheadAttention(8, 2)
    x = torch.randn(1, 100, 8)
    with pytest.raises(CaptureError, match=r"max_bytes: expected .*'weights' 0\.1 MB.*choose rows=.*'entropy'"):
        with capture(layer, ("weights",), max_bytes=79_999):
            layer(x)
    with capture(layer, ("weights",), max_bytes=80_000) as seen:
        layer(x)
    assert seen.nbytes == 80_000
    with pytest.raises(CaptureError, match="held already"), capture(layer, ("weights",), max_bytes=150_000):
        layer(x)
        layer(x)
    with capture(layer, ("weights",), rows=[0], max_bytes=1000):
        layer(x)


def test_inputs_answer_any_rows_of_the_weights():
    layer = MultiheadAttention(8, 4, kv_heads=2).double()
    x = torch.randn(2, 6, 8, dtype=torch.float64)
    with capture(layer, ("inputs", "weights"), device="cpu") as seen:
        layer(x, mask=masks.Causal(), bias=biases.Alibi(0.3))
    weights = seen[""].weights
    bare = seen[""].__class__(layer="", forward=0, sizes=seen[""].sizes, inputs=seen[""].inputs)
    torch.testing.assert_close(bare.weights_of(range(2, 5)), weights[:, :, 2:5], rtol=0, atol=1e-12)
    with capture(layer) as seen:
        layer(x)
    with pytest.raises(ValueError, match="a capture of 'inputs' or of the 'weights'"):
        seen[""].weights_of(range(2))


def test_autocast_and_half_precision():
    layer = MultiheadAttention(8, 2)
    x = torch.randn(1, 5, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        expected = layer(x, need=("entropy",)).entropy
        with capture(layer, ("entropy", "weights")) as seen:
            layer(x)
    torch.testing.assert_close(seen[""].entropy, expected, rtol=0, atol=1e-4)
    assert seen[""].weights.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"quantities": "entropy"}, TypeError, "expected a tuple such as"),
        ({"quantities": ("entropie",)}, ValueError, "quantities: expected names from .*'entropie'"),
        ({"quantities": ()}, ValueError, "quantities: .*got none"),
        ({"heads": []}, ValueError, "heads: .*got none"),
        ({"quantities": ("inputs",), "rows": [0]}, ValueError, "rows: expected None with the quantity 'inputs'"),
        ({"rows": [17]}, CaptureError, r"rows: expected indices of the 17 of blocks.0.attention, got 17"),
        ({"heads": [-5]}, CaptureError, "heads: expected indices of the 4 of blocks.0.attention"),
        ({"layers": "block.0"}, CaptureError, "'blocks.0.attention', 'blocks.1.attention'.*matches none"),
        (
            {"layers": ["blocks.0", "blocks.*.mlp"]},
            CaptureError,
            "expected modules that attended, .*got 'blocks.[*].mlp'",
        ),
        (
            {"statistics": {"s": lambda p: p.q}},
            ValueError,
            r"statistics\['s'\]: expected .* at 'blocks.0.attention', got",
        ),
    ],
)
def test_what_cannot_be_done_is_said(options, error, message):
    model = vit()
    with pytest.raises(error, match=message), capture(model, **options):
        model(images())


def test_a_model_without_attention_is_refused_with_its_modules():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    with pytest.raises(
        CaptureError, match=r"(?s)model: expected attention.*torch.nn.modules.linear.Linear.*supported: whatever calls"
    ):
        with capture(model):
            model(torch.randn(1, 2))
    with (
        pytest.raises(
            CaptureError, match="expected attention that can be captured to run inside the context, got none"
        ),
        capture(vit()),
    ):
        pass
    with pytest.raises(TypeError, match="Module, got a function"), capture(lambda x: x):
        pass


def test_a_missing_layer_is_named():
    model = vit()
    with capture(model) as seen:
        model(images())
    with pytest.raises(
        KeyError, match=r"layer: expected one of 'blocks\.0\.attention', 'blocks\.1\.attention', got 'blocks\.0'"
    ):
        seen["blocks.0"]


def test_compiled_models_are_refused():
    model = vit()
    with (
        pytest.raises(CaptureError, match="got the model itself compiled"),
        capture(torch.compile(model)),
    ):
        pass
    model.compile()
    with pytest.raises(CaptureError, match="got the model itself compiled"), capture(model):
        pass


def test_a_compiled_caller_is_refused():
    layer = MultiheadAttention(8, 2)
    run = torch.compile(lambda x: layer(x), backend="eager", fullgraph=True)
    with pytest.raises(torch._dynamo.exc.TorchDynamoException), capture(layer):
        run(torch.randn(1, 3, 8))


def test_torchscript_is_refused():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch deprecates torch.jit
        model = torch.jit.script(nn.Linear(2, 2))
    with pytest.raises(CaptureError, match="TorchScript"), capture(model):
        pass


def test_no_hook_is_left_behind():
    """Neither the hooks nor torch's notes of them: torch.compile would warn of either."""
    model = torch.nn.Sequential(core.Encoder(8, 1, 2))
    with capture(model, ("entropy",)):
        model(torch.randn(1, 3, 8))
    assert not torch_module._has_any_global_hook()
