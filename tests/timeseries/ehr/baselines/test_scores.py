"""The baselines beside a task: one function's numbers by hand, and every kind of outcome from the command line."""

import csv
import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, average_precision_score, roc_auc_score

from core.training.cli import main
from timeseries import EventTableData, Outcome, load_task
from timeseries.ehr.baselines.scores import outcome_scores, tabular_results
from timeseries.ehr.baselines.tabular import TabularBaselines

from ...event_fakes import drawn, write_table

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),  # lightning 2.6 on torch 2.14
    pytest.mark.filterwarnings("ignore::DeprecationWarning:jsonargparse"),  # lightning's command line
    pytest.mark.filterwarnings("ignore:.*skip_none.*:DeprecationWarning"),
]

NAN = float("nan")
METHODS = {"logistic_regression", "gradient_boosting", "blend"}
TINY = {"dim": 8, "depth": 1, "heads": 2, "summary_hidden": 8, "dropout": 0.0, "summary_dropout": 0.0}


@pytest.mark.parametrize(
    ("outcome", "probabilities", "target", "expected"),
    [
        # of the pairs (1 against 0), 3 of 4 are in order; precision 1 at recall 1/2 and 2/3 at 1
        (
            Outcome("binary", ("died",)),
            [0.1, 0.4, 0.35, 0.8],
            [0, 0, 1, 1],
            {"accuracy": 3 / 4, "auroc": 3 / 4, "auprc": 5 / 6},
        ),
        (
            Outcome("multiclass", ("a", "b")),
            [[0.9, 0.1], [0.6, 0.4], [0.65, 0.35], [0.2, 0.8]],
            [0, 0, 1, 1],
            {"accuracy": 3 / 4, "auroc": 3 / 4, "auprc": 5 / 6},
        ),
        # a and b against the rest are in order, c is but in one of 3 pairs: areas 1, 1, 2/3 and precisions 1, 1, 1/2
        (
            Outcome("multiclass", ("a", "b", "c")),
            [[0.8, 0.1, 0.1], [0.6, 0.1, 0.3], [0.1, 0.8, 0.1], [0.4, 0.35, 0.25]],
            [0, 0, 1, 2],
            {"accuracy": 3 / 4, "auroc": 8 / 9, "auprc": 5 / 6},
        ),
        # the first label as above; of the second the one that is unknown counts for nothing
        (
            Outcome("multilabel", ("p", "q")),
            [[0.1, 0.9], [0.4, 0.2], [0.35, 0.1], [0.8, 0.95]],
            [[0, 1], [0, 0], [1, 0], [1, NAN]],
            {"auroc": 7 / 8, "auprc": 11 / 12},
        ),
        # sums 1.2, .5, .9, .5: the event at 1 is right against all, that at 4 is level with the one left
        (
            Outcome("time_to_event", ("by 2", "by 5"), (2.0, 5.0)),
            [[0.5, 0.7], [0.1, 0.4], [0.3, 0.6], [0.2, 0.3]],
            [[1, 1], [4, 1], [2, 0], [6, 0]],
            {"concordance": 3.5 / 4},
        ),
    ],
)
def test_scores_by_hand(outcome: Outcome, probabilities: list, target: list, expected: dict[str, float]) -> None:
    got = outcome_scores(outcome, torch.tensor(probabilities), torch.tensor(target, dtype=torch.float32))
    assert got == pytest.approx(expected, abs=1e-6)


def test_too_few_samples_name_the_cure() -> None:
    held = drawn(12)
    with pytest.raises(ValueError, match=r"^baselines: target: expected 5 samples .*; or set the task's baselines to"):
        tabular_results(Outcome("binary", ("1",)), held.select(held.target == 1), held)


def test_one_method_alone_costs_and_answers_nothing_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    few = partial(TabularBaselines, folds=2, trees=4, strengths=[0.1])
    monkeypatch.setattr("timeseries.ehr.baselines.scores.TabularBaselines", few)
    held = drawn(80)
    outcome = Outcome("binary", ("1",))
    all_of_them = {result.name: result for result in tabular_results(outcome, held, held)}
    assert set(all_of_them) == METHODS
    assert all_of_them["logistic_regression"].chosen == "C = 0.1"
    assert "C = 0.1 and " in all_of_them["blend"].chosen
    for name in METHODS:
        (alone,) = tabular_results(outcome, held, held, [name])
        assert alone.name == name and alone.values == all_of_them[name].values
    assert tabular_results(outcome, held, held, []) == []

    def never(*_: object, **__: object) -> None:
        raise AssertionError("fitted though it was not asked for")

    monkeypatch.setattr("timeseries.ehr.baselines.tabular_methods.boosted_trees", never)
    tabular_results(outcome, held, held, ["logistic_regression"])
    with pytest.raises(AssertionError, match="not asked for"):
        tabular_results(outcome, held, held, ["blend"])


def write_labels(folder: Path, kind: str, subjects: int) -> tuple[Path, dict]:
    """Labels of `write_table`'s subjects, of whom the odd ones have larger values; and options of the data module."""
    rng = np.random.default_rng(0)
    odd, other = np.arange(subjects) % 2, rng.random(subjects) < 0.3
    columns: dict[str, list] = {"subject": [f"s{k}" for k in range(subjects)]}
    options: dict = {"target": kind, "prediction_time": 24.0}
    if kind == "multilabel":
        columns |= {"p": odd.tolist(), "q": ["" if unknown else 1 - y for y, unknown in zip(odd, other, strict=True)]}
        options["label_columns"] = {"target": ["p", "q"]}
    elif kind == "time_to_event":
        columns |= {
            "target": (rng.random(subjects) < 0.8).astype(int).tolist(),
            "duration": (np.where(odd, 4.0, 20.0) * rng.uniform(0.5, 1.5, subjects)).tolist(),
        }
    else:
        columns["target"] = (odd + (kind == "multiclass") * other).tolist()
    with (folder / "labels.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return folder / "labels.csv", options


def expected_scores(kind: str, y: np.ndarray, p: np.ndarray) -> dict[str, float]:
    """What scikit-learn says, and for a time to event all pairs."""
    if kind == "time_to_event":
        risk = p.sum(axis=1)
        pairs = [(i, j) for i in range(len(y)) for j in range(len(y)) if y[i, 1] == 1 and y[i, 0] < y[j, 0]]
        right = [float(risk[i] > risk[j]) + 0.5 * float(risk[i] == risk[j]) for i, j in pairs]
        return {"concordance": float(np.mean(right))}
    if kind == "multilabel":
        known = [~np.isnan(column) for column in y.T]
        labels = [(y[rows, k], p[rows, k]) for k, rows in enumerate(known)]
    elif kind == "multiclass":
        labels = [(y == k, p[:, k]) for k in range(p.shape[1])]
    else:
        labels = [(y, p)]
    scores = {
        "auroc": float(np.mean([roc_auc_score(*pair) for pair in labels])),
        "auprc": float(np.mean([average_precision_score(*pair) for pair in labels])),
    }
    if kind != "multilabel":
        scores["accuracy"] = float(accuracy_score(y, p.argmax(axis=1) if kind == "multiclass" else p > 0.5))
    return scores


@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel", "time_to_event"])
def test_from_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Every method has the metrics of the task, on its test part and in its intervals."""
    few = partial(TabularBaselines, folds=2, trees=4, strengths=[0.1])
    monkeypatch.setattr("timeseries.ehr.baselines.scores.TabularBaselines", few)
    path, _ = write_table(tmp_path, 100)
    labels, options = write_labels(tmp_path, kind, 100)
    options |= {"path": str(path), "labels": str(labels), "test_fraction": 0.3}
    model = {"model_options": TINY, "lr": 0.01, "intervals": 3, "recalibrate": None}
    config = {
        "seed_everything": 0,
        "model": {"class_path": "EventClassificationTask", "init_args": model},
        "data": {"class_path": "EventTableData", "init_args": options},
        "trainer": {"max_epochs": 1, "accelerator": "cpu", "devices": 1, "enable_progress_bar": False},
        "test_after_fit": True,
    }
    (tmp_path / "run.yaml").write_text(json.dumps(config))
    main(["fit", "--config", str(tmp_path / "run.yaml"), "--trainer.default_root_dir", str(tmp_path / "runs")])
    run = tmp_path / "runs" / "run" / "version_0"
    metrics = json.loads((run / "metrics.json").read_text())
    baselines = json.loads((run / "baselines.json").read_text())

    task, data = load_task(run / "best.ckpt"), EventTableData(**options)
    data.setup()
    test = data.samples["test"]
    assert task.outcome is not None and len(task.outcome.edges) == (3 if kind == "time_to_event" else 0)
    found = few(outcome=task.outcome).fit(data.samples["train"]).probabilities(test)
    assert set(baselines) == METHODS
    for name, p in found.items():
        expected = {f"test/{metric}": x for metric, x in expected_scores(kind, test.target, p).items()}
        assert baselines[name.replace(" ", "_")] == pytest.approx(expected, abs=1e-6)
    reported = {name: x for name, x in metrics.items() if name.startswith("test/") and name != "test/loss"}
    assert set(baselines["blend"]) == set(reported)
    p = task.outcome.probabilities(task.logits_of(test).logits)  # the task's own go through the same function
    own = outcome_scores(task.outcome, p, torch.from_numpy(test.target))
    assert reported == pytest.approx({f"test/{k}": x for k, x in own.items()}, abs=1e-6)
    best = max(scores[task.monitor.replace("val", "test")] for scores in baselines.values())
    assert best > 0.6  # larger values are those of the odd subjects
