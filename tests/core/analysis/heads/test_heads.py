"""Heads: entropy, specialisation, divergence against scipy, effective number; importance and pruning."""

import math

import pytest
import torch
from scipy.spatial.distance import jensenshannon
from timm.layers import Attention
from torch import nn
from torch.nn import functional as F

import core
from core import biases, masks
from core.analysis import (
    CaptureError,
    Head,
    ablated,
    ablation_importance,
    all_heads,
    effective_heads,
    gradient_importance,
    head_profile,
    head_redundancy,
    pruning_curve,
)
from core.analysis.capture import capture
from core.analysis.heads import heads as heads_module
from core.layers import MultiheadAttention

from ..models import images, timm_vit, tokens, torch_encoder, vit


def captured(model, *calls, quantities=("inputs",), **options):
    with torch.no_grad(), capture(model, quantities, **options) as seen:
        for call in calls:
            model(call)
    return seen


class Pointing(nn.Module):
    """Two heads over three tokens: one uniform, one on the first key alone."""

    def forward(self, x):
        logits = torch.zeros(1, 2, 3, 3)
        logits[:, 1, :, 1:] = -torch.inf
        return core.attend(*[x.new_zeros(x.shape[0], 2, 3, 1)] * 3, bias=biases.Dense(logits))


def test_profile_and_redundancy_by_hand():
    """Mean weights (2/3, 1/6, 1/6): KL of the point is ln 3/2, of the uniform one (ln 1/2 + 2 ln 2) / 3."""
    seen = captured(Pointing(), torch.zeros(4, 1))
    profile = head_profile(seen)
    expected = torch.tensor([math.log(3), 0.0], dtype=torch.float64)
    torch.testing.assert_close(profile.entropy, expected, rtol=0, atol=1e-6)
    assert float(profile.relative_entropy[0]) == pytest.approx(1.0, abs=1e-6)
    assert math.isnan(profile.relative_entropy[1])  # it may see one key only
    kl = torch.tensor([math.log(2) / 3, math.log(1.5)], dtype=torch.float64)
    torch.testing.assert_close(profile.specialisation, kl, rtol=0, atol=1e-6)
    assert profile.rows == 12 and profile.heads == (Head("", 0), Head("", 1))
    redundancy = head_redundancy(seen)
    js = jensenshannon([1 / 3] * 3, [1, 0, 0]) ** 2
    assert float(redundancy.divergence[0, 1]) == pytest.approx(js, abs=1e-6)
    a, b = (1 + (1 - js / math.log(2))) / 2, js / math.log(2) / 2  # eigenvalues of K / 2
    assert redundancy.effective == pytest.approx(math.exp(-a * math.log(a) - b * math.log(b)), abs=1e-6)
    assert "model:0" in str(profile) and "effectively 1." in str(redundancy)


@pytest.mark.parametrize("quantities", [("inputs",), ("weights",)])
def test_divergence_of_all_pairs_against_scipy(quantities, monkeypatch):
    monkeypatch.setattr(heads_module, "CELLS", 4000)  # several blocks of rows
    model = vit().double()
    x, y = images().double(), images(3).double().flip(-1)
    found = head_redundancy(captured(model, x, y, quantities=quantities))
    held = captured(model, torch.cat([x, y]), quantities=("weights",))
    weights = torch.cat([record.weights for record in held], dim=1).movedim(1, 0).flatten(1, 2).numpy()
    for i in range(8):
        for j in range(8):
            expected = (jensenshannon(weights[i], weights[j], axis=-1) ** 2).mean()
            assert float(found.divergence[i, j]) == pytest.approx(expected, abs=1e-12)
    profile = head_profile(captured(model, x, y, quantities=quantities))
    entropy = torch.special.entr(torch.from_numpy(weights)).sum(-1).mean(1)
    torch.testing.assert_close(profile.entropy, entropy, rtol=0, atol=1e-12)
    torch.testing.assert_close(profile.relative_entropy, entropy / math.log(17), rtol=0, atol=1e-12)
    # the mean over a layer is the generalised Jensen-Shannon divergence of its heads
    first = held.records[0].weights
    general = torch.special.entr(first.mean(1)).sum(-1) - torch.special.entr(first).sum(-1).mean(1)
    assert float(profile.specialisation[:4].mean()) == pytest.approx(float(general.mean()), abs=1e-12)


def test_padded_and_masked_rows_do_not_count():
    layer = MultiheadAttention(8, 2)
    nn.init.zeros_(layer.k_proj.weight)
    mask = masks.Causal() & masks.Padding(torch.tensor([4, 2]))
    with capture(layer, ("inputs",)) as seen:
        layer(torch.randn(2, 4, 8), mask=mask)
    profile = head_profile(seen)
    mean = (math.log(2) + math.log(3) + math.log(4) + math.log(2)) / 6
    torch.testing.assert_close(profile.entropy, torch.tensor([mean] * 2, dtype=torch.float64), rtol=0, atol=1e-6)
    torch.testing.assert_close(profile.relative_entropy, torch.ones(2, dtype=torch.float64), rtol=0, atol=1e-6)
    assert profile.rows == 6
    assert float(head_redundancy(seen).divergence.max()) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(("groups", "size"), [(1, 4), (4, 1), (3, 2)])
def test_effective_heads_counts_groups(groups, size):
    K = torch.block_diag(*[torch.ones(size, size)] * groups)
    assert effective_heads(K) == pytest.approx(groups)


def test_effective_heads_refuses_what_is_no_similarity():
    for K, message in (
        (torch.ones(2, 3), r"expected \(n, n\)"),
        (torch.eye(2) * 2, "ones on the diagonal"),
        (torch.tensor([[1.0, 2.0], [2.0, 1.0]]), "positive semidefinite"),
    ):
        with pytest.raises(ValueError, match=message):
            effective_heads(K)


def test_what_cannot_be_compared_is_said():
    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = MultiheadAttention(8, 2), MultiheadAttention(8, 2)

        def forward(self, x):
            return self.b(self.a(x)[:, :2], x)

    with pytest.raises(ValueError, match=r"as many queries and keys.*b \(2, 4\)"):
        head_redundancy(captured(Pair(), torch.randn(1, 4, 8)))
    with pytest.raises(ValueError, match=r"a capture of 'inputs' or of the 'weights'.*without both"):
        head_profile(captured(Pair(), torch.randn(1, 4, 8), quantities=("entropy",)))


def losses(model, batch):
    return F.cross_entropy(model(batch[0]), batch[1], reduction="none")


def zero_columns(model, layer, head, features, name="out_proj"):
    weight = getattr(model.get_submodule(layer), name).weight
    with torch.no_grad():
        weight[:, head * features : (head + 1) * features] = 0


class Classifier(nn.Module):
    """torch's encoder with a mean over the tokens."""

    def __init__(self):
        super().__init__()
        self.encoder = torch_encoder()

    def forward(self, x):
        return self.encoder(x).mean(1)[:, :3]


MODELS = {
    "core": (vit, images, "out_proj"),
    "timm": (timm_vit, images, "proj"),
    "torch": (Classifier, tokens, "out_proj"),
}


@pytest.mark.parametrize("kind", MODELS)
def test_ablation_is_a_model_without_the_columns(kind):
    make, data, name = MODELS[kind]
    model, x = make().eval().double(), data().double()
    head = all_heads(model)[6]
    assert head.number == 2 and len(all_heads(model)) == 8
    with torch.no_grad():
        whole = model(x)
        with ablated(model, [head]):
            without = model(x)
        assert torch.equal(model(x), whole)
        zero_columns(model, head.layer, 2, 4, name)
        torch.testing.assert_close(without, model(x), rtol=0, atol=1e-12)
    assert not torch.allclose(without, whole, atol=1e-3)


@pytest.mark.parametrize("kind", MODELS)
def test_importance_by_ablation_and_by_gradient(kind):
    """Ablation against zeroed columns; the gradient against a finite difference of the head's scale."""
    make, data, name = MODELS[kind]
    model, x = make().eval().double(), data(3).double()
    y = torch.tensor([0, 1, 2])
    ablation = ablation_importance(model, losses, [(x[:2], y[:2]), (x[2:], y[2:])])
    gradient = gradient_importance(model, losses, [(x, y)])
    assert all(parameter.grad is None for parameter in model.parameters())
    assert ablation.items == gradient.items == 3
    for place in (1, 7):
        head = ablation.heads[place]
        weight = getattr(model.get_submodule(head.layer), name).weight
        columns = slice(head.number * 4, head.number * 4 + 4)
        kept = weight.detach().clone()

        def at(scale, weight=weight, kept=kept, columns=columns):
            with torch.no_grad():
                weight.copy_(kept)
                weight[:, columns] *= scale
                value = losses(model, (x, y))
                weight.copy_(kept)
            return value

        assert float(ablation.value[place]) == pytest.approx(float((at(0.0) - at(1.0)).mean()), abs=1e-9)
        slope = (at(1 + 1e-4) - at(1 - 1e-4)) / 2e-4
        assert float(gradient.value[place]) == pytest.approx(float(slope.abs().mean()), rel=1e-4, abs=1e-7)
    assert "by ablation, 3 items" in str(ablation) and "standard error" in str(gradient)


def test_pruning_curve_ends_without_heads_and_follows_the_order():
    model, x = vit().eval(), images(4)
    heads = all_heads(model)
    called = []

    def metric(m):
        called.append(float(m(x).sum()))
        return called[-1]

    curve = pruning_curve(model, metric, heads[::-1], removed=(0, 1, 8), seeds=(3, 4))
    with torch.no_grad():
        assert float(curve.ordered[0]) == pytest.approx(float(model(x).sum()), abs=1e-5)
        with ablated(model, heads[-1:]):
            assert float(curve.ordered[1]) == pytest.approx(float(model(x).sum()), abs=1e-5)
        with ablated(model, heads):
            assert float(curve.ordered[2]) == pytest.approx(float(model(x).sum()), abs=1e-5)
    assert curve.random.shape == (2, 3)
    torch.testing.assert_close(curve.random[:, 0], curve.ordered[:1].expand(2))
    torch.testing.assert_close(curve.random[:, 2], curve.ordered[2:].expand(2))
    again = pruning_curve(model, metric, heads, removed=(1,), seeds=(3, 4))
    torch.testing.assert_close(again.random[:, 0], curve.random[:, 1])
    assert "8 of 8" in str(curve)


def test_refusals_of_importance():
    model, x = vit().eval(), images()
    with pytest.raises(CaptureError, match=r"heads: .*'blocks.1.attention' \(4\), got 4 in 'blocks.0.attention'"):
        with ablated(model, [Head("blocks.0.attention", 4)]):
            pass
    with pytest.raises(CaptureError, match="model: expected attention whose heads"):
        all_heads(nn.Linear(2, 2))
    with pytest.raises(ValueError, match=r"the loss of each item, \(B,\), got \(\)"):
        ablation_importance(model, lambda m, b: m(b).mean(), [x])
    with pytest.raises(ValueError, match="batches: expected at least one"):
        ablation_importance(model, losses, [])
    with pytest.raises(ValueError, match="order: expected the 8 heads"):
        pruning_curve(model, lambda m: 0.0, all_heads(model)[:3])
    with pytest.raises(ValueError, match="every attention module to run"):
        gradient_importance(model, lambda m, b: m.blocks[0](b)[:, 0, 0], [torch.randn(2, 3, 16)])


def test_scaled_norms_of_timm_are_ablated_before_the_norm():
    layer = Attention(8, 2, scale_norm=True, norm_layer=nn.LayerNorm).eval()
    x = torch.randn(1, 3, 8)
    seen = []
    layer.norm.register_forward_hook(lambda m, args, out: seen.append(args[0]))
    with torch.no_grad(), ablated(layer, [Head("", 1)]):
        layer(x)
    assert seen[0][..., :4].any() and not seen[0][..., 4:].any()
