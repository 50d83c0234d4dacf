"""The contract of explanations, on the planted model whose attention explains it, and on broken answers."""

import math

import pytest
import torch
from torch import nn

from core.analysis.faithfulness import Patches, PlantedModel, Positions, call_planted, faithfulness, planted_items
from core.analysis.figures import new_figure
from core.explain import Explains, Explanation, Prediction, Question, explain
from core.explain.checks import check_explains
from core.layers import AttentionPooling

QUICK = {"random_orders": 2, "rank_permutations": 99, "weight_permutations": 10, "adversary_steps": 10}


class Planted(Explains):
    """Items of the planted model: the units are its tokens, named by their types."""

    limits = ("a model built by hand",)

    def __init__(self, count=24, faithful=True):
        self.model = PlantedModel(faithful)
        self.x = planted_items(self.model, count, torch.Generator().manual_seed(0))

    @property
    def items(self):
        return tuple(f"item {number}" for number in range(len(self.x)))

    @property
    def unit(self):
        return "token"

    def unit_names(self, item):
        return tuple(f"type {int(kind)}" for kind in self.x[item, :, 1:].argmax(1))

    def prediction(self):
        with torch.no_grad():
            return Prediction(tuple(map(str, range(8))), self.model(self.x).softmax(1))

    def question(self):
        return Question(self.model, self.x, Positions("mask"), call=call_planted)

    def draw(self, item, values, title):
        figure = new_figure(3, 2)
        figure.subplots().bar(self.unit_names(item), values.tolist())
        figure.suptitle(title)
        return figure


@pytest.mark.parametrize("faithful", [True, False])
def test_the_planted_model_is_explained(faithful):
    planted = Planted(faithful=faithful)
    check_explains(planted)
    found = explain(planted, seed=1, **QUICK)
    assert found.faithful is faithful and ("may be read" in found.verdict) is faithful
    same = faithfulness(planted.model, planted.x, Positions("mask"), call=call_planted, seed=1, **QUICK)
    assert found.verdict == same.verdict and found.report is not None and str(found.report) == str(same)
    assert list(found.attributions) == [
        "attention", "rollout", "gradient x input", "integrated gradients", "leave-one-out",
    ]  # fmt: skip
    torch.testing.assert_close(found.of("item 3", "attention"), same.attributions["attention"][3])
    assert found.limits == ("a model built by hand",) and found.unit == "token"
    name, weight = found.top("item 0", "attention", most=1)[0]
    loudest = planted.x[0, :, 0].argmax()
    assert name == planted.unit_names(0)[loudest]
    assert weight == pytest.approx(float(planted.x[0, :, 0].softmax(0)[loudest]), rel=1e-5)
    predicted = found.prediction.names[int(found.prediction.values[0].argmax())]
    assert (name == f"type {predicted}") is faithful


def explanation(**parts):
    given = {
        "items": ("a", "b"),
        "prediction": Prediction(("yes",), torch.tensor([[0.25], [1.0]]), uncertainty=torch.zeros(2, 1)),
        "unit": "token",
        "unit_names": (("x", "y"), ("z",)),
        "valid": torch.tensor([[True, True], [False, True]]),
        "attributions": {"m": torch.tensor([[0.5, -2.0], [0.0, 3.0]])},
        "faithful": False,
        "verdict": "no",
    }
    return Explanation(**{**given, **parts})


def test_numbers_of_units_by_hand():
    found = explanation()
    assert found.top("a", "m") == [("y", -2.0), ("x", 0.5)] and found.top("a", "m", most=1) == [("y", -2.0)]
    assert found.top("b", "m") == [("z", 3.0)] and found.of("b", "m").tolist() == [3.0]
    with pytest.raises(ValueError, match="item: expected one of a, b, got 'c'"):
        found.of("c", "m")
    with pytest.raises(ValueError, match="method: expected one of m, got 'n'"):
        found.of("a", "n")


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"items": ("a",)}, "prediction: expected one for each of 1 items, got 2"),
        ({"unit_names": (("x",), ("z",))}, r"unit_names\[0\]: expected 2, one for each unit, got 1"),
        ({"valid": torch.ones(2, 2)}, r"valid: expected bool of \(2, n\), got torch.float32 of \(2, 2\)"),
        ({"attributions": {}}, "attributions: expected at least one method, got none"),
        ({"attributions": {"m": torch.ones(2, 3)}}, r"attributions\['m'\]: expected \(2, 2\), got \(2, 3\)"),
    ],
)
def test_parts_that_do_not_fit_are_refused(parts, message):
    with pytest.raises(ValueError, match=message):
        explanation(**parts)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"values": torch.ones(2)}, r"values: expected \(B, 1\), got \(2,\)"),
        ({"values": torch.full((2, 1), 1.5)}, r"values: expected probabilities in \[0, 1\], got 1.5 to 1.5"),
        ({"values": torch.ones(2, 1), "uncertainty": torch.ones(2)}, r"uncertainty: expected \(2, 1\), got \(2,\)"),
        ({"values": torch.ones(2, 1), "truth": ("yes",)}, "truth: expected one for each of 2 items, got 1"),
    ],
)
def test_predictions_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        Prediction(("yes",), **options)


def test_a_prediction_in_another_unit_may_be_any_number():
    assert Prediction(("demand",), torch.tensor([[-3.0]]), unit="USD").unit == "USD"


class Broken(Planted):
    def __init__(self, **answers):
        super().__init__(4)
        self.answers = answers

    items = property(lambda self: self.answers.get("items", super().items))
    unit = property(lambda self: self.answers.get("unit", "token"))

    def unit_names(self, item):
        return self.answers.get("unit_names", super().unit_names(item))

    def prediction(self):
        return self.answers.get("prediction", super().prediction())

    def question(self):
        asked = super().question()
        return Question(asked.model, asked.inputs, asked.units, call=self.answers.get("call", asked.call))

    def draw(self, item, values, title):
        return self.answers.get("draw", super().draw(item, values, title))


def unmasked(model, x, keep):
    return model(x)


def random_call(model, x, keep):
    return model(x, keep) + torch.rand(())


def training_call(model, x, keep):
    model.pool.training = False
    return model(x, keep)


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ({"items": ("a", "a", "b", "c")}, "items: expected each name once"),
        ({"items": (1, 2, 3, 4)}, "items: expected names"),
        ({"prediction": Prediction(("p",), torch.ones(3, 1))}, "prediction: expected a row for each of 4 items, got 3"),
        ({"unit": ""}, "unit: expected words, got ''"),
        ({"unit_names": ("one",)}, r"unit_names\(0\): expected 8 names, got 1"),
        ({"call": unmasked}, "call: expected hidden units to change nothing, got a change of"),
        ({"call": random_call}, "call: expected the same answer twice, got a change of"),
        ({"call": lambda model, x, keep: model(x, keep)[:1]}, "call: expected an answer for each of 4 items, got 1"),
        ({"draw": "picture"}, "draw: expected a matplotlib figure, got str"),
    ],
)
def test_checks_catch_what_breaks_the_contract(answers, message):
    with pytest.raises(AssertionError, match=message):
        check_explains(Broken(**answers))


def test_checks_leave_the_model_as_it_was():
    planted = Planted(3)
    planted.model.train()
    planted.model.pool.eval()
    modes = [module.training for module in planted.model.modules()]
    check_explains(planted, pictures=False)
    assert [module.training for module in planted.model.modules()] == modes
    assert all(parameter.grad is None for parameter in planted.model.parameters())


class TwoStrands(Positions):
    """Two keys for each unit: position i of the given strand, and L - 1 - i of the other."""

    def keys(self, units):
        return 2 * units

    def of_keys(self, weights):
        given, other = weights.chunk(2, dim=1)
        return given + other.flip(1)


def test_units_of_several_keys_get_the_sum_of_their_weights():
    """A pooling over both strands of a sequence, as the detector of motifs has it: Lk = 2 n."""

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.pool, self.head = AttentionPooling(4), nn.Linear(4, 2)

        def forward(self, x):
            return self.head(self.pool(torch.cat([x, x.flip(1)], dim=1)))

    torch.manual_seed(0)
    model, x = Model().eval(), torch.randn(3, 5, 4)
    report = faithfulness(model, x, TwoStrands("zero"), **QUICK)
    torch.testing.assert_close(report.attributions["attention"].sum(1), torch.ones(3))
    twin = nn.Sequential(model.pool, model.head)  # one strand: each key has half of both its copies' weight, twice
    torch.testing.assert_close(report.attributions["attention"], _pooled(twin, x))
    with pytest.raises(ValueError, match=r"units: expected 5 keys in layer 'pool.attention' for 5 units"):
        faithfulness(model, x, Positions("zero"), **QUICK)


def _pooled(model, x):
    return faithfulness(model, x, Positions("zero"), **QUICK).attributions["attention"]


def test_patches_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match="multiples of 4"):
        Patches(size=4).validity(torch.zeros(1, 1, 6, 8))
    assert math.prod(Patches(size=4).validity(torch.zeros(1, 1, 8, 8)).shape) == 4
