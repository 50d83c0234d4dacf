"""Events from Python: columns of several kinds, what is refused, and a run without files."""

from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch

from core.training import load_run, read_checkpoint
from timeseries import EventArrayData, EventClassificationTask
from timeseries.events.readers.arrays import read_arrays

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),  # lightning 2.6 on torch 2.14
    pytest.mark.filterwarnings("ignore:.*num_workers.*"),
]

TINY = {"dim": 8, "depth": 1, "heads": 2, "summary_hidden": 8, "dropout": 0.0, "summary_dropout": 0.0}
EVENTS = {"subject": [2, 1, 1, 2], "time": [3.0, 2, 1, 9], "code": ["b", "a", "a", "b"], "value": [5.0, 6, None, 7]}
LABELS = {"subject": [1, 2, 1], "prediction_time": [4.0, 10, 5], "target": [1, 0, 1]}


class Frame:
    """What pandas' data frames and Hugging Face's data sets have in common with this: names, and columns by name."""

    def __init__(self, columns: dict[str, Any], attribute: str) -> None:
        self._columns = columns
        setattr(self, attribute, list(columns))

    def __getitem__(self, name: str) -> Any:
        return self._columns[name]


def ready(*tables: Any, **options: Any) -> EventArrayData:
    data = EventArrayData(*tables, split={"train": [0, 1, 2]}, **options)
    data.setup("fit")
    return data


def test_columns_become_samples() -> None:
    static = {"subject": ["2", "1"], "age": [70, np.nan], "sex": [0, 1]}
    raw = ready(EVENTS, LABELS, static=static).raw
    assert raw is not None
    assert raw.ids() == ["1@4", "2@10", "1@5"] and raw.codes == ("a", "b")
    assert raw.lengths.tolist() == [2, 2, 2]
    assert raw.time.tolist() == [1, 2, 3, 9, 1, 2] and raw.code.tolist() == [0, 0, 1, 1, 0, 0]
    assert np.array_equal(raw.value, [np.nan, 6, 5, 7, np.nan, 6], equal_nan=True)
    assert raw.static_names == ("age", "sex")
    assert np.array_equal(raw.static, [[np.nan, 1], [70, 0], [np.nan, 1]], equal_nan=True)
    assert raw.target.tolist() == [1, 0, 1]


@pytest.mark.parametrize("kind", ["numpy", "torch", "columns", "column_names"])
def test_other_containers_are_the_same(kind: str) -> None:
    events = {**EVENTS, "value": [5.0, 6, np.nan, 7], "code": [8, 7, 7, 8]}
    make = {"numpy": np.array, "torch": torch.tensor}.get(kind, list)
    tables: list[Any] = [{name: make(column) for name, column in table.items()} for table in (events, LABELS)]
    if kind.startswith("column"):
        tables = [Frame(table, kind) for table in tables]
    found, expected = ready(*tables), ready(events, LABELS)
    assert found.fingerprint() == expected.fingerprint() and found.codes == ("7", "8")


def test_dates_count_from_1970() -> None:
    days = np.array(["2020-01-02", "2020-01-01"], dtype="datetime64[D]")
    table, report = read_arrays({"subject": ["x", "x"], "time": days, "code": ["a", "b"]})
    assert table.clock == "naive" and table.time.tolist() == [438288.0, 438312.0]  # 18,262 and 18,263 days
    assert [table.codes[k] for k in table.code] == ["b", "a"] and (report.rows, report.events) == (2, 2)
    data = EventArrayData(
        {"subject": ["x"], "time": days[:1], "code": ["a"]},
        {"subject": ["x"], "prediction_time": np.array(["2020-01-02T12"], dtype="datetime64[h]"), "target": [1]},
        split={"train": [0]},
    )
    data.setup()
    assert data.names_of(torch.tensor([0])) == ["x@2020-01-02T12:00:00"]


def test_targets_of_every_kind() -> None:
    who = {name: LABELS[name] for name in ("subject", "prediction_time")}
    words = ready(EVENTS, {**who, "target": ["low", "high", "low"]}, "multiclass").raw
    assert words is not None and words.target.tolist() == [1, 0, 1] and words.target_names == ("high", "low")
    named = ready(EVENTS, {**who, "target": ["low", "high", "low"]}, "multiclass", target_names=["low", "high"]).raw
    assert named is not None and named.target.tolist() == [0, 1, 0]
    table = np.array([[1, 0], [np.nan, 1], [0, 0]])
    both = ready(EVENTS, {**who, "target": table}, "multilabel", target_names=["p", "q"]).raw
    split = ready(EVENTS, {**who, "p": table[:, 0], "q": table[:, 1]}, "multilabel", target=["p", "q"]).raw
    assert both is not None and split is not None and both.fingerprint() == split.fingerprint()
    timed = ready(EVENTS, {**who, "target": [1, 0, 1], "duration": [5, 6, 7]}, "time_to_event").raw
    assert timed is not None and timed.target.tolist() == [[5, 1], [6, 0], [7, 1]]


@pytest.mark.parametrize(
    ("events", "labels", "options", "message"),
    [
        ([1], LABELS, {}, "events: expected a mapping of columns, a data frame or a dataset, got list"),
        ({"subject": [1]}, LABELS, {}, "events: expected a column 'time', got subject"),
        ({**EVENTS, "unit": [1] * 4}, LABELS, {}, "events: expected columns .*, got 'unit'"),
        ({**EVENTS, "time": [1.0, 2]}, LABELS, {}, r"events.time: expected \(4,\), got \(2,\)"),
        ({**EVENTS, "time": [1.0, 2, 3, np.nan]}, LABELS, {}, "events.time: expected hours, got NaN"),
        ({**EVENTS, "time": ["x"] * 4}, LABELS, {}, "events.time: expected numbers, got <U1"),
        ({**EVENTS, "value": [1.0, 2, 3, np.inf]}, LABELS, {}, "events.value: expected finite numbers or NaN, got inf"),
        ({**EVENTS, "code": [1.5] * 4}, LABELS, {}, "events.code: expected words or whole numbers, got float64"),
        ({**EVENTS, "code": ["a", None, "b", "c"]}, LABELS, {}, "events.code: expected words .*, got None"),
        (EVENTS, {"subject": [1]}, {}, "labels: expected a column 'prediction_time', got subject"),
        (EVENTS, {**LABELS, "target": [0, 1, 2]}, {}, r"target: expected 0 or 1 \(binary\), got 2"),
        (EVENTS, {**LABELS, "target": [0, 1]}, {}, r"labels.target: expected \(3,\), got \(2,\)"),
        (
            EVENTS,
            LABELS,
            {"kind": "multiclass", "target_names": ["x"]},
            r"labels.target: expected class numbers 0 \.\. 0, got 1",
        ),
        (
            EVENTS,
            {**LABELS, "target": ["x", "y", "z"]},
            {"kind": "multiclass", "target_names": ["x", "y"]},
            "labels.target: expected one of x, y, got 'z'",
        ),
        (
            EVENTS,
            {**LABELS, "target": [0, 1, 2**40]},
            {"kind": "multiclass"},
            "labels.target: expected class numbers below the 3 labels",
        ),
        (EVENTS, LABELS, {"kind": "time_to_event"}, "labels: expected a column 'duration' of hours"),
        (EVENTS, LABELS, {"split": {"test": [True, False]}}, r"test: expected a mask of 3 items, got \(2,\)"),
        (EVENTS, LABELS, {"split": {"train": [0.5]}}, "train: expected whole numbers"),
        (EVENTS, LABELS, {"split": {"tests": [0]}}, "split: expected the parts train, val, test, got 'tests'"),
        (EVENTS, LABELS, {"split": {"train": [0], "test": [2]}}, "split: expected every subject in one part, got 1"),
        (EVENTS, {**LABELS, "prediction_time": [1.5, 10, 5]}, {}, "time: expected no event after the prediction time"),
        (EVENTS, LABELS, {"static": {"age": [1]}}, "static: expected a column 'subject', got age"),
        (EVENTS, LABELS, {"static": {"subject": [1, 1], "age": [1, 2]}}, "static.subject: expected every subject once"),
    ],
)
def test_what_does_not_fit_is_named(events: Any, labels: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EventArrayData(events, labels, **options)


def cohort(n: int = 60) -> tuple[dict[str, Any], dict[str, Any]]:
    """Of n subjects the odd ones have larger values."""
    rng = np.random.default_rng(0)
    who = np.repeat(np.arange(n), 5)
    events = {
        "subject": who,
        "time": np.tile(np.arange(5.0), n),
        "code": np.where(rng.random(5 * n) < 0.5, "a", "b"),
        "value": rng.normal(size=5 * n) + 3 * (who % 2),
    }
    labels = {"subject": np.arange(n), "prediction_time": np.full(n, 24.0), "target": torch.arange(n) % 2}
    return events, labels


def trainer(folder: Path, *callbacks: L.Callback) -> L.Trainer:
    return L.Trainer(
        default_root_dir=folder,
        max_epochs=1,
        accelerator="cpu",
        devices=1,
        logger=False,
        callbacks=list(callbacks),
        enable_checkpointing=bool(callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )


def test_fit_test_predict_and_load_again(tmp_path: Path) -> None:
    events, labels = cohort()
    data = EventArrayData(events, labels, batch_size=16, split_seed=1)
    task = EventClassificationTask(model_options=TINY, baselines=[], lr=0.01)
    run = trainer(tmp_path)
    run.fit(task, data)
    assert data.describe_split() == (
        "by subject, seed 1: train 42 samples of 42 subjects, val 6 samples of 6 subjects, test 12 samples of 12 "
        "subjects"
    )
    run.save_checkpoint(tmp_path / "model.ckpt")
    stored = read_checkpoint(tmp_path / "model.ckpt")
    assert not {"events", "labels", "static", "split"} & set(stored["datamodule_hyper_parameters"])
    assert stored["datamodule_hyper_parameters"]["split_seed"] == 1
    (scores,) = run.test(task, data, verbose=False)
    assert 0 <= scores["test/auroc"] <= 1
    (table,) = run.predict(task, data)  # type: ignore[misc]
    assert len(table["id"]) == 12 and table["id"][0].endswith("@24")
    again = load_run(tmp_path / "model.ckpt").task
    new = {name: labels[name] for name in ("subject", "prediction_time")}
    only = EventArrayData(events, new, allow_overlap=True)  # no target: everybody is predicted
    whole = torch.cat([one["probability_1"] for one in trainer(tmp_path).predict(again, only)])  # type: ignore[union-attr]
    assert len(whole) == 60
    rows = [int(name.partition("@")[0]) for name in table["id"]]
    assert torch.allclose(whole[rows], table["probability_1"], atol=1e-5)  # other batches, other orders of sums
