"""What a run leaves behind, and what tells a whole one from a broken one."""

import csv
import os
from pathlib import Path

import pytest
import torch
from lightning import Callback

from core.training import read_checkpoint
from core.training.files import read_json, replacing, write_json
from core.training.run.environment import git_revision, masked, versions
from core.training.run.folder import _claim

from ..conftest import read
from ..toy import ToyTask

FILES = {"config.yaml", "environment.json", "metrics.csv", "best.ckpt", "last.ckpt", "metrics.json", "baselines.json"}


class Fails(Callback):
    """Stops in the second epoch."""

    def on_train_epoch_start(self, trainer, pl_module) -> None:
        if trainer.current_epoch == 1:
            raise ValueError("on purpose")


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_holds_everything_and_a_second_one_overwrites_nothing(lightning, tmp_path: Path) -> None:
    for _ in range(2):
        assert lightning("fit").status == 0
    first, second = (tmp_path / f"runs/toy/version_{n}" for n in (0, 1))
    assert {p.name for p in first.iterdir()} == {p.name for p in second.iterdir()} == FILES
    for name in ("metrics.csv", "metrics.json"):  # the same seed, the same numbers
        assert (first / name).read_bytes() == (second / name).read_bytes()
    metrics = read(first / "metrics.json")
    assert set(metrics) == {"train/loss", "val/loss", "val/accuracy", "val/auroc", "val/auprc"}
    table = rows(first / "metrics.csv")
    assert [int(row["epoch"]) for row in table] == [0, 1, 2] and [int(row["step"]) for row in table] == [3, 7, 11]
    assert {key: float(table[-1][key]) for key in metrics} == metrics
    record = read(first / "environment.json")
    assert record["status"] == "complete" and record["seed"] == 0 and record["device"] == "cpu"
    assert record["threads"] == torch.get_num_threads() and record["task"] == "ToyTask"
    assert record["data"]["licence"] == "CC0-1.0" and record["data"]["fingerprint"].startswith("sha256:")
    assert record["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert list(read(first / "baselines.json")) == ["majority"]


def test_best_is_the_best_and_last_is_the_last(lightning, tmp_path: Path) -> None:
    assert lightning("fit", "--trainer.max_epochs", 6, "--model.lr", 0.3).status == 0
    folder = tmp_path / "runs/toy/version_0"
    scores = [float(row["val/accuracy"]) for row in rows(folder / "metrics.csv")]
    assert scores.index(max(scores)) < 5, "the toy must get worse for this test to see a difference"
    assert read_checkpoint(folder / "best.ckpt")["epoch"] == scores.index(max(scores))
    assert read_checkpoint(folder / "last.ckpt")["epoch"] == 5
    result = lightning("validate", "--ckpt_path", folder / "best.ckpt", "--model.lr", 0.3)
    assert result.status == 0 and read(folder / "metrics.json")["val/accuracy"] == pytest.approx(max(scores))


def test_config_runs_again_as_it_is(lightning, tmp_path: Path) -> None:
    assert lightning("fit", "--model.width", 5, "--ema", 0.5).status == 0
    first = tmp_path / "runs/toy/version_0"
    assert lightning("fit", config=first / "config.yaml").status == 0
    assert (tmp_path / "runs/toy/version_1/metrics.csv").read_text() == (first / "metrics.csv").read_text()


def test_a_test_goes_into_the_run_of_its_checkpoint(lightning, tmp_path: Path) -> None:
    assert lightning("fit").status == 0
    folder = tmp_path / "runs/toy/version_0"
    before = read(folder / "metrics.json")
    result = lightning("test", "--ckpt_path", folder / "best.ckpt")
    assert result.status == 0 and f"run: {folder}" in result.out
    after = read(folder / "metrics.json")
    assert before.items() < after.items() and {"test/accuracy", "test/auroc", "test/auprc", "test/loss"} <= set(after)
    assert set(read(folder / "baselines.json")["majority"]) == {"val/accuracy", "test/accuracy"}
    assert read(folder / "environment.json")["evaluations"] == {"test": str(folder / "best.ckpt")}
    assert lightning("test", "--ckpt_path", folder / "best.ckpt", "--data.seed", 5).status == 0  # other data
    assert read(folder / "metrics.json") == after
    other = tmp_path / "runs/toy/version_1"
    assert set(read(other / "metrics.json")) == {"test/accuracy", "test/auroc", "test/auprc", "test/loss"}


def test_baselines_that_fail_lose_no_metrics(lightning, tmp_path: Path, monkeypatch) -> None:
    assert lightning("fit").status == 0
    folder = tmp_path / "runs/toy/version_0"

    def fail(task: ToyTask, stage: str) -> dict[str, dict[str, float]]:
        raise ValueError(f"{stage}: too few samples")

    monkeypatch.setattr(ToyTask, "baselines", fail)
    result = lightning("test", "--ckpt_path", folder / "best.ckpt")
    assert result.status == 1 and result.err.rstrip().endswith("attention-suite: error: test: too few samples")
    assert {"test/accuracy", "test/auroc", "test/auprc", "test/loss"} <= set(read(folder / "metrics.json"))


def test_without_validation_best_is_the_final_state(lightning, tmp_path: Path) -> None:
    assert lightning("fit", "--data.val", "false").status == 0
    folder = tmp_path / "runs/toy/version_0"
    assert (folder / "best.ckpt").read_bytes() == (folder / "last.ckpt").read_bytes()
    assert set(read(folder / "metrics.json")) == {"train/loss"}
    result = lightning("validate", "--data.val", "false", "--ckpt_path", folder / "best.ckpt")
    assert result.status == 1 and "expected validation data, got none" in result.err


def test_a_run_that_fails_says_so(lightning, tmp_path: Path) -> None:
    result = lightning("fit", "--trainer.callbacks+=tests.core.training.run.test_folder.Fails")
    assert result.status == 1 and result.err.rstrip().endswith("attention-suite: error: on purpose")
    folder = tmp_path / "runs/toy/version_0"
    assert read(folder / "environment.json")["status"] == "failed" and not (folder / "metrics.json").exists()


def test_nothing_is_written_by_a_fast_dev_run(lightning, tmp_path: Path) -> None:
    assert lightning("fit", "--trainer.fast_dev_run", "true").status == 0
    assert not (tmp_path / "runs").exists()


def test_short_cuts_reach_the_trainer(lightning, tmp_path: Path) -> None:
    result = lightning("fit", "--early_stopping", 2, "--trainer.max_epochs", 50, "--model.lr", 1e-9,
                       "--trainer.gradient_clip_val", 1.0)  # fmt: skip
    assert result.status == 0
    assert read_checkpoint(tmp_path / "runs/toy/version_0/last.ckpt")["epoch"] == 2  # no step changes the accuracy


def test_averaged_weights_are_what_is_saved_and_tested(lightning, tmp_path: Path) -> None:
    assert lightning("fit", "--ema", 0.5, "--trainer.max_epochs", 1, "--checkpoint_every", 1).status == 0
    saved = read_checkpoint(tmp_path / "runs/toy/version_0/last.ckpt")
    now, average = saved["current_model_state"], saved["state_dict"]
    assert any(not torch.equal(now[name], average[name]) for name in now)
    assert average["model.1.num_batches_tracked"].dtype == torch.int64
    assert torch.isfinite(average["model.1.running_var"]).all() and (average["model.1.running_var"] > 0).all()
    again = lightning("validate", "--ckpt_path", tmp_path / "runs/toy/version_0/last.ckpt")
    assert again.status == 0
    metrics = read(tmp_path / "runs/toy/version_0/metrics.json")
    table = rows(tmp_path / "runs/toy/version_0/metrics.csv")
    assert metrics["val/loss"] == pytest.approx(float(table[-1]["val/loss"]), abs=1e-7)


@pytest.mark.parametrize("ema", [[], ["--ema", "0.9"]])
def test_a_fit_may_end_with_a_test_of_its_best(lightning, tmp_path: Path, ema: list[str]) -> None:
    lightning("fit", "--trainer.max_epochs", 6, "--model.lr", 0.3, "--test_after_fit", "true", *ema)
    folder = tmp_path / "runs/toy/version_0"
    both = read(folder / "metrics.json")
    lightning("test", "--ckpt_path", folder / "best.ckpt")
    assert {"val/loss", "test/loss"} <= set(both) and read(folder / "metrics.json") == both
    assert not (tmp_path / "runs/toy/version_1").exists()


def test_a_finished_run_goes_on_in_a_new_folder_with_its_best(lightning, tmp_path: Path) -> None:
    assert lightning("fit").status == 0
    first, second = (tmp_path / f"runs/toy/version_{n}" for n in (0, 1))
    kept = {p.name: p.read_bytes() for p in first.iterdir()}
    assert lightning("fit", "--ckpt_path", first / "last.ckpt", "--trainer.max_epochs", 4).status == 0
    assert {p.name: p.read_bytes() for p in first.iterdir()} == kept
    assert [int(row["epoch"]) for row in rows(second / "metrics.csv")] == [0, 1, 2, 3]
    assert (second / "best.ckpt").is_file()


def test_claimed_folders_are_never_shared(tmp_path: Path) -> None:
    (tmp_path / "version_7").mkdir()
    (tmp_path / "version_x").mkdir()
    assert [_claim(tmp_path).name for _ in range(2)] == ["version_8", "version_9"]


def test_files_are_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"b": 1})

    def fail() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        fail()
    assert read_json(path) == {"b": 1} and os.listdir(tmp_path) == ["a.json"]
    path.write_text("{")
    with pytest.raises(ValueError, match=r"a\.json, line 1: expected JSON"):
        read_json(path)


def test_versions_and_revision() -> None:
    assert {"python", "torch", "lightning", "torchmetrics"} <= set(versions())
    assert "pytest" not in versions()
    assert git_revision(Path("/")) is None


@pytest.mark.parametrize("name", ["../elsewhere", "/tmp/elsewhere", "a/b", "..", ""])
def test_a_run_stays_inside_its_root(lightning, tmp_path: Path, name: str) -> None:
    result = lightning("fit", f"--run_name={name}")
    if name == "":  # nothing was asked for: the configuration's name
        assert result.status == 0 and (tmp_path / "runs/toy/version_0").is_dir()
        return
    assert result.status == 1 and "run_name: expected a name of a folder inside" in result.err
    assert not (tmp_path / "elsewhere").exists()


def test_secrets_do_not_stand_in_the_environment() -> None:
    words = ["fit", "--trainer.logger.api_key=abc", "--x.token", "def", "--data.seed", "3", "--password", "--lr", "1"]
    shown = ["fit", "--trainer.logger.api_key=***", "--x.token", "***", "--data.seed", "3", "--password", "--lr", "1"]
    assert masked(words) == shown
    assert masked(["--tokens", "5", "--model.token_width=3"]) == ["--tokens", "5", "--model.token_width=3"]
