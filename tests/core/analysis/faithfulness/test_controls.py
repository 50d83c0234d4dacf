"""Tests of the weights, on models in which what they must find is known."""

import pytest
import torch
from scipy.spatial.distance import jensenshannon
from torch import nn

import core
from core import masks
from core.analysis.faithfulness.controls import (
    adversarial_attention,
    jensen_shannon,
    permutation_test,
    seed_control,
    uniform_control,
)
from core.analysis.faithfulness.intervention import rewritten
from core.analysis.faithfulness.planted import PlantedModel, call_planted, planted_items
from core.analysis.faithfulness.subject import Subject
from core.analysis.faithfulness.units import Positions


def generator():
    return torch.Generator().manual_seed(0)


class Reader(nn.Module):
    """log p = log sum_j w_j onehot_j(c_j): the output's probabilities are attention mass by the token's class c_j."""

    def __init__(self, classes, logits):
        super().__init__()
        self.classes = torch.tensor(classes)
        self.pool = core.AttentionPooling(1 + max(classes) + 1).double()
        self.logits = torch.tensor(logits).double()
        attention = self.pool.attention
        with torch.no_grad():
            for parameter in self.pool.parameters():
                parameter.zero_()
            attention.q_proj.bias[0] = attention.dim**0.5
            attention.k_proj.weight[0, 0] = 1.0
            attention.v_proj.weight[1:, 1:] = torch.eye(attention.dim - 1)
            attention.out_proj.weight.copy_(torch.eye(attention.dim))

    def forward(self, x, keep=None):
        return self.pool(x, mask=None if keep is None else masks.Padding(keep))[:, 1:].clamp(min=1e-30).log()


def ask(classes, logits, **options):
    model = Reader(classes, logits)
    x = torch.cat([model.logits[:, None], nn.functional.one_hot(model.classes).double()], 1)[None]
    return Subject(model, x, Positions(**options), call=call_planted)


def test_jensen_shannon_is_scipys_and_has_a_gradient_at_zero():
    p, q = torch.rand(5, 7, generator=generator()).double(), torch.rand(5, 7, generator=generator()).double().flip(0)
    p[0, :3] = q[1, 4:] = 0
    p, q = p / p.sum(1, keepdim=True), q / q.sum(1, keepdim=True)
    expected = torch.tensor([jensenshannon(a, b) ** 2 for a, b in zip(p.numpy(), q.numpy(), strict=True)])
    torch.testing.assert_close(jensen_shannon(p, q), expected, rtol=0, atol=1e-12)
    ends = torch.eye(2).double()
    assert jensen_shannon(ends[0], ends[1]).item() == pytest.approx(torch.log(torch.tensor(2.0)).item())
    p.requires_grad_()
    jensen_shannon(p, q).sum().backward()
    assert p.grad.isfinite().all()


def test_the_bound_of_the_verdict_holds():
    """JS >= TV^2 / 2."""
    p, q = torch.rand(2, 2000, 4, generator=generator()).double().pow(4)
    p, q = p / p.sum(1, keepdim=True), q / q.sum(1, keepdim=True)
    variation = (p - q).abs().sum(1) / 2
    assert (jensen_shannon(p, q) >= variation.square() / 2 - 1e-12).all() and variation.max() > 0.9


def test_uniform_weights_answer_the_share_of_each_class():
    subject = ask([0, 1, 1, 1], [3.0, 0.0, -1.0, 0.5])
    change, output = uniform_control(subject)
    torch.testing.assert_close(output.exp(), torch.tensor([[0.25, 0.75]]).double(), rtol=0, atol=1e-12)
    own = torch.tensor([3.0, 0.0, -1.0, 0.5]).double().softmax(0)[0]
    assert change.item() == pytest.approx(abs(own.item() - 0.25))


def test_permuting_two_weights():
    """Weights p and 1 - p of two classes: a swap changes the output by 2 p - 1, the other permutation by 0."""
    subject = ask([0, 1], [1.0, 0.0])
    swap = 2 * torch.tensor([1.0, 0.0]).double().softmax(0)[0].item() - 1
    draws = [torch.Generator().manual_seed(seed) for seed in range(12)]
    changes = {round(permutation_test(subject, permutations=1, generator=one).item(), 9) for one in draws}
    assert sorted(changes) == pytest.approx([0, swap], abs=1e-8)
    several = permutation_test(subject, permutations=101, generator=generator()).item()
    assert min(abs(several), abs(several - swap)) < 1e-8  # a median: one of both


def test_permutation_within_a_class_changes_nothing_and_padding_gets_no_weight():
    subject = ask([0, 0, 0, 1], [1.0, 2.0, 0.0, 9.0], valid=torch.tensor([[True, True, True, False]]))
    assert permutation_test(subject, permutations=10, generator=generator()).item() == pytest.approx(0, abs=1e-12)
    change, output = uniform_control(subject)
    assert change.item() == pytest.approx(0, abs=1e-12) and output.exp()[0, 0].item() == pytest.approx(1)


def test_the_adversary_finds_the_freedom_there_is_and_no_more():
    """Tokens of one class are interchangeable; with a class each, the output fixes every weight.

    Of two tokens of one class, the farthest is to give all of their weight to the one that had less.
    """
    logits = [2.0, 0.0, -0.5, 0.5]
    free = adversarial_attention(ask([0, 0, 1, 1], logits), epsilon=0.01, generator=generator(), steps=60)
    fixed = adversarial_attention(ask([0, 1, 2, 3], logits), epsilon=0.01, generator=generator(), steps=60)
    w = torch.tensor(logits).double().softmax(0)
    swapped = torch.stack([0 * w[0], w[:2].sum(), w[2:].sum(), 0 * w[0]])
    assert free.divergence.item() == pytest.approx(jensen_shannon(swapped, w).item(), abs=0.02)
    assert 0 < fixed.divergence.item() <= 0.01 * 0.6932  # JS <= TV ln 2, and TV <= epsilon
    for found in (free, fixed):
        assert found.variation.item() <= 0.01
        assert found.attention.sum().item() == pytest.approx(1)


def test_what_the_adversary_reports_is_what_its_weights_do():
    subject = ask([0, 0, 1, 1], [2.0, 0.0, -0.5, 0.5])
    found = adversarial_attention(subject, epsilon=0.01, generator=generator(), steps=60)
    with rewritten(subject.layers[subject.layer], lambda old, allowed: found.attention[:, None, None]):
        output = subject.intact()
    assert subject.variation(output).item() == pytest.approx(found.variation.item(), abs=1e-9)
    assert jensen_shannon(found.attention, subject.read(subject.weights)).item() == pytest.approx(
        found.divergence.item(), abs=1e-9
    )


def test_the_adversary_gives_nothing_to_padding():
    subject = ask([0, 0, 1, 1], [2.0, 0.0, -0.5, 0.5], valid=torch.tensor([[True, True, True, False]]))
    found = adversarial_attention(subject, epsilon=0.01, generator=generator(), steps=30)
    assert found.attention[0, 3] == 0 and found.divergence.item() > 0.1


class ReadsOneRow(nn.Module):
    """Self-attention whose first row alone reaches the output."""

    def __init__(self):
        super().__init__()
        self.attention = core.MultiheadAttention(6, 2)
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        return self.head(self.attention(x)[:, 0])


def test_only_the_row_that_is_read_is_changed():
    torch.manual_seed(0)
    model, x = ReadsOneRow(), torch.randn(4, 5, 6) * 3
    first = Subject(model, x, Positions(), row=0)
    other = Subject(model, x, Positions(), row=1)
    assert uniform_control(first)[0].min() > 1e-3 and uniform_control(other)[0].max() < 1e-6
    everywhere = Subject(model, x, Positions(), row="mean")
    torch.testing.assert_close(uniform_control(everywhere)[0], uniform_control(first)[0])


def test_other_seeds():
    generator_ = generator()
    model = PlantedModel(True)
    x = planted_items(model, 6, generator_)
    subject = Subject(model, x, Positions("mask"), call=call_planted)
    same, flatter = PlantedModel(True), PlantedModel(True)
    with torch.no_grad():
        flatter.pool.attention.q_proj.bias.zero_()  # attends to all alike
    assert seed_control(subject, [same]).max() == 0
    weights = subject.read(subject.weights)
    expected = jensen_shannon(weights, torch.full_like(weights, 1 / 8)) / 2
    torch.testing.assert_close(seed_control(subject, [same, flatter]), expected)
    with pytest.raises(ValueError, match=r"layer: .*one of model.pool.attention, got 'pool.attention'"):
        seed_control(subject, [Wrapped(same)])


class Wrapped(nn.Module):
    """The same model with other names."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x, keep=None):
        return self.model(x, keep)


class Checkpointed(nn.Module):
    def __init__(self, checkpoint):
        super().__init__()
        self.encoder = core.Encoder(6, 2, 2, checkpoint=checkpoint)
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        return self.head(self.encoder(x).mean(1))


def test_activation_checkpointing_changes_nothing():
    found = []
    for checkpoint in (False, True):
        torch.manual_seed(0)
        model, x = Checkpointed(checkpoint).double(), torch.randn(3, 4, 6).double()
        subject = Subject(model, x, Positions(), layer="encoder.blocks.0.attention")
        found.append(adversarial_attention(subject, epsilon=0.05, generator=generator(), steps=8, restarts=1))
    assert found[0].divergence.max() > 0
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-10)
