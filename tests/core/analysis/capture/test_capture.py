"""capture: what is recorded, by hand and as attend answers it, of which layers, heads and rows, and its memory."""

import math

import pytest
import torch
from torch import nn

import core
from core import biases, masks, scores
from core.analysis import CaptureError
from core.analysis.capture import capture, recording
from core.analysis.capture.linear import linear_statistic
from core.layers import Encoder, MultiheadAttention

from ..models import Direct, images, vit


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
    original = biases.Alibi.block
    monkeypatch.setattr(biases.Alibi, "block", lambda self, part: asked.append(part.n_rows) or original(self, part))
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
