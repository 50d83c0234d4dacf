"""Defences in a trained model: calibration by hand, the same as built with the options, and out again."""

import math

import pytest
import torch
from torch import nn

from core import biases, masks, robust, scores
from core.layers import Encoder, MultiheadAttention, TorchMultiheadAttention


def identity(dim=2, **options):
    """A layer of one head whose queries, keys, values and output are its input."""
    layer = MultiheadAttention(dim, 1, projection_bias=False, output_bias=False, **options)
    for projection in (layer.q_proj, layer.k_proj, layer.v_proj, layer.out_proj):
        nn.init.eye_(projection.weight)
    return layer.double()


def outputs(model, x):
    return model(x).detach()


def test_norms_of_clean_data_by_hand():
    x = torch.tensor([[[3.0, 4.0], [0.0, 1.0], [6.0, 8.0], [9.0, 9.0]]], dtype=torch.float64)
    mask = masks.Padding(torch.tensor([3]))

    def forward(model, batch):
        return model(batch, mask=mask)

    half = robust.calibrate(identity(), [x], quantile=0.5, forward=forward)
    assert half.query_norms == {"": 5.0} and half.key_norms == {"": 5.0}
    assert robust.calibrate(identity(), [x], quantile=1.0, forward=forward).key_norms == {"": 10.0}
    assert robust.calibrate(identity(), [x, x[:, 1:2]], quantile=0.5, forward=run_unmasked).key_norms == {"": 5.0}
    assert "(model): 5, 5" in str(half)


def run_unmasked(model, batch):
    return model(batch)


def test_the_cosine_scale_is_exact_where_norms_are_equal():
    """With |q| = |k| = r everywhere, s q . k = (s r^2) cos: with s = .4, r = 3 the scale is 3.6."""
    angles = torch.linspace(0, 5, 12, dtype=torch.float64)
    x = 3 * torch.stack([angles.cos(), angles.sin()], dim=-1)[None]
    bias = biases.KeyBias(torch.randn(1, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))
    model = identity(scale=0.4, temperature=2.0)

    def forward(model, batch):
        return model(batch, bias=bias, mask=masks.Causal())

    found = robust.calibrate(model, [x, x[:, :12]], forward=forward)
    assert found.cosine_scales[""] == pytest.approx(3.6, rel=1e-9)
    before = forward(model, x)
    with robust.defend(model, cosine_scale=found.cosine_scales):
        torch.testing.assert_close(forward(model, x), before, rtol=0, atol=1e-12)
    with robust.defend(model, cosine_scale=1.0):
        assert not torch.allclose(forward(model, x), before)


def test_the_cosine_scale_is_the_least_squares_fit():
    torch.manual_seed(0)
    model = MultiheadAttention(8, 2, scale=0.7).double()
    x = torch.randn(2, 6, 8, dtype=torch.float64)
    s = robust.calibrate(model, [x]).cosine_scales[""]
    q, k = (p(x).unflatten(-1, (2, 4)).transpose(1, 2) for p in (model.q_proj, model.k_proj))
    q, k = q.detach(), k.detach()
    logits = 0.7 * q @ k.mT
    cosines = torch.nn.functional.cosine_similarity(q[:, :, :, None], k[:, :, None], dim=-1)

    def loss(scale):
        difference = logits - scale * cosines
        return float((difference - difference.mean(-1, keepdim=True)).square().sum())

    assert loss(s) < min(loss(s - 1e-3), loss(s + 1e-3))


@pytest.mark.parametrize(
    ("wrapper", "options"),
    [
        ({"key_norm_limit": 0.5}, {"key_norm_limit": 0.5}),
        ({"query_norm_limit": 0.7, "key_norm_limit": 0.5}, {"query_norm_limit": 0.7, "key_norm_limit": 0.5}),
        ({"cosine_scale": 6.0}, {"score": scores.Cosine(), "scale": 6.0}),
    ],
)
def test_a_defended_model_is_one_built_with_the_options_and_undone_it_is_the_old_one(wrapper, options):
    torch.manual_seed(0)
    model, built = Encoder(8, 2, 2).eval(), Encoder(8, 2, 2, **options).eval()
    built.load_state_dict(model.state_dict())
    x = torch.randn(3, 5, 8)
    before, text = outputs(model, x), repr(model)
    defence = robust.defend(model, **wrapper)
    assert defence.layers == ("blocks.0.attention", "blocks.1.attention")
    assert torch.equal(outputs(model, x), outputs(built, x))
    assert not torch.equal(outputs(model, x), before)
    assert repr(model) == repr(built)
    defence.undo()
    defence.undo()
    assert torch.equal(outputs(model, x), before) and repr(model) == text


def test_a_limit_at_the_largest_norm_changes_nothing_on_the_data_that_it_was_taken_from():
    torch.manual_seed(0)
    model = Encoder(8, 2, 2).double().eval()
    x = torch.randn(3, 5, 8, dtype=torch.float64)
    found = robust.calibrate(model, [x], quantile=1.0)
    with robust.defend(model, key_norm_limit=found.key_norms, query_norm_limit=found.query_norms):
        inside = outputs(model, x)
        beyond = outputs(model, 3 * x[:, :, :1] * x)
    torch.testing.assert_close(inside, outputs(model, x), rtol=0, atol=1e-12)
    assert not torch.allclose(beyond, outputs(model, 3 * x[:, :, :1] * x))


def test_defences_nest_and_a_mapping_names_its_layers():
    model = Encoder(8, 3, 2)
    first, last = "blocks.0.attention", "blocks.2.attention"
    with robust.defend(model, key_norm_limit=2.0):
        with robust.defend(model, key_norm_limit={first: 1.0}, query_norm_limit={last: 3.0}) as inner:
            assert inner.layers == (first, last)
            limits = [(b.attention.query_norm_limit, b.attention.key_norm_limit) for b in model.blocks]
            assert limits == [(None, 1.0), (None, 2.0), (3.0, 2.0)]
        assert [b.attention.key_norm_limit for b in model.blocks] == [2.0] * 3
    assert [b.attention.key_norm_limit for b in model.blocks] == [None] * 3


def test_calibration_leaves_the_model_as_it_was():
    torch.manual_seed(0)
    model = Encoder(8, 2, 2, dropout=0.5).train()
    model.blocks[0].eval()
    modes = [m.training for m in model.modules()]
    state = torch.get_rng_state()
    robust.calibrate(model, [torch.ones(1, 3, 8)])
    assert [m.training for m in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize(
    ("wrapper", "message"),
    [
        ({}, "expected one of them"),
        ({"key_norm_limit": -1.0}, "key_norm_limit: expected a finite number above 0"),
        ({"key_norm_limit": {"blocks.7": 1.0}}, "expected names of attention layers, blocks.0.attention.*got blocks.7"),
        ({"key_norm_limit": 1.0, "cosine_scale": 3.0}, "which ignore norms"),
        ({"query_norm_limit": {"blocks.0.attention": 1.0}, "cosine_scale": {"blocks.0.attention": 3.0}}, "ignore"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_changed(wrapper, message):
    model = Encoder(8, 2, 2)
    text = repr(model)
    with pytest.raises(ValueError, match=message):
        robust.defend(model, **wrapper)
    assert repr(model) == text


def test_models_without_layers_to_defend_are_refused():
    with pytest.raises(ValueError, match="got no attention layer"):
        robust.defend(nn.Linear(2, 2), key_norm_limit=1.0)
    mixed = nn.Sequential(MultiheadAttention(4, 2), TorchMultiheadAttention(4, 2))
    with pytest.raises(ValueError, match=r"got TorchMultiheadAttention at \['1'\]"):
        robust.defend(mixed, key_norm_limit=1.0)
    with pytest.raises(ValueError, match="got none"):
        robust.calibrate(nn.Linear(2, 2), [torch.ones(1, 2)])
    with pytest.raises(ValueError, match="quantile: expected above 0"):
        robust.calibrate(MultiheadAttention(4, 2), [torch.ones(1, 2, 4)], quantile=math.nan)
