"""The whole report: it must say no where attention is planted to mislead, and yes where it is planted to be right."""

import dataclasses
import math
import sys

import pytest
import timm
import torch
from torch import nn

import core
import vision
from core import masks
from core.analysis.faithfulness import faithfulness
from core.analysis.faithfulness.planted import LOUD, PlantedModel, call_planted, planted_items
from core.analysis.faithfulness.ranks import Estimate
from core.analysis.faithfulness.units import Patches, Positions
from core.analysis.faithfulness.verdict import judge
from core.extras import MissingExtraError
from tests.tolerance import FUNCTION, rounding

QUICK = {
    "random_orders": 2,
    "gradient_steps": 8,
    "rank_permutations": 99,
    "weight_permutations": 10,
    "adversary_steps": 40,
    "adversary_restarts": 1,
}


def planted(faithful, items=32, seed=0):
    model = PlantedModel(faithful)
    return model, planted_items(model, items, torch.Generator().manual_seed(seed))


def ask(model, x, **options):
    return faithfulness(model, x, Positions("mask"), call=call_planted, **{**QUICK, **options})


@pytest.fixture(scope="module")
def yes():
    return ask(*planted(True))


@pytest.fixture(scope="module")
def no():
    return ask(*planted(False))


def failed(report):
    return {finding.check for finding in report.findings if finding.passed is False}


def test_the_planted_models_are_what_they_claim():
    """Weights by the definition; the loud token is the most attended in every item, and removing it changes nothing."""
    for faithful in (True, False):
        model, x = planted(faithful)
        w = x[..., 0].softmax(1)
        gains = torch.ones(8)
        if not faithful:
            gains[0], gains[1], gains[2] = 0.0, 1000.0, 1000.0
        v = (w[..., None] * gains * x[..., 1:]).sum(1)
        torch.testing.assert_close(model(x), 8 * v / v.norm(dim=1, keepdim=True))
        if faithful:
            top = x[torch.arange(len(x)), w.argmax(1), 1:].argmax(1)
            assert torch.equal(model(x).argmax(1), top)
            assert (x[..., 1:].sum(1) == 1).all()  # every type once: values of length 1, one class each
    loud = x[..., 1 + LOUD].bool()
    assert torch.equal(w.argmax(1), loud.float().argmax(1)) and w.amax(1).min() > 0.8
    # A softmax and a mean over 8 tokens of sizes up to 1000, a norm over 8, and an answer of length 8.
    tolerance = rounding(3 * 8 + 2 * FUNCTION, 8.0)
    torch.testing.assert_close(model(x, ~loud), model(x), rtol=0, atol=tolerance)
    decisive = x[..., 2] + x[..., 3] > 0
    assert torch.equal(w.argmin(1), decisive.float().argmax(1)) and w[decisive].max() < 0.01
    assert (model(x, ~decisive).argmax(1) != model(x).argmax(1)).all()


def test_the_faithful_model_is_not_flagged(yes):
    assert yes.faithful and not failed(yes)
    assert yes.agreement("attention").tau.mean == pytest.approx(1)
    assert yes.top_share.mean == pytest.approx(1)
    assert yes.verdict.startswith("Attention may be read as an explanation here")
    assert "Not checked: other seeds, attention needed" in yes.verdict
    assert "may, for such inputs, be read" in yes.card()


def test_the_counter_example_is_flagged(no):
    assert not no.faithful
    assert {"rank agreement", "top unit", "deletion", "insertion", "permuted weights", "other attention"} <= failed(no)
    assert no.top_share.high < 1e-5
    assert no.verdict.startswith("Attention must not be read as an explanation here: 7 of 8 checks failed")
    assert "must not be read" in no.card() and "top unit" in no.card()


def test_one_mute_token_at_the_top_is_enough_to_be_flagged():
    """All other tokens are ranked rightly, so rank agreement alone would be near its threshold."""
    model, x = planted(True)
    with torch.no_grad():
        model.pool.attention.v_proj.weight[1 + LOUD] = 0.0
    x[..., 0] = torch.where(x[..., 1 + LOUD] > 0, x[..., 0].amax(1, keepdim=True) + 0.5, x[..., 0])
    report = ask(model, x)
    assert report.agreement("attention").tau.mean == pytest.approx((21 - 7) / 28, abs=1e-6)  # 7 of 28 pairs are wrong
    assert "top unit" in failed(report) and not report.faithful


def test_few_items_are_never_enough():
    report = ask(*planted(True, items=8))
    assert failed(report) == {"enough items"} and not report.faithful


def test_the_report_prints_its_numbers_and_the_verdict(yes, no):
    for report in (yes, no):
        text = str(report)
        assert report.verdict in text and text.count("\n") > 25
        for name in ("attention", "rollout", "gradient x input", "integrated gradients", "leave-one-out", "random"):
            assert name in text
        for finding in report.findings:
            assert str(finding) in text
        assert str(report.agreement("attention").tau) in text and str(report.curve("random").deletion_auc) in text
        assert f"tau = {report.agreement('attention').tau.mean:.2f}" in report.card()
        assert "\n" not in report.card() and report.card().endswith(".")
        numbers = dict(report.numbers())
        assert numbers["tau, attention"] == report.agreement("attention").tau.mean
        assert numbers["JS, other attention"] == report.adversary.mean and len(numbers) == len(report.numbers())
        with pytest.raises(dataclasses.FrozenInstanceError):
            report.seed = 1


def test_the_same_seed_gives_the_same_report_and_no_global_number_is_drawn(yes):
    model, x = planted(True)
    state = torch.get_rng_state()
    again = ask(model, x)
    assert again == yes and torch.equal(torch.get_rng_state(), state)
    assert ask(model, x, seed=1) != yes


def test_the_picture_shows_the_report(yes, no):
    for report in (yes, no):
        figure = report.plot()
        bars, tests, deletion, insertion = figure.axes
        heights = [patch.get_height() for patch in bars.patches]
        assert heights == [a.tau.mean for a in report.agreements]
        assert [patch.get_width() for patch in tests.patches] == [
            report.permuted.mean,
            report.uniform.mean,
            report.adversary.mean,
        ]
        for axis, which in ((deletion, "deletion"), (insertion, "insertion")):
            for line, curve in zip(axis.lines, report.curves, strict=True):
                assert tuple(line.get_ydata()) == getattr(curve, which)
        for axis in figure.axes:
            assert axis.get_title()
        assert report.verdict.split(":")[0] in figure.get_suptitle().replace("\n", " ")


GOOD = {
    "items": 20,
    "tau": Estimate(0.6, 0.5, 0.7),
    "p": 0.01,
    "top_share": Estimate(0.6, 0.5, 0.7),
    "deletion_gain": Estimate(0.1, 0.01, 0.2),
    "insertion_gain": Estimate(0.1, 0.01, 0.2),
    "permuted": Estimate(0.1, 0.05, 0.2),
    "uniform": Estimate(0.1, 0.05, 0.2),
    "adversary": Estimate(0.1, 0.05, 0.125),
    "seeds": Estimate(0.1, 0.05, 0.125),
    "needed": Estimate(0.1, 0.01, 0.2),
}
BAD = {
    "items": (19, "enough items"),
    "tau": (Estimate(0.6, 0.49, 0.7), "rank agreement"),
    "p": (0.05, "rank agreement"),
    "top_share": (Estimate(0.6, 0.49, 0.7), "top unit"),
    "deletion_gain": (Estimate(0.1, 0.0, 0.2), "deletion"),
    "insertion_gain": (Estimate(0.1, 0.0, 0.2), "insertion"),
    "permuted": (Estimate(0.1, 0.049, 0.2), "permuted weights"),
    "uniform": (Estimate(0.1, 0.049, 0.2), "uniform weights"),
    "adversary": (Estimate(0.1, 0.05, 0.126), "other attention"),
    "seeds": (Estimate(0.1, 0.05, 0.126), "other seeds"),
    "needed": (Estimate(0.1, 0.0, 0.2), "attention needed"),
}


def test_all_rules_pass_at_their_thresholds():
    assert all(finding.passed for finding in judge(**GOOD))


@pytest.mark.parametrize("name", BAD)
def test_each_rule_alone_fails(name):
    value, check = BAD[name]
    assert [f.check for f in judge(**{**GOOD, name: value}) if not f.passed] == [check]
    if isinstance(value, Estimate):
        nothing = Estimate(math.nan, math.nan, math.nan)
        assert [f.check for f in judge(**{**GOOD, name: nothing}) if not f.passed] == [check]


def test_optional_controls_are_left_open():
    findings = judge(**{**GOOD, "seeds": None, "needed": None})
    assert [f.check for f in findings if f.passed is None] == ["other seeds", "attention needed"]


def test_controls_with_other_models():
    """The same model as another seed: divergence 0. Uniform weights cannot name the class: attention is needed."""
    model, x = planted(True)
    labels = model(x).argmax(1)
    report = ask(model, x, labels=labels, other_seeds=[PlantedModel(True)], uniform_model=PlantedModel(True))
    assert report.seeds == Estimate(0, 0, 0) and report.seed_models == 1
    assert report.accuracy.model == 1 and report.accuracy.uniform == report.accuracy.retrained < 0.6
    assert report.needed.mean == pytest.approx(1 - report.accuracy.retrained)
    assert report.faithful and all(finding.passed for finding in report.findings)
    assert "accuracy 1.000, with weights made uniform" in str(report)


def test_vision_transformer():
    torch.manual_seed(0)
    model = vision.VisionTransformer(8, 2, 1, 5, embed_dim=16, depth=2, num_heads=2)
    report = faithfulness(model, torch.rand(4, 1, 8, 8), Patches("mean", size=2), **QUICK)
    assert (report.layer, report.row, report.units) == ("blocks.1.attention", 0, 16)
    assert "enough items" in failed(report)


def test_timms_vision_transformer():
    torch.manual_seed(0)
    model = timm.create_model("vit_tiny_patch16_224", img_size=16, patch_size=8, depth=2, num_classes=3)
    report = faithfulness(model, torch.rand(3, 3, 16, 16), Patches(size=8), **{**QUICK, "adversary_steps": 5})
    assert (report.layer, report.row, report.units) == ("blocks.1.attn", 0, 4)


class Sequence(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(9, 8)
        self.encoder = core.Encoder(8, 2, 2)
        self.pool = core.MeanPooling()
        self.head = nn.Linear(8, 1)

    def forward(self, ids, mask=None):
        return self.head(self.pool(self.encoder(self.embedding(ids), mask=mask), mask=mask))


def test_sequence_classifier_with_padding():
    torch.manual_seed(0)
    ids, valid = torch.randint(9, (6, 5)), torch.arange(5) < torch.tensor([5, 4, 3, 5, 2, 1])[:, None]
    report = faithfulness(
        Sequence(),
        ids,
        Positions("mask", valid=valid),
        embedding="embedding",
        call=lambda model, x, keep: model(x, mask=None if keep is None else masks.Padding(keep)),
        **QUICK,
    )
    assert (report.layer, report.row) == ("encoder.blocks.1.attention", "mean")
    assert report.ranked_items <= 5  # an item of one token ranks nothing
    assert all((value[~valid] == 0).all() for value in report.attributions.values())


def test_refusals():
    model, x = planted(True)
    with pytest.raises(ValueError, match=r"labels: .*\(32,\), got \(3,\)"):
        ask(model, x, labels=torch.zeros(3))
    with pytest.raises(ValueError, match="labels: expected classes, as uniform_model"):
        ask(model, x, uniform_model=model)


def test_missing_packages_name_the_extra(yes, monkeypatch):
    cure = r'pip install "attention-suite\[viz\]"'
    for module in ("captum", "captum.attr", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=f"faithfulness needs captum.*{cure}"):
        ask(*planted(True, items=2))
    with pytest.raises(MissingExtraError, match=f"needs matplotlib.*{cure}"):
        yes.plot()
