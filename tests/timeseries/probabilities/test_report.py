import numpy as np
import pytest
from matplotlib.figure import Figure

from core.analysis import FaithfulnessReport
from timeseries import EvaluationReport, EventClassificationTask, model_card
from timeseries.ehr.explain import EventsBranch, attention_faithfulness, most_frequent, timeline
from timeseries.ehr.figures import decision_figure, half_life_figure, reliability_figure, timeline_figure
from timeseries.ehr.groups import bands, categories, nafld_groups, physionet_groups, static_column
from timeseries.probabilities.evaluation import net_benefit

from ..event_fakes import drawn, samples

NAN = float("nan")


def given(n=200):
    rng = np.random.default_rng(0)
    p = rng.uniform(0.05, 0.6, n)
    return (rng.random(n) < p).astype(float), p


def a_report():
    y, p = given()
    return EvaluationReport.of(
        "Toy",
        y,
        {"ours": p, "guess": np.full(200, 0.3)},
        np.arange(200),
        groups={"first half": np.arange(200) < 100},
        repeats=20,
        notes=["A note."],
    )


def untrained(one, **architecture):
    """A task with a model that was not trained, for what does not need one that was."""
    names = {"codes": list(one.codes), "static_names": list(one.static_names), "kind": "binary", "names": ["1"]}
    options = {"dim": 8, "heads": 2, **architecture}
    task = EventClassificationTask(model_options=options, summary=[], baselines=[], **names)
    task.fit_scores(one)
    return task.eval()


def test_the_report_says_all_and_the_numbers_are_those_of_its_parts():
    y, p = given()
    report = a_report()
    text = str(report)
    assert "200 samples of 200 patients" in text and f"prevalence {y.mean():.3f}" in text and "A note." in text
    lines = [line for line in text.splitlines() if line.startswith("|")]
    rows = {line.split("|")[1].strip(): line for line in reversed(lines)}  # the first table that has the name
    assert {"ours", "guess", "less guess", "treat all", "first half"} <= set(rows)
    assert f"{report.models['ours']['auroc'].value:.3f}" in rows["ours"]
    assert rows["guess"].split("|")[6].strip() == "-"  # a constant has no slope
    at = float(rows["first half"].split("|")[3])
    assert at == pytest.approx(y[:100].mean(), abs=5e-4)
    curve = net_benefit(y, p, [0.2])
    benefit = [line for line in lines if line.startswith("| ours |")][-1].split("|")
    assert float(benefit[4]) == pytest.approx(1000 * curve.model[0], abs=0.06)
    with pytest.raises(ValueError, match="probabilities"):
        EvaluationReport.of("x", y, {}, np.arange(200))
    with pytest.raises(ValueError, match="subjects: expected one for each of 200 samples"):
        EvaluationReport.of("x", y, {"ours": p}, np.arange(199), repeats=2)


def test_the_card_names_limits():
    card = model_card(a_report(), model="A model.", purpose="A test.", data={"source": "toy"}, training=["One seed."])
    assert card.startswith("# Model card: Toy") and card.count("Not for clinical use") >= 2
    for part in ("A model.", "A test.", "- source: toy", "- One seed.", "do not read it as one", "## Limits"):
        assert part in card


def test_groups_by_hand():
    age = np.array([20.0, 50.0, 64.9, 65.0, NAN])
    found = bands("age", age, (50, 65), "years")
    assert {name: member.tolist() for name, member in found.items()} == {
        "age < 50 years": [True, False, False, False, False],
        "age 50 to < 65 years": [False, True, True, False, False],
        "age >= 65 years": [False, False, False, True, False],
        "age unknown": [False, False, False, False, True],
    }
    sexes = categories("sex", np.array([0.0, 1.0, NAN]), {0.0: "female", 1.0: "male"})
    assert sexes["sex: female"].tolist() == [True, False, False]
    assert sexes["sex: other or unknown"].tolist() == [False, False, True]
    assert sum(member.sum() for member in sexes.values()) == 3
    with pytest.raises(ValueError, match="edges"):
        bands("age", age, (65, 50))


def test_groups_of_the_data_sets():
    names = ("Gender", "Age", "ICUType=1", "ICUType=2")
    static = np.array([[0, 70, 1, 0], [1, 40, 0, 1]], dtype=np.float32)
    stays = samples([[], []], static=static, static_names=names)
    assert {name for name, member in physionet_groups(stays).items() if member[0]} == {
        "sex: female", "age 65 to < 80 years", "unit: coronary care",
    }  # fmt: skip
    people = samples([[], []], static=static[:, :2], static_names=("male", "age"))
    assert {name for name, member in nafld_groups(people).items() if member[1]} == {"sex: male", "age < 45 years"}
    with pytest.raises(ValueError, match="static_names"):
        static_column(people, "weight")


def test_pictures_show_what_they_are_given(tmp_path):
    y, p = given()
    first = reliability_figure(y, {"a": p, "b": p**2}, "t")
    assert [text.get_text() for text in first.axes[0].get_legend().get_texts()] == ["perfectly calibrated", "a", "b"]
    second = decision_figure({"a": net_benefit(y, p)}, "t")
    assert np.allclose(second.axes[0].lines[0].get_ydata(), 1000 * net_benefit(y, p).model)
    third = half_life_figure([np.array([[1.0, 8.0]]), np.array([[2.0, 9.0]])], [1.0, 10.0], "t", [1.5, 8.5])
    assert third.axes[0].collections[1].get_offsets()[:, 1].tolist() == [8.0, 9.0]
    for k, figure in enumerate((first, second, third)):
        assert isinstance(figure, Figure)
        figure.savefig(tmp_path / f"{k}.png")


def test_the_branch_without_tokens_is_the_model_without_their_events():
    one = samples([[(1.0, "a", 1.0), (5.0, "b", 2.0), (9.5, "a", 3.0)]])
    task = untrained(one)
    batch = task.encode(one).tokens.batch(np.array([0]))
    branch = EventsBranch(task.model, batch)
    x = task.model.embed_tokens(batch)
    assert branch(x).item() == pytest.approx(task.logits_of(one).logits.item(), abs=1e-6)
    keep = batch.keep.clone()
    keep[0, 1] = False  # the bin that holds b
    without = one.keep_events(np.array([True, False, True]))
    assert branch(x, keep).item() == pytest.approx(task.logits_of(without).logits.item(), abs=1e-6)
    view = timeline(task, one, 0, ["a"])
    assert view.effect[1] == pytest.approx(branch(x).item() - branch(x, keep).item(), abs=1e-6)
    assert view.time.tolist() == [-8.0, -4.0, 0.0] and view.events.tolist() == [-9.0, -0.5]
    assert (view.attention.sum(1) < 1).all() and (view.attention > 0).all()  # the query attends to itself, too
    assert isinstance(timeline_figure(view, "c"), Figure)
    with pytest.raises(ValueError, match="hours"):
        timeline_figure(view, "c", 7.0)


def test_faithfulness_looks_at_the_query_in_the_last_block():
    some = drawn(12)
    task = untrained(some)
    report = attention_faithfulness(
        task, some, random_orders=1, weight_permutations=2, adversary_steps=2, adversary_restarts=1,
        rank_permutations=9, gradient_steps=2, curve_steps=2,
    )  # fmt: skip
    assert isinstance(report, FaithfulnessReport)
    assert report.items == (some.lengths > 0).sum() and report.layer == "model.encoder.blocks.1.attention"
    with pytest.raises(ValueError, match="gru"):
        attention_faithfulness(untrained(some, backbone="gru"), some)


def test_most_frequent_codes():
    one = samples([[(1.0, "b", 1.0), (2.0, "b", 1.0), (3.0, "a", 1.0)]], codes=("a", "b", "c"))
    assert most_frequent(one, 0) == ["a", "b"] and most_frequent(one, 0, 1) == ["b"]
