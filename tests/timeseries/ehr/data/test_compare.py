"""Data beside a checkpoint: who trained must not judge, and the files are read as in training."""

import csv
import json
import re
from pathlib import Path
from typing import NamedTuple

import lightning as L
import pytest
import torch

from core.training import read_checkpoint
from core.training.cli import main
from timeseries import EventClassificationTask, EventSamples, EventTableData, load_task
from timeseries.ehr.data import EventDataModule, LoadedEvents
from timeseries.ehr.data.compare import differing_rules

from ...event_fakes import drawn, write_table

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),  # lightning 2.6 on torch 2.14
    pytest.mark.filterwarnings("ignore::DeprecationWarning:jsonargparse"),  # lightning's command line
    pytest.mark.filterwarnings("ignore:.*skip_none.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:No (positive|negative) samples"),
]

TINY = {"dim": 8, "depth": 1, "heads": 2, "summary_hidden": 8, "dropout": 0.0, "summary_dropout": 0.0}
UNITS = "{HR: {to: Hz, unit: 0.0167}}"


class Run(NamedTuple):
    """A training on a table: the command line's options, and the run's folder."""

    options: list[str]
    folder: Path

    def __call__(self, subcommand: str, *options: str, checkpoint: str = "best.ckpt") -> None:
        main([subcommand, *self.options, "--ckpt_path", str(self.folder / checkpoint), *options])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Of 60 subjects, 42 train, 6 validate and 12 test."""
    folder = tmp_path_factory.mktemp("compare")
    for path in write_table(folder, 60):
        path.write_text(re.sub(r"^s(\d+),", lambda found: f"patient{int(found[1]):03},", path.read_text(), flags=re.M))
    model = {"model_options": TINY, "baselines": [], "recalibrate": None}
    entries = {
        "model": {"class_path": "EventClassificationTask", "init_args": model},
        "data": {
            "class_path": "EventTableData",
            "init_args": {"path": str(folder / "events.csv"), "labels": str(folder / "labels.csv"), "units": None},
        },
        "trainer": {"max_epochs": 1, "accelerator": "cpu", "devices": 1, "enable_progress_bar": False},
    }
    (folder / "run.yaml").write_text(json.dumps(entries))
    options = ["--config", str(folder / "run.yaml"), "--trainer.default_root_dir", str(folder / "runs")]
    main(["fit", *options, "--data.units", UNITS])
    return Run(options, folder / "runs" / "run" / "version_0")


AS_TRAINED = ("--data.units", UNITS)


def metrics(run: Run) -> dict[str, float]:
    return json.loads((run.folder / "metrics.json").read_text())


def test_the_checkpoint_holds_no_names(run: Run) -> None:
    for name in ("best.ckpt", "last.ckpt"):
        assert b"patient0" not in (run.folder / name).read_bytes()
        stored = read_checkpoint(run.folder / name)["training_subjects"]
        assert [len(stored[part]) for part in ("train", "val")] == [42, 6]
    assert b"timeseries.EventTableData" in (run.folder / "best.ckpt").read_bytes(), "text can be found in the file"


def test_the_split_of_the_training_may_be_tested(run: Run) -> None:
    run("test", *AS_TRAINED)
    run("validate", *AS_TRAINED)
    assert not [name for name in metrics(run) if name.endswith("/known_subjects")]


@pytest.mark.parametrize(
    ("subcommand", "options", "message"),
    [
        ("test", ["--data.all_test", "true"], "of the 60 subjects of the test part, 42 trained this model and 6 chose"),
        ("test", ["--data.split_seed", "1"], r"of the 12 subjects of the test part, \d+ trained"),
        ("validate", ["--data.split_seed", "1"], r"of the 6 subjects of the val part, \d+ trained this model\."),
    ],
)
def test_whoever_trained_is_refused_unless_it_is_asked_for(
    run: Run, subcommand: str, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before, folders = metrics(run), set(run.folder.parent.iterdir())
    with pytest.raises(SystemExit):
        run(subcommand, *AS_TRAINED, *options)
    shown = capsys.readouterr().err
    assert re.search(message, shown) and "--data.allow_overlap true" in shown
    assert metrics(run) == before and set(run.folder.parent.iterdir()) == folders
    run(subcommand, *AS_TRAINED, *options, "--data.allow_overlap", "true")
    assert re.search("warning: of the", capsys.readouterr().err)
    known = [value for name, value in metrics(run).items() if name.endswith("/known_subjects")]
    assert max(known) > 0
    run(subcommand, *AS_TRAINED)
    assert metrics(run)[f"{'val' if subcommand == 'validate' else 'test'}/known_subjects"] == 0


def test_whoever_trained_may_be_predicted_and_it_is_said(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    table = tmp_path / "table.csv"
    run("predict", *AS_TRAINED, "--data.all_test", "true", "--out", str(table))
    assert "note: of the 60 subjects of the test part, 42 trained this model" in capsys.readouterr().err
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["id", "subject", "prediction_time", "target", "probability_target"]
    assert [row["subject"] for row in rows] == [f"patient{k:03}" for k in range(60)]
    assert rows[7]["id"] == "patient007@24" and rows[7]["prediction_time"] == "24.0"


def test_a_run_goes_on_with_its_own_subjects_and_rules(run: Run, capsys: pytest.CaptureFixture) -> None:
    folders = set(run.folder.parent.iterdir())
    for options, message in (
        (
            [*AS_TRAINED, "--data.split_seed", "1"],
            "the 42 subjects that the run to resume trained on and the 6 that it validated on, got 42 and 6 that are",
        ),
        (
            [*AS_TRAINED, "--data.window", "5"],
            "data.window: expected None, as the model was fitted with, got 5.0; leave the options",
        ),
        (["--data.allow_other_rules", "[units]"], "data.units: expected {'HR'"),
    ):
        with pytest.raises(SystemExit):
            run("fit", *options, checkpoint="last.ckpt")
        assert message in capsys.readouterr().err
    assert set(run.folder.parent.iterdir()) == folders
    run("fit", *AS_TRAINED, "--trainer.max_epochs", "2", "--test_after_fit", "true", checkpoint="last.ckpt")
    (other,) = set(run.folder.parent.iterdir()) - folders
    tested = json.loads((other / "metrics.json").read_text())
    assert "test/auroc" in tested and "test/known_subjects" not in tested


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ([], "units"),
        ([*AS_TRAINED, "--data.time_unit", "days", "--data.after_prediction", "drop"], "time_unit"),
        ([*AS_TRAINED, "--data.missing", "[80]"], "missing"),
        ([*AS_TRAINED, "--data.unseen", "unknown"], "unseen"),
        ([*AS_TRAINED, "--data.empty_time", "static"], "empty_time"),
        ([*AS_TRAINED, "--data.text", "flag"], "text"),
    ],
)
def test_other_rules_of_reading_are_refused(
    run: Run, tmp_path: Path, options: list[str], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    table = ["--out", str(tmp_path / "table.csv")]
    with pytest.raises(SystemExit):
        run("predict", *options, *table)
    shown = capsys.readouterr().err
    assert f"data.{name}: expected " in shown and f"--data.allow_other_rules '[{name}]'" in shown
    assert not (tmp_path / "table.csv").exists()
    if name != "unseen":  # the model has no place for unknown codes
        run("predict", *options, *table, "--data.allow_other_rules", f"[{name}]")
        assert f"note: data.{name}: expected " in capsys.readouterr().err


def test_a_checkpoint_from_before_is_loaded_with_a_note(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    checkpoint = read_checkpoint(run.folder / "best.ckpt")
    del checkpoint["training_subjects"]
    torch.save(checkpoint, tmp_path / "old.ckpt")
    run("test", *AS_TRAINED, "--data.all_test", "true", checkpoint=str(tmp_path / "old.ckpt"))
    assert capsys.readouterr().err.count("note: the checkpoint does not say who trained the model") == 1


def test_rules_are_compared_by_what_they_say() -> None:
    stored = {
        "missing": [-1, 9],
        "units": {"a": {"to": "x", "y": [1, 2]}, "b": {"to": "z"}},
        "text": "code",
        "gone": [],
    }
    asked = {
        "missing": (-1.0, 9),
        "units": {"b": {"to": "z"}, "a": {"y": (1.0, 2), "to": "x"}},
        "text": "code",
        "new": 1,
    }
    rules = ("missing", "units", "text", "gone", "new")
    assert differing_rules(stored, asked, rules) == []
    for name, value in (
        ("missing", [9, -1]),
        ("units", {"a": {"to": "x", "y": [1, 3]}, "b": {"to": "z"}}),
        ("text", "flag"),
    ):
        with pytest.raises(ValueError, match=rf"data\.{name}: expected .*\[{name}\]"):
            differing_rules(stored, {**asked, name: value}, rules)
    (note,) = differing_rules({"columns": {"time": "at"}}, {"columns": None}, ("text",), ("columns",))
    assert note == "note: data.columns: expected {'time': 'at'}, as the model was fitted with, got None"
    with pytest.raises(ValueError, match="allow_other_rules: expected names of text, got 'txt'"):
        differing_rules({}, {}, ("text",), allowed=["txt"])


class Held(EventDataModule):
    """Samples in memory."""

    held: EventSamples

    def load(self) -> LoadedEvents:
        return LoadedEvents(self.held)


def held(**options: object) -> Held:
    data = Held(batch_size=16, **options)  # type: ignore[arg-type]
    data.held = drawn(60)  # not an argument: those are saved in checkpoints
    return data


def trainer(folder: Path) -> L.Trainer:
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    return L.Trainer(
        default_root_dir=folder, max_epochs=1, accelerator="cpu", devices=1, num_sanity_val_steps=0, **quiet
    )


def test_from_python_the_same_is_refused(tmp_path: Path) -> None:
    task = EventClassificationTask(model_options=TINY, baselines=[], recalibrate=None)
    one = trainer(tmp_path)
    one.fit(task, held())
    one.save_checkpoint(tmp_path / "one.ckpt")
    (scores,) = one.test(task, held(), verbose=False)
    assert "test/auroc" in scores and "test/known_subjects" not in scores
    (scores,) = trainer(tmp_path).test(task, held(all_test=True, allow_overlap=True), verbose=False)
    assert scores["test/known_subjects"] == 48
    with pytest.raises(
        ValueError,
        match=r"test: expected subjects that the model does not know, got others: of the 60 .* test part, 42 trained",
    ):
        trainer(tmp_path).test(task, held(all_test=True), verbose=False)
    options = {name: value for name, value in task.hparams.items() if not name.startswith("_")}
    fresh = EventClassificationTask(**options)
    with pytest.raises(
        ValueError,
        match=r"test: expected subjects that the model does not know, got others: of the 60 .* test part, 42 trained",
    ):
        trainer(tmp_path).test(fresh, held(all_test=True), ckpt_path=tmp_path / "one.ckpt", verbose=False)
    with pytest.raises(
        ValueError,
        match=r"test: expected subjects that the model does not know, got others: of the 60 .* test part, 42 trained",
    ):
        trainer(tmp_path).test(load_task(tmp_path / "one.ckpt"), held(all_test=True), verbose=False)
    with pytest.raises(ValueError, match="ckpt_path: expected the 42 subjects that the run to resume trained on"):
        trainer(tmp_path).fit(EventClassificationTask(**options), held(split_seed=3), ckpt_path=tmp_path / "one.ckpt")
    data = held(all_test=True, allow_overlap=True)
    data.setup()
    data.compare(read_checkpoint(tmp_path / "one.ckpt"), "test")
    assert data.overlap == (60, 42, 6)


def test_other_columns_are_said(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """New files may name their columns otherwise."""
    path, labels = write_table(tmp_path, 20)
    path.write_text(path.read_text().replace("subject,time,", "stay,time,", 1))
    data = EventTableData(
        str(path), str(labels), columns={"subject": "stay"}, units={"HR": {"to": "Hz", "unit": 0.0167}}
    )
    data.setup()
    data.compare(read_checkpoint(run.folder / "best.ckpt"), "test")
    assert (
        "note: data.columns: expected None, as the model was fitted with, got {'subject': 'stay'}"
        in capsys.readouterr().err
    )
    assert data.overlap is not None and data.overlap.trained == 0
