"""Checkpoints of an earlier state of this suite still load, predict, test and resume: tests/checkpoints/README.md.

The numbers are float32 sums, whose last digits depend on the processor. How far they lie from the truth was measured
when the files were written: `rounding` is the largest difference, relative to max(1, value), between the numbers of
this model in float32 and in float64, at least half a unit in the last place of 1 (2^-24). The error of a sum grows
at most linearly in the number of additions in a row; a processor with 16 lanes (AVX-512) adds n / 16 numbers in a row
where one without lanes adds n, so its error may be 16 times as large. Both sides of a comparison err: 32 roundings.
"""

import csv
import importlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from core.training import read_checkpoint
from core.training.cli import main

FOLDER = Path(__file__).parent / "checkpoints"
DOMAINS = ("vision", "genomics", "graphs", "timeseries")
CLASSES = {
    "vision": ("vision.ImageClassificationTask", "vision.DigitsData"),
    "genomics": ("genomics.MotifDetectionTask", "genomics.PlantedMotifs"),
    "graphs": ("graphs.SupplyChainTask", "graphs.SyntheticEconomy"),
    "timeseries": ("timeseries.EventClassificationTask", "timeseries.SyntheticEvents"),
}
"""The class paths of task and data that configurations and checkpoints hold."""

ROUNDINGS = 32
EXCHANGED = 1e-4
"""Of AUROC and AUPRC, which jump where two samples exchange their ranks: for vision's 360 images by 9e-6 a pair."""

each = pytest.mark.parametrize("domain", DOMAINS)


def checkpoint(domain: str) -> Path:
    return FOLDER / f"{domain}.pt"


def config(domain: str) -> Path:
    return FOLDER / f"{domain}.config.yaml"


def expected(domain: str) -> dict[str, Any]:
    return json.loads((FOLDER / f"{domain}.expected.json").read_text())


def near(domain: str, kind: str, value: float, more: float = 0.0) -> Any:
    tolerance = ROUNDINGS * expected(domain)["rounding"][kind] + more
    return pytest.approx(value, rel=tolerance, abs=tolerance)


def command(subcommand: str, domain: str, folder: Path, *options: str) -> Path:
    """Run the command line on the stored files, and answer the run's folder, which is inside `folder`."""
    files = ["--config", str(config(domain)), "--ckpt_path", str(checkpoint(domain))]
    main([subcommand, *files, "--trainer.default_root_dir", str(folder), "--run_name", "again", *options])
    return folder / "again" / "version_0"


def imported(path: str) -> type:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


@each
def test_predictions_are_those_of_old(domain: str, tmp_path: Path) -> None:
    command("predict", domain, tmp_path, "--out", str(tmp_path / "table.csv"))
    with (tmp_path / "table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == expected(domain)["rows"]
    found = {row["id"]: row for row in rows}
    for old in expected(domain)["predictions"]:
        new = found[str(old["id"])]
        assert list(new) == list(old)
        for name, value in old.items():
            if isinstance(value, float):
                assert float(new[name]) == near(domain, "predictions", value), name
            else:
                assert new[name] == str(value), name


@each
def test_metrics_are_those_of_old(domain: str, tmp_path: Path) -> None:
    metrics = json.loads((command("test", domain, tmp_path) / "metrics.json").read_text())
    old = expected(domain)["metrics"]
    assert list(metrics) == list(old)
    for name, value in old.items():
        ranks = EXCHANGED if name in ("test/auroc", "test/auprc") else 0.0
        assert metrics[name] == near(domain, "metrics", value, ranks), name


@each
def test_the_run_goes_on(domain: str, tmp_path: Path) -> None:
    old = read_checkpoint(checkpoint(domain))
    run = command("fit", domain, tmp_path, "--trainer.max_epochs", "3")
    new = read_checkpoint(run / "last.ckpt")
    assert (old["epoch"], new["epoch"]) == (1, 2)
    assert new["global_step"] * 2 == old["global_step"] * 3
    for before, after in zip(old["optimizer_states"], new["optimizer_states"], strict=True):
        assert before["state"].keys() == after["state"].keys()
        for key, state in before["state"].items():
            assert after["state"][key]["step"] * 2 == state["step"] * 3
    loss = json.loads((run / "metrics.json").read_text())["train/loss"]
    assert loss == near(domain, "resumed_train_loss", expected(domain)["resumed_train_loss"])


@each
def test_the_checkpoint_alone_gives_the_model(domain: str) -> None:
    task = imported(CLASSES[domain][0]).load_from_checkpoint(checkpoint(domain), map_location="cpu", weights_only=True)
    saved = read_checkpoint(checkpoint(domain))["state_dict"]
    loaded = task.state_dict()
    assert list(saved) == list(loaded) == expected(domain)["state_dict"]
    assert all(torch.equal(loaded[name], value) for name, value in saved.items())


def test_the_reader_of_detectors_gives_the_model() -> None:
    from genomics.detection import load_detector

    trained = load_detector(checkpoint("genomics"))
    saved = read_checkpoint(checkpoint("genomics"))["state_dict"]
    assert trained.length == int(saved["training_length"])
    assert [f"model.{name}" for name in trained.model.state_dict()] == [k for k in saved if k.startswith("model.")]


def test_the_reader_of_event_tasks_gives_the_model() -> None:
    from timeseries import load_task

    assert list(load_task(checkpoint("timeseries")).state_dict()) == expected("timeseries")["state_dict"]


@each
def test_class_paths_lead_to_the_classes(domain: str) -> None:
    asked = yaml.safe_load(config(domain).read_text())
    stored = read_checkpoint(checkpoint(domain))
    assert (asked["model"]["class_path"], asked["data"]["class_path"]) == CLASSES[domain]
    held = stored["hyper_parameters"]["_class_path"], stored["datamodule_hyper_parameters"]["_class_path"]
    assert held == CLASSES[domain]
    for path in held:
        assert imported(path).__name__ == path.rpartition(".")[2]
