"""Units, attributions and curves on models whose answers are known by hand."""

import itertools

import pytest
import torch
from torch import nn

import core
from core import masks
from core.analysis.faithfulness.attributions import METHODS, REFERENCE, attribute, rollout
from core.analysis.faithfulness.perturbation import deletion_insertion, random_order
from core.analysis.faithfulness.subject import Subject
from core.analysis.faithfulness.units import Patches, Positions


class Additive(nn.Module):
    """y = sum_j c_j x_j1^power; its attention layer runs and is thrown away."""

    def __init__(self, coefficients, power=1):
        super().__init__()
        self.coefficients, self.power = torch.tensor(coefficients).double(), power
        self.pool = core.AttentionPooling(2).double()

    def forward(self, x):
        return (self.coefficients * x[..., 0] ** self.power).sum(1) + 0 * self.pool(x).sum(1)


def additive(coefficients, power=1, items=3, baseline="zero"):
    torch.manual_seed(0)
    x = torch.rand(items, len(coefficients), 2).double() + 0.5
    model = Additive(coefficients, power)
    return Subject(model, x, Positions(baseline), target=lambda y: y, distribution=one_of_two)


def one_of_two(y):
    return torch.stack([y.sigmoid(), 1 - y.sigmoid()], 1)


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("baseline", ["zero", "mean", torch.full((1, 1, 2), 0.25, dtype=torch.float64)])
def test_attributions_of_an_additive_model(power, baseline):
    """Every unit's effect is c (x^p - b^p), which integrated gradients find; gradient x input: p c x^(p-1) (x - b)."""
    coefficients = [1.0, -2.0, 0.5, 3.0]
    subject = additive(coefficients, power, baseline=baseline)
    x, c = subject.x[..., 0], torch.tensor(coefficients).double()
    b = (
        {"zero": torch.zeros(()), "mean": x.mean()}.get(baseline, torch.tensor(0.25))
        if isinstance(baseline, str)
        else 0.25
    )
    values, delta = attribute(subject)
    effect = c * (x**power - b**power)
    torch.testing.assert_close(values[REFERENCE], effect, rtol=0, atol=1e-12)
    torch.testing.assert_close(values["integrated gradients"], effect, rtol=0, atol=1e-6)
    torch.testing.assert_close(values["gradient x input"], power * c * x ** (power - 1) * (x - b), rtol=0, atol=1e-12)
    weights = subject.model.pool(subject.x, need=("weights",)).weights
    torch.testing.assert_close(values["attention"], weights[:, 0, 0], rtol=0, atol=1e-12)
    assert delta.max() < 1e-6 and set(values) == {*METHODS, REFERENCE}


def test_curves_of_an_additive_model():
    """Deletion by falling effect: what is left is the sum without the first; insertion: their partial sums."""
    subject = additive([1.0, 4.0, 2.0], items=1)
    x = subject.x[0, :, 0].tolist()
    effects = [x[0], 4 * x[1], 2 * x[2]]
    order = sorted(range(3), key=lambda u: -effects[u])
    inserted = [0.0, effects[order[0]], effects[order[0]] + effects[order[1]], sum(effects)]
    curves = deletion_insertion(subject, torch.tensor([effects]).double())
    assert curves.fractions.tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert curves.insertion[0].tolist() == pytest.approx(inserted, abs=1e-12)
    assert curves.deletion[0].tolist() == pytest.approx([sum(effects) - y for y in inserted], abs=1e-12)
    area = sum((a + b) / 2 for a, b in itertools.pairwise(inserted)) / 3
    assert curves.insertion_auc.item() == pytest.approx(area)
    assert curves.deletion_auc.item() == pytest.approx(sum(effects) - area)
    coarse = deletion_insertion(subject, torch.tensor([effects]).double(), steps=1)
    assert coarse.deletion[0].tolist() == pytest.approx([sum(effects), 0.0], abs=1e-12)


def test_random_orders_average_to_the_straight_line():
    subject = additive([1.0, 4.0, 2.0, 8.0], items=2)
    curves = random_order(subject, orders=80, generator=torch.Generator().manual_seed(0))
    whole = subject.intact()
    line = whole[:, None] * curves.fractions
    assert (curves.insertion - line).abs().max() < 0.15 * whole.max()
    torch.testing.assert_close(curves.deletion + curves.insertion, whole[:, None].expand_as(line), rtol=0, atol=1e-9)
    with pytest.raises(ValueError, match="orders"):
        random_order(subject, orders=0, generator=torch.Generator())


class Stack(nn.Module):
    """Two blocks and a pooling of the caller's choice."""

    def __init__(self, pooling):
        super().__init__()
        self.encoder = core.Encoder(8, 2, 2)
        self.pooling = pooling
        self.head = nn.Linear(8, 3)

    def forward(self, x, mask=None):
        return self.head(self.pooling(self.encoder(x, mask=mask), mask=mask))


@pytest.mark.parametrize("row", [0, 2, "mean"])
def test_rollout_is_the_product_of_the_layers(row):
    torch.manual_seed(0)
    model, x = Stack(core.MeanPooling()).double(), torch.randn(2, 4, 8).double()
    subject = Subject(model, x, Positions(), row=row)
    first, second = (answer.weights.mean(1) for answer in model.encoder(x, need=("weights",)).layers)
    eye = torch.eye(4).double()
    product = 0.25 * (second + eye) @ (first + eye)
    expected = product.mean(1) if row == "mean" else product[:, row]
    torch.testing.assert_close(rollout(subject), expected, rtol=0, atol=1e-12)


def test_rollout_below_a_pooling_layer():
    torch.manual_seed(0)
    model, x = Stack(core.AttentionPooling(8, 2)).double(), torch.randn(2, 4, 8).double()
    subject = Subject(model, x, Positions())
    assert (subject.layer, subject.row) == ("pooling.attention", 0)
    answers = model.encoder(x, need=("weights",))
    first, second = (answer.weights.mean(1) for answer in answers.layers)
    eye = torch.eye(4).double()
    own = model.pooling(answers.out, need=("weights",)).weights.mean(1)
    expected = (own @ (0.25 * (second + eye) @ (first + eye)))[:, 0]
    torch.testing.assert_close(rollout(subject), expected, rtol=0, atol=1e-12)


def masked(model, x, keep):
    return model(x, mask=None if keep is None else masks.Padding(keep))


def test_masking_a_unit_equals_leaving_it_out():
    """Without positions, a masked token is the same as a shorter sequence."""
    torch.manual_seed(0)
    model, x = Stack(core.AttentionPooling(8, 2)).double(), torch.randn(3, 4, 8).double()
    subject = Subject(model, x, Positions("mask"), call=masked)
    effects = attribute(subject, steps=2).values[REFERENCE]
    intact = subject.score(model(x))
    for unit in range(4):
        shorter = x[:, [u for u in range(4) if u != unit]]
        torch.testing.assert_close(effects[:, unit], intact - subject.score(model(shorter)), rtol=0, atol=1e-12)


def test_padding_changes_nothing():
    torch.manual_seed(0)
    model, x = Stack(core.AttentionPooling(8, 2)).double(), torch.randn(3, 4, 8).double()
    valid = torch.ones(3, 6, dtype=torch.bool)
    valid[:, 4:] = False
    longer = torch.cat([x, torch.full((3, 2, 8), 7.0).double()], 1)
    for baseline in ("mask", "zero", "mean"):
        plain = attribute(Subject(model, x, Positions(baseline), call=masked), steps=4)
        padded = Subject(model, longer, Positions(baseline, valid=valid), call=masked)
        values, _ = attribute(padded, steps=4)
        for name, value in plain.values.items():
            torch.testing.assert_close(values[name][:, :4], value, rtol=0, atol=1e-10)
            assert (values[name][:, 4:] == 0).all()
        curves = deletion_insertion(padded, values["attention"], steps=4)
        short = deletion_insertion(Subject(model, x, Positions(baseline), call=masked), plain.values["attention"])
        torch.testing.assert_close(curves.deletion, short.deletion, rtol=0, atol=1e-10)


def test_integers_are_explained_at_their_embedding():
    torch.manual_seed(0)
    stack, table = Stack(core.MeanPooling()).double(), nn.Embedding(7, 8).double()
    model = nn.Sequential(table, stack)
    ids = torch.randint(7, (3, 4))
    by_id = attribute(Subject(model, ids, Positions("mean"), embedding="0"), steps=4)
    by_vector = attribute(Subject(stack, table(ids).detach(), Positions("mean")), steps=4)
    for name, value in by_vector.values.items():
        torch.testing.assert_close(by_id.values[name], value, rtol=0, atol=1e-12)


def test_patches_cover_the_image_row_by_row():
    units = Patches(size=2)
    x = torch.arange(2 * 4 * 6).float().view(1, 2, 4, 6)
    expected = [[x[0, :, 2 * r : 2 * r + 2, 2 * c : 2 * c + 2].sum().item() for r in range(2) for c in range(3)]]
    assert units.pool(x).tolist() == expected and units.validity(x).shape == (1, 6)
    keep = torch.tensor([[True, True, True, True, False, True]])
    without = units.without(x, keep)
    assert (without[..., 2:4, 2:4] == 0).all()
    assert units.pool(without)[keep].tolist() == units.pool(x)[keep].tolist()
    mean = Patches("mean", size=2).without(x, keep)[..., 2:4, 2:4]
    assert torch.equal(mean, x.mean((0, 2, 3)).view(1, 2, 1, 1).expand(1, 2, 2, 2))


def test_log_odds_of_the_predicted_class_and_its_probability():
    logits = torch.tensor([[2.0, 0.0, -1.0], [0.0, 1.0, 3.0]]).double()

    class Constant(nn.Module):
        def __init__(self):
            super().__init__()
            self.pool = core.AttentionPooling(2).double()

        def forward(self, x):
            return logits + 0 * self.pool(x).sum()

    subject = Subject(Constant(), torch.zeros(2, 3, 2).double(), Positions())
    p = logits.softmax(1)[[0, 1], [0, 2]]
    torch.testing.assert_close(subject.score(logits), (p / (1 - p)).log(), rtol=0, atol=1e-12)
    torch.testing.assert_close(subject.curve(logits), p, rtol=0, atol=1e-12)
    torch.testing.assert_close(
        subject.variation(logits.flip(1)), (logits.softmax(1) - logits.flip(1).softmax(1)).abs().sum(1) / 2
    )
    one = torch.tensor([1.5, -0.5]).double()
    subject.classes = (one > 0).long()
    torch.testing.assert_close(subject.score(one), one.abs(), rtol=0, atol=1e-12)
    torch.testing.assert_close(subject.score(one[:, None]), one.abs(), rtol=0, atol=1e-12)


def test_the_model_is_left_as_it_was():
    torch.manual_seed(0)
    model = Stack(core.AttentionPooling(8, 2)).train()
    model.encoder.blocks[0].eval()
    modes = [module.training for module in model.modules()]
    x = torch.randn(2, 4, 8)
    before, drawn = model(x), torch.get_rng_state()
    attribute(Subject(model, x, Positions()), steps=2)
    assert torch.equal(model(x), before) and torch.equal(torch.get_rng_state(), drawn)
    assert [module.training for module in model.modules()] == modes
    assert all(parameter.grad is None for parameter in model.parameters())


def test_refusals():
    torch.manual_seed(0)
    model, x = Stack(core.AttentionPooling(8, 2)), torch.randn(2, 4, 8)
    for options, message in (
        ({"layer": "head"}, "layer: .*pooling.attention, got 'head'"),
        ({"row": 1}, "row: .*0 to 0, got 1"),
        ({"target": lambda y: y}, r"target: .*\(2,\), got \(2, 3\)"),
        ({"distribution": lambda y: y[0]}, r"distribution: .*\(2, C\), got \(3,\)"),
        ({"call": lambda *_: None}, "call: .*got NoneType"),
    ):
        with pytest.raises(ValueError, match=message):
            attribute(Subject(model, x, Positions(), **options))
    with pytest.raises(ValueError, match=r"5 keys in layer 'pooling.attention' for 4 units after a prefix of 1, got 4"):
        Subject(model, x, Positions(prefix=1))
    with pytest.raises(ValueError, match="attention layer, got none among its Linear"):
        Subject(nn.Linear(8, 3), x, Positions())
    with pytest.raises(ValueError, match=r"runs once.*ran 2 times"):
        shared = core.MultiheadAttention(8, 2)
        Subject(nn.Sequential(shared, shared, core.MeanPooling()), x, Positions())
    with pytest.raises(TypeError, match=r"integers with `embedding`, got torch.int64"):
        Subject(model, torch.zeros(2, 4, dtype=torch.long), Positions())
    with pytest.raises(ValueError, match="at least one item"):
        Subject(model, x[:0], Positions())
    with pytest.raises(ValueError, match="hides the units"):
        attribute(Subject(model, x, Positions("mask")))
    with pytest.raises(ValueError, match=r"distribution: .*\(2, 4, 8\)"):
        Subject(core.Encoder(8, 1, 2), x, Positions())
    with pytest.raises(ValueError, match=r"baseline: .*'mean'.* got 'mask'"):
        Patches("mask")
    with pytest.raises(ValueError, match=r"multiples of 3, got \(1, 1, 4, 4\)"):
        Patches(size=3).validity(torch.zeros(1, 1, 4, 4))
    with pytest.raises(ValueError, match=r"valid: .*\(2, 4\), got torch.bool of \(2, 3\)"):
        Positions(valid=torch.ones(2, 3) > 0).validity(x)
