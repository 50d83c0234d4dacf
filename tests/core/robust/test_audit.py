"""The audit: by hand, what it must catch and pass, every kind of layer, and that it leaves no trace."""

import copy
import dataclasses
import math

import pytest
import torch
from torch import nn

from core import biases, masks, robust, scores
from core.engine import observe
from core.layers import AttentionPooling, Encoder, MultiheadAttention, Rotary
from tests.tolerance import FUNCTION, rounding

from .test_defences import identity

LIMIT = robust.norm_limit_for(0.2, 64, scale=4**-0.5)
# A bound is a(w) = 1 / (1 + (n - 1) e^-w), da / dw = a (1 - a) <= 1/4, and w, below 10, comes from a few float32
# numbers: a limit, a scale and a temperature, or the gain and the offset of a norm over 4.
IN_FLOAT32 = rounding(4 + 4 + FUNCTION, 10 / 4)
DEFENDED = {
    "limits": {"query_norm_limit": LIMIT, "key_norm_limit": LIMIT},
    "cosine": {"score": scores.Cosine(), "scale": robust.cosine_scale_for(0.2, 64)},
}


def encoder(seed=0, dim=16, heads=4, **options):
    """A model whose queries, as trained ones do, share a direction: one key can win all of them."""
    torch.manual_seed(seed)
    model = Encoder(dim, 2, heads, **options).eval()
    for block in model.blocks:
        nn.init.normal_(block.attention.q_proj.bias, std=3.0)
    return model


def sequence(length=64, items=2, dim=16):
    return torch.randn(items, length, dim, generator=torch.Generator().manual_seed(1))


def test_one_head_by_hand():
    """Queries and keys (1, 0), three of them; a key r (1, 0) has logit r and the others 1: e^r / (e^r + 2 e)."""
    x = torch.tensor([[1.0, 0.0]], dtype=torch.float64).expand(1, 3, 2)
    report = robust.audit(identity(scale=1.0), x, levels=("key",), factors=(1.0, 2.0, 5.0))
    expected = {r: math.exp(r) / (math.exp(r) + 2 * math.e) for r in (1.0, 2.0, 5.0)}
    assert {f.factor: f.captured for f in report.findings} == pytest.approx(expected, rel=1e-12)
    assert {f.factor: f.peak for f in report.findings} == pytest.approx(expected, rel=1e-12)
    assert all(f.clean == pytest.approx(1 / 3) and f.bound is None and f.change == 0 for f in report.findings)
    assert report.excess is None and report.bound is None and not report.passed and not report.hijackable
    assert report.verdict.startswith("NOT BOUNDED")
    assert "(model), head 0, key level, 5 x the clean norm: 0.965 on average, 0.965 of one query" in report.verdict


def test_the_bound_of_a_limited_key_by_hand():
    """Key limit 2, queries of norm 1, two other keys at (1, 0): e^2 / (e^2 + 2 e) taken, e^4 / (e^4 + 2) allowed."""
    x = torch.tensor([[1.0, 0.0]], dtype=torch.float64).expand(1, 3, 2)
    report = robust.audit(identity(scale=1.0, key_norm_limit=2.0), x, levels=("key",), factors=(1.0, 100.0))
    assert report.captured("key", 100.0) == pytest.approx(math.e / (math.e + 2), rel=1e-12)
    assert report.bound == pytest.approx(math.exp(4) / (math.exp(4) + 2), rel=1e-12)
    assert all(f.assumes_queries for f in report.findings) and report.passed
    assert report.verdict.startswith("BOUNDED: no key can take more than 0.965 of the attention of a query no longer")
    limited = identity(scale=1.0, key_norm_limit=2.0, query_norm_limit=1.5)
    report = robust.audit(limited, x, levels=("key",), factors=(1.0,))
    assert report.bound == pytest.approx(math.exp(6) / (math.exp(6) + 2), rel=1e-12)
    assert not any(f.assumes_queries for f in report.findings) and "no longer" not in report.verdict


def test_a_plain_model_is_caught():
    report = robust.audit(encoder(), sequence(), steps=3)
    assert report.captured("key") > 0.99 and report.hijackable and not report.passed
    assert report.verdict.startswith("HIJACKABLE")
    taken = [report.captured("key", r) for r in (1.0, 10.0, 100.0, 1e3, 1e4)]
    assert taken[0] < 0.5 and min(taken[1:]) > 0.99  # all of it, up to rounding
    layers = {"blocks.0.attention", "blocks.1.attention"}
    for level in ("key", "input"):
        found = report.select(level)
        assert {f.layer for f in found} == layers and {f.head for f in found} == set(range(4))
        assert len(found) == 2 * 4 * 5
    assert str(report).count("\n") == 7 and str(report).endswith(report.verdict)


@pytest.mark.parametrize("defence", DEFENDED)
def test_defended_models_pass_under_a_fifth_at_64_keys(defence):
    report = robust.audit(encoder(**DEFENDED[defence]), sequence(), factors=(1.0, 100.0, 1e4), steps=4)
    assert report.passed and report.bound == pytest.approx(0.2, abs=IN_FLOAT32)
    assert report.excess < 0 and report.captured("key") < 0.2 and report.captured("input") < 0.2
    assert not any(f.assumes_queries for f in report.findings)
    assert report.verdict.startswith("BOUNDED: no key can take more than 0.200 of the attention of a query (")


@pytest.mark.parametrize("defence", DEFENDED)
def test_a_defence_put_into_the_trained_model_does_the_same(defence):
    model, options = encoder(), DEFENDED[defence]
    wrapper = {"cosine_scale": options["scale"]} if defence == "cosine" else options
    attack = {"levels": ("key",), "factors": (1e4,)}
    assert robust.audit(model, sequence(), **attack).hijackable
    with robust.defend(model, **wrapper):
        wrapped = robust.audit(model, sequence(), **attack)
    assert wrapped.passed and wrapped == robust.audit(encoder(**options), sequence(), **attack)
    assert robust.audit(model, sequence(), **attack).hijackable


def test_the_worst_case_reaches_the_bound():
    """Clean keys against the queries, the injected one along them: the bound of 8 keys is what is measured."""
    layer = identity(query_norm_limit=1.0, key_norm_limit=1.0, scale=1.5)
    nn.init.constant_(layer.k_proj.weight, 0.0)
    layer.k_proj.weight.data.diagonal().fill_(-1.0)
    x = torch.tensor([[3.0, 0.0]], dtype=torch.float64).expand(1, 8, 2)
    report = robust.audit(layer, x, levels=("key",), factors=(10.0,))
    (finding,) = report.findings
    assert finding.captured == pytest.approx(math.exp(3) / (math.exp(3) + 7), rel=1e-12)
    assert finding.captured == pytest.approx(finding.bound, rel=1e-9) and report.passed


def test_a_limit_that_does_not_hold_is_noticed(monkeypatch):
    model = encoder(**DEFENDED["limits"])
    monkeypatch.setattr("core.layers.attention.limit_norms", lambda x, limit: x)
    report = robust.audit(model, sequence(), levels=("key",))
    assert report.excess > 0.5 and not report.passed and report.verdict.startswith("VIOLATED")


def test_normalised_keys_have_a_bound_of_their_own():
    """LayerNorm over D features with gain g and offset b answers at most sqrt(D) max|g| + |b|."""
    model = encoder(qk_norm=True)
    for block in model.blocks:
        nn.init.uniform_(block.attention.k_norm.weight, 0.2, 0.5)
        nn.init.uniform_(block.attention.k_norm.bias, -0.1, 0.1)
        nn.init.constant_(block.attention.q_norm.weight, 0.5)
    report = robust.audit(model, sequence(), levels=("key",))
    bounds = []
    for block in model.blocks:
        gain, offset = (p.detach() for p in block.attention.k_norm.parameters())
        c = 2 * float(gain.abs().max()) + float(offset.norm())
        bounds.append(float(robust.capture_bound(64, 2 * 0.5 * (2 * 0.5) * c)))
    assert report.bound == pytest.approx(max(bounds), abs=IN_FLOAT32) and report.passed
    assert report.captured("key", 1.0) == pytest.approx(report.captured("key", 1e4), abs=1e-3)  # LayerNorm: no norm


@pytest.mark.parametrize(
    "options",
    [
        {"kv_heads": 2},
        {"rotary": Rotary(4)},
        {"qk_norm": False, "norm": "post"},
        {"checkpoint": True},
        {"score": scores.Dot(), "scale": 1.0, "temperature": 0.5},
    ],
    ids=["grouped", "rotary", "post-norm", "checkpoint", "scaled"],
)
def test_every_kind_of_layer_is_caught_and_passes_with_limits(options):
    model = encoder(**options)
    assert robust.audit(model, sequence(20), factors=(1.0, 1e4), steps=2).captured("key") > 0.99
    report = robust.audit(encoder(**options, **DEFENDED["limits"]), sequence(20), factors=(1.0, 1e4), steps=2)
    width = 2 * options.get("scale", 0.5) * LIMIT**2 / options.get("temperature", 1.0)
    assert report.passed and report.bound == pytest.approx(float(robust.capture_bound(20, width)), abs=IN_FLOAT32)


def test_cross_attention_and_pooling():
    torch.manual_seed(0)
    model = encoder(dim=16, cross=True, context_dim=6)
    report = robust.audit(model, (sequence(5), torch.randn(2, 9, 6)), factors=(1.0, 1e4), steps=1)
    names = {f.layer for f in report.findings}
    assert names == {f"blocks.{n}.{kind}" for n in (0, 1) for kind in ("attention", "cross_attention")}
    pool = AttentionPooling(16, 2, queries=1)
    assert robust.audit(pool, sequence(9), levels=("key",)).captured() > 0.99
    x = sequence(9)
    x[0, 4:] = torch.nan
    padded = robust.audit(pool, x, levels=("key",), forward=lambda m, b: m(b, mask=masks.Padding(torch.tensor([4, 9]))))
    assert padded.captured() > 0.99 and all(math.isfinite(f.change) for f in padded.findings)


def test_masks_and_biases_enter_bound_and_measurement():
    """Causal: query i sees i + 1 keys; the first sees one, which takes all: its bound is 1. A bias widens the bound."""
    torch.manual_seed(0)
    layer = MultiheadAttention(8, 2, query_norm_limit=1.0, key_norm_limit=1.0, scale=1.0)
    x, slopes = torch.randn(2, 6, 8), torch.tensor([0.0, 0.1])
    mask = (
        masks.Causal() & ~masks.Dense(torch.eye(6, dtype=torch.bool)[None, None]) & masks.Padding(torch.tensor([6, 3]))
    )
    report = robust.audit(
        layer, x, levels=("key",), forward=lambda m, b: m(b, mask=mask, bias=biases.Alibi(slopes)), factors=(1e3,)
    )
    plain, sloped = report.findings
    assert (plain.bound, sloped.bound) == (1.0, 1.0)  # query 1 sees key 0 alone
    assert plain.peak == pytest.approx(1.0, abs=rounding(6 + FUNCTION)) and report.hijackable
    lone = robust.audit(layer, x, levels=("key",), forward=lambda m, b: m(b, bias=biases.Alibi(slopes)), factors=(1e3,))
    found = [f.bound for f in lone.findings]
    expected = [float(robust.capture_bound(6, w)) for w in (2.0, 2.0 + 0.5)]
    assert found == pytest.approx(expected, abs=IN_FLOAT32) and lone.passed


def test_the_weights_are_those_of_attend():
    torch.manual_seed(0)
    layer = MultiheadAttention(8, 4, kv_heads=2, score=scores.Gaussian(), scale=0.3, temperature=0.7)
    x = torch.randn(3, 6, 8)
    mask, bias = masks.Window(3, 2) & masks.Padding(torch.tensor([6, 4, 2])), biases.Alibi(torch.rand(4))
    report = robust.audit(
        layer, x, levels=("key",), forward=lambda m, b: m(b, mask=mask, bias=bias), factors=(1.0,), key=1
    )
    weights = layer(x, mask=mask, bias=bias, need=("weights",)).weights[..., 1].detach()
    seeing = torch.tensor([[1, 1, 1, 1, 1, 0], [1, 1, 1, 1, 0, 0], [1, 1, 0, 0, 0, 0]], dtype=torch.bool)
    expected = weights.transpose(1, 2)[seeing].mean(0)
    assert [f.clean for f in report.findings] == pytest.approx(
        expected.tolist(), abs=rounding(8 + 2 + 6 + 2 * FUNCTION)
    )


def test_nothing_of_the_model_is_touched():
    model = encoder(dropout=0.3, attention_dropout=0.2, drop_path=0.3, checkpoint=True).train()
    model.blocks[1].eval()
    model(sequence(7)).sum().backward()
    before = copy.deepcopy(model.state_dict())
    gradients = [p.grad.clone() for p in model.parameters()]
    modes = [m.training for m in model.modules()]
    hooks = [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()]
    x = sequence(7)
    kept, random, text = x.clone(), torch.get_rng_state(), repr(model)
    first = robust.audit(model, x, factors=(10.0,), steps=2)
    assert robust.audit(model, x, factors=(10.0,), steps=2) == first  # nothing random
    assert torch.equal(torch.get_rng_state(), random) and torch.equal(x, kept) and repr(model) == text
    assert all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values(), strict=True))
    assert all(torch.equal(a, p.grad) for a, p in zip(gradients, model.parameters(), strict=True))
    assert [m.training for m in model.modules()] == modes
    assert [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()] == hooks
    assert all(block.checkpoint for block in model.blocks) and not observe.observers


def test_nothing_is_left_behind_after_an_error():
    model = encoder().train()
    with pytest.raises(RuntimeError, match="normalized_shape"):
        robust.audit(model, torch.randn(2, 5, 3))
    assert not observe.observers and model.training
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_findings_are_plain_and_selectable():
    report = robust.audit(encoder(), sequence(6), levels=("key",), factors=(1.0, 10.0))
    assert len(report.select(layer="blocks.0.attention", factor=10.0)) == 4
    assert dataclasses.asdict(report)["findings"][0]["level"] == "key"
    with pytest.raises(dataclasses.FrozenInstanceError):
        report.excess = 0.0
    nothing = robust.audit(nn.Linear(3, 3), torch.ones(1, 2, 3))
    assert nothing.findings == () and not nothing.passed and nothing.verdict.startswith("nothing audited")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"levels": ("keys",)}, "levels: expected 'key', 'input' or both"),
        ({"factors": ()}, "factors: expected finite numbers above 0"),
        ({"factors": (0.0,)}, "factors: expected finite numbers above 0"),
        ({"steps": 0}, "steps: expected at least 1"),
        ({"key": 6}, "key: expected a position among the 6 keys"),
    ],
)
def test_arguments_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        robust.audit(encoder(), sequence(6), **options)


def test_inputs_without_a_default_region_are_refused():
    class Ids(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.layer = nn.Embedding(5, 4), MultiheadAttention(4, 1)

        def forward(self, ids):
            return self.layer(self.table(ids))

    ids = torch.zeros(1, 3, dtype=torch.long)
    assert robust.audit(Ids(), ids, levels=("key",)).findings
    with pytest.raises(ValueError, match="expected a floating-point tensor to attack"):
        robust.audit(Ids(), ids)
    with pytest.raises(ValueError, match=r"region: expected one where the input is not \(B, L, features\)"):
        robust.audit(nn.Flatten(2), torch.zeros(1, 2, 2, 2))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_neither_overflows_nor_slips_past_its_bound(dtype):
    x = sequence(20).to(dtype)
    plain = robust.audit(encoder().to(dtype), x, levels=("key",), factors=(1e4, 1e8))
    assert plain.captured() > 0.99 and all(math.isfinite(f.captured) for f in plain.findings)
    report = robust.audit(encoder(**DEFENDED["limits"]).to(dtype), x, levels=("key",), factors=(1e4, 1e8))
    width = robust.width_for(0.2, 64) * (1 + 2 * torch.finfo(dtype).eps) ** 2  # both norms may be rounded up
    assert report.passed and report.bound == pytest.approx(float(robust.capture_bound(20, width)), abs=IN_FLOAT32)


def test_a_weight_that_is_not_a_number_is_no_pass(monkeypatch):
    model = encoder(**DEFENDED["limits"])
    monkeypatch.setattr("core.layers.attention.limit_norms", lambda x, limit: x * torch.nan)
    report = robust.audit(model, sequence(5), levels=("key",), factors=(1.0,))
    assert not report.passed and report.hijackable


def test_scales_below_zero_turn_the_direction():
    assert robust.audit(encoder(scale=-0.5), sequence(), levels=("key",), factors=(1e4,)).captured() > 0.99
