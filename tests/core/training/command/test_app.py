"""The command line as a user meets it: what it does, and the one message when it cannot."""

import os
import pickle
import signal
from abc import abstractmethod
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from lightning import Callback
from lightning.pytorch.loggers.logger import DummyLogger

from core.extras import MissingExtraError
from core.training import DataModule, StepOutput, Task
from core.training.cli import main
from core.training.command.app import _config_name, _configs_first
from core.training.command.domains import load_domains, offer

from ..conftest import CONFIG, read
from ..toy import ToyData, ToyTask


@pytest.fixture
def run_folder(lightning, tmp_path: Path) -> Path:
    """A trained toy; width 4 stands in its checkpoint, 8 is the default."""
    assert lightning("fit", "--model.width", 4, "--trainer.max_epochs", 1).status == 0
    return tmp_path / "runs/toy/version_0"


class Point:
    """An entry point that fails as `error`, or loads; of our distribution, or of another."""

    def __init__(self, name: str, error: Exception | None, dist: str = "attention-suite") -> None:
        self.name, self.module, self.error, self.dist = name, name, error, SimpleNamespace(name=dist)

    def load(self) -> None:
        if self.error is not None:
            raise self.error


def test_a_domain_that_fails_does_not_hinder_the_others(monkeypatch: pytest.MonkeyPatch, lightning) -> None:
    points = [
        Point("vision", ModuleNotFoundError("No module named 'timm'", name="timm")),
        Point("graphs", RuntimeError("broken")),
        Point("timeseries", None),
        Point("audio", ModuleNotFoundError("No module named 'soundfile'", name="soundfile"), "audio-domain"),
        Point("tones", MissingExtraError("vision", ModuleNotFoundError(name="timm"), "vision"), "tone-domain"),
    ]
    monkeypatch.setattr("attention_suite.domains.entry_points", lambda group: points)
    vision = 'vision needs timm: pip install "attention-suite[vision]"'
    audio = "audio (distribution audio-domain) needs soundfile: pip install soundfile"
    assert {d.name: d.problem for d in load_domains()} == {
        "audio": audio,
        "graphs": "graphs cannot be imported: RuntimeError: broken",
        "timeseries": None,
        "tones": f"tones (distribution tone-domain): {vision}",
        "vision": vision,
    }
    assert lightning("fit", "--trainer.max_epochs", 1).status == 0
    result = lightning("fit", "--model", "SomeVisionTask")
    assert result.status == 2 and vision in result.err and audio in result.err


def test_a_domain_from_outside_offers_what_it_exports() -> None:
    module = ModuleType("tests.core.training.toy")
    vars(module).update(Task=Task, ToyTask=ToyTask, Other=ToyTask, _Private=ToyData, DataModule=DataModule)
    assert offer(module) == {
        "needs": [],
        "tasks": {"ToyTask": "Two classes of points by a small network with dropout and batch norm."},
        "data": {},
    }
    module.__all__ = ["ToyData"]
    module.ToyData = ToyData
    assert offer(module) == {"needs": [], "tasks": {}, "data": {"ToyData": "Points in the plane, two classes."}}


class Unmade(ToyTask):
    """Cannot be made."""

    @abstractmethod
    def missing(self) -> None: ...


def test_what_is_abstract_or_not_exported_is_not_offered() -> None:
    module = ModuleType(__name__)
    module.Unmade = Unmade
    assert not offer(module)["tasks"]
    import timeseries

    assert list(offer(timeseries)["tasks"]) == ["EventClassificationTask"]  # not the mixin that remembers subjects


WRONG = {
    "unknown key": (["--model.widht", "3"], "model (ToyTask): there is no option 'widht'; did you mean 'width'?"),
    "unknown key of a base": (["--model.weight_dekay", "3"], "did you mean 'weight_decay'?"),
    "unknown key of the data": (["--data.batchsize", "3"], "data (ToyData): there is no option 'batchsize'; did"),
    "unknown trainer key": (["--trainer.max_epoch", "3"], "'trainer.max_epoch'; did you mean 'trainer.max_epochs'?"),
    "unknown task": (["--model", "ToyTusk"], "model: there is no class 'ToyTusk'; did you mean 'ToyTask'?"),
    "unknown data": (["--data", "ToyDate"], "data: there is no class 'ToyDate'; did you mean 'ToyData'?"),
    "unknown module": (["--model", "no.such.Task"], "model: no class 'no.such.Task': there is no module 'no'"),
    "unknown callback": (["--trainer.callbacks+=EarlyStoping"], "there is no class 'EarlyStoping'"),
    "logger of no package": (["--trainer.logger", "BarrenLogger"], "trainer.logger: needs barren: pip install barren"),
    "loggers of no package": (["--trainer.logger+=BarrenLogger"], "trainer.logger: needs barren: pip install barren"),
    "callback of no package": (["--trainer.callbacks+=needy.Callback"], "callbacks: needy.Callback needs barren: pip"),
    "task of no package": (["--model", "needy.Task"], "model: needy.Task needs barren: pip install barren"),
    "incomplete callback": (["--trainer.callbacks+=EarlyStopping"], "(EarlyStopping): missing monitor"),
    "wrong type": (["--model.lr", "fast"], "model.lr: expected float, got 'fast'"),
    "wrong type of the trainer": (["--trainer.max_epochs", "x"], ".max_epochs: expected int or nothing, got 'x'"),
    "missing configuration": (["--config", "no.yaml"], "no.yaml"),
    "missing checkpoint": (["--ckpt_path", "no.ckpt"], "ckpt_path: expected a checkpoint file, got no.ckpt"),
    "checkpoint by a word": (["--ckpt_path", "best"], "ckpt_path: expected a checkpoint file, got 'best'"),
    "bad data": (["--data.bad", "true"], "data.n: expected points, got nothing"),
    "bad batch size": (["--data.batch_size", "0"], "batch_size: expected a positive number, got 0"),
    "bad value of a task": (["--model.warmup_fraction", "2"], "warmup_fraction: expected 0 <= fraction < 1, got 2.0"),
    "wrong type of what may be left out": (["--model.warmup_epochs", "x"], "model.warmup_epochs: expected float or"),
    "task that lacks a method": (["--model", "Half"], "a Task that can be made, got Half, which lacks predict_step"),
    "no such device": (["--trainer.accelerator", "abacus"], "abacus"),
    "no end": (["--trainer.max_epochs", "-1"], "trainer.max_steps: expected an end"),
}  # fmt: skip


class Half(Task):
    """Lacks predict_step."""

    def shared_step(self, batch: Any, stage: str) -> StepOutput:
        raise AssertionError


class BarrenLogger(DummyLogger):
    """Wants a package, as Lightning's loggers say it."""

    def __init__(self) -> None:
        raise ModuleNotFoundError(
            "Neither `barren` nor `barrenX` is available.\nRequirement 'barrenX' not met. HINT: Try running ...\n"
            "Requirement 'barren>=1.0' not met. HINT: Try running `pip install -U 'barren'`"
        )


@pytest.mark.parametrize("name", WRONG)
def test_one_message_for_a_mistake(name: str, lightning, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments, message = WRONG[name]
    (tmp_path / "needy.py").write_text("import barren\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    result = lightning("fit", *arguments)
    errors = [line for line in result.err.splitlines() if line.startswith("attention-suite: error: ")]
    assert result.status in (1, 2) and len(errors) == 1 and message in errors[0], result.err
    assert "Traceback" not in result.err
    assert not list(tmp_path.glob("runs/*/*/metrics.json"))
    for folder in tmp_path.glob("runs/*/*/environment.json"):
        assert read(folder)["status"] != "complete"


def test_mistakes_in_the_file_are_found_too(lightning, tmp_path: Path) -> None:
    text = CONFIG.read_text()
    for old, new, message in (
        ("lr: 0.01", "lr: 0.01, drpout: 0.1", "model (ToyTask): there is no option 'drpout'; did you mean 'dropout'?"),
        ("max_epochs", "max_epoch", "there is no option 'trainer.max_epoch'; did you mean 'trainer.max_epochs'?"),
        ("data:", "dat:", "did you mean 'data'?"),
        ("model:", "model: {", "config"),
    ):
        path = tmp_path / "wrong.yaml"
        path.write_text(text.replace(old, new))
        result = lightning("fit", config=path)
        assert result.status == 2 and message in result.err, result.err
    assert "give a --config, or --model and --data" in lightning("fit", config=None).err
    assert not (tmp_path / "runs").exists()


def test_debug_shows_where(lightning, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="expected points"):
        lightning("fit", "--data.bad", "true", "--debug")
    monkeypatch.setenv("ATTENTION_SUITE_DEBUG", "1")
    with pytest.raises(ValueError, match="expected points"):
        lightning("fit", "--data.bad", "true")


def test_a_stored_option_comes_before_the_file_and_a_typed_one_before_both(lightning, run_folder: Path) -> None:
    best = run_folder / "best.ckpt"
    stored = lightning("test", "--ckpt_path", best)
    assert stored.status == 0 and "model.width = 4 from the checkpoint, not 8 from the configuration" in stored.err
    typed = lightning("test", "--model.dropout", 0.7, "--ckpt_path", best)
    assert typed.status == 0 and "model.dropout = 0.7 as typed, not 0.2 from the checkpoint" in typed.err
    same = lightning("test", config=run_folder / "config.yaml")
    assert same.status == 0 and "without --ckpt_path" in same.err
    assert "note" not in lightning("test", "--ckpt_path", best, config=run_folder / "config.yaml").err
    wrong = lightning("test", "--model.width", 5, "--ckpt_path", best)
    assert wrong.status == 1 and "got one of another model" in wrong.err
    assert "model.0.weight: (4, 2) saved, (5, 2) built" in wrong.err


def test_a_resumed_run_takes_no_other_options(lightning, run_folder: Path, tmp_path: Path) -> None:
    last = run_folder / "last.ckpt"
    result = lightning("fit", "--model.lr", 0.5, "--ckpt_path", last)
    assert result.status == 1 and "model.lr: expected 0.01, as the run that is resumed has, got 0.5" in result.err
    assert [p.name for p in tmp_path.glob("runs/toy/*")] == ["version_0"]
    result = lightning("fit", "--ckpt_path", last, "--trainer.max_epochs", 2)
    assert result.status == 0 and "model.width = 4 from the checkpoint" in result.err
    assert torch.load(tmp_path / "runs/toy/version_1/last.ckpt", weights_only=True)["epoch"] == 1


def test_weights_alone_cannot_be_resumed(lightning, run_folder: Path, tmp_path: Path) -> None:
    whole = torch.load(run_folder / "last.ckpt", weights_only=True)
    kept = ("state_dict", "hyper_parameters", "epoch", "global_step", "pytorch-lightning_version")
    torch.save({key: whole[key] for key in kept}, tmp_path / "weights.ckpt")
    result = lightning("fit", "--ckpt_path", tmp_path / "weights.ckpt")
    assert result.status == 1 and "holds weights alone" in result.err
    assert lightning("test", "--ckpt_path", tmp_path / "weights.ckpt").status == 0


class Evil:
    """Would make a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.mark.parametrize("subcommand", ["fit", "test", "predict"])
def test_pickled_code_is_refused_and_not_run(subcommand: str, lightning, run_folder: Path, tmp_path: Path) -> None:
    whole = torch.load(run_folder / "last.ckpt", weights_only=True)
    torch.save({**whole, "evil": Evil(tmp_path / "zip")}, tmp_path / "zip.ckpt")
    (tmp_path / "plain.ckpt").write_bytes(pickle.dumps({"state_dict": Evil(tmp_path / "plain")}))
    result = lightning(subcommand, "--ckpt_path", tmp_path / "zip.ckpt")
    assert result.status == 1 and "holds pickled code (io.open)" in result.err, result.err
    result = lightning(subcommand, "--ckpt_path", tmp_path / "plain.ckpt")
    assert result.status == 1 and "no checkpoint" in result.err
    assert not (tmp_path / "zip").exists() and not (tmp_path / "plain").exists()


def test_damaged_and_foreign_files_are_named(lightning, run_folder: Path, tmp_path: Path) -> None:
    whole = (run_folder / "last.ckpt").read_bytes()
    for name, content in (("half", whole[: len(whole) // 2]), ("empty", b""), ("text", b"hello")):
        path = tmp_path / f"{name}.ckpt"
        path.write_bytes(content)
        result = lightning("test", "--ckpt_path", path)
        assert result.status == 1 and f"expected a checkpoint, got {path}, which is damaged" in result.err
    torch.save({"weights": torch.zeros(2)}, tmp_path / "other.ckpt")
    assert "it has no state_dict" in lightning("test", "--ckpt_path", tmp_path / "other.ckpt").err


def test_a_checkpoint_of_another_task_is_refused(lightning, run_folder: Path) -> None:
    other = "tests.core.training.test_task.FixedTask"
    result = lightning("test", "--model", other, "--ckpt_path", run_folder / "best.ckpt")
    assert result.status == 1 and f"checkpoint of {other}, as asked for" in result.err


def test_typed_options_win_wherever_they_stand(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert _configs_first(["fit", "--a=1", "--config", "x", "--b", "-c", "y", "--config=z"]) == [
        "fit", "--config", "x", "-c", "y", "--config=z", "--a=1", "--b",
    ]  # fmt: skip
    root = f"--trainer.default_root_dir={tmp_path}"
    main(["fit", "--model.width=3", "--trainer.max_epochs", "1", root, "--config", str(CONFIG)])
    stored = torch.load(tmp_path / "toy/version_0/last.ckpt", weights_only=True)
    assert stored["hyper_parameters"]["width"] == 3


def test_the_run_is_named_after_the_last_configuration(tmp_path: Path) -> None:
    assert _config_name(["fit", "--config", "a/x.yaml", "--config=b/y.yaml", "--model.lr", "1"]) == "y"
    assert _config_name(["fit"]) is None
    folder = tmp_path / "digits/version_3"
    folder.mkdir(parents=True)
    (folder / "environment.json").write_text("{}")
    assert _config_name(["fit", "-c", str(folder / "config.yaml")]) == "digits"


def test_a_printed_configuration_ends(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    def printed(*options: str) -> dict:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main(["fit", "--model", "ToyTask", "--data", "ToyData", *options, "--print_config"])
        assert stop.value.code in (None, 0)
        return yaml.safe_load(capsys.readouterr().out)

    start = printed()
    assert start["trainer"]["max_epochs"] == 20
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(start))
    main(["fit", "--config", str(path), "--trainer.max_epochs", "1", f"--trainer.default_root_dir={tmp_path}"])
    assert read(tmp_path / "mine/version_0/environment.json")["status"] == "complete"
    # whoever says when it ends is left alone
    assert printed("--trainer.max_epochs", "3")["trainer"]["max_epochs"] == 3
    assert printed("--trainer.max_steps", "9")["trainer"]["max_epochs"] is None
    assert printed("--trainer.max_time", "00:00:01:00")["trainer"]["max_epochs"] is None
    assert printed("--trainer.max_epochs", "-1")["trainer"]["max_epochs"] == -1


def test_what_is_not_printed_has_no_end_of_ours(lightning, tmp_path: Path) -> None:
    path = tmp_path / "steps.yaml"
    path.write_text(CONFIG.read_text().replace("max_epochs", "max_steps"))
    assert lightning("fit", config=path).status == 0
    stored = yaml.safe_load((tmp_path / "runs/steps/version_0/config.yaml").read_text())
    assert stored["trainer"]["max_steps"] == 3 and stored["trainer"].get("max_epochs") is None


class Stops(Callback):
    """What a user or a scheduler does in the middle of training."""

    def __init__(self, by: str) -> None:
        self.by = by

    def on_train_batch_end(self, *_: object) -> None:
        if self.by == "SIGTERM":
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            raise KeyboardInterrupt


@pytest.mark.parametrize(("by", "status"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_has_its_exit_code(by: str, status: int, lightning, tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    try:
        result = lightning("fit", "--trainer.callbacks+=Stops", f"--trainer.callbacks.by={by}")
    finally:
        signal.signal(signal.SIGINT, before)  # Lightning ignores it from its own end on
    assert result.status == status and "error" not in result.err
    assert read(tmp_path / "runs/toy/version_0/environment.json")["status"] == "interrupted"
