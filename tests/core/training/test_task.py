"""Metrics against numbers worked out by hand, and what a task logs."""

import math
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from core.training import DataModule, StepOutput, Task, classification_metrics, hash_arrays, hash_files
from core.training import regression_metrics as regression

from .conftest import read
from .toy import ToyTask


class FixedData(DataModule):
    """Four numbers and their targets, in batches of three and one."""

    def setup(self, stage: str) -> None:
        self.train_set = self.val_set = self.test_set = TensorDataset(
            torch.tensor([0.0, 1.0, 2.0, 5.0]), torch.tensor([0.0, 2.0, 2.0, 4.0])
        )

    def fingerprint(self) -> str:
        return "sha256:fixed"


class FixedTask(Task):
    """Predicts the number itself; squared error."""

    def __init__(self, size: bool = True, **options) -> None:
        super().__init__(**options)
        self.model = nn.Linear(1, 1)
        self.size = size
        self.use_metrics(regression(), main="rmse", mode="min")

    def shared_step(self, batch, stage: str) -> StepOutput:
        x, y = batch
        loss = (x - y).square().mean() + 0 * self.model.weight.sum()
        return StepOutput(loss, x, y) if self.size else StepOutput(loss)

    def predict_step(self, batch, batch_idx: int = 0):
        return {"prediction": batch[0]}


def test_metrics_are_means_over_samples_not_over_batches(lightning, tmp_path: Path) -> None:
    where = f"{__name__}."
    args = ["--model", f"{where}FixedTask", "--data", f"{where}FixedData", "--data.batch_size", 3]
    result = lightning("fit", *args, "--trainer.max_epochs=1", "--trainer.accelerator=cpu", "--data.drop_last=false",
                       "--trainer.enable_progress_bar=false", config=None)  # fmt: skip
    assert result.status == 0, result.err
    metrics = read(tmp_path / "runs/FixedTask/version_0/metrics.json")
    # errors 0, -1, 0, 1; the targets' mean is 2 and their sum of squares about it is 8
    expected = {"val/loss": 0.5, "val/mae": 0.5, "val/rmse": math.sqrt(0.5), "val/r2": 0.75, "train/loss": 0.5}
    assert metrics == pytest.approx(expected, abs=1e-6)


def test_a_step_without_target_must_say_its_size(lightning) -> None:
    where = f"{__name__}."
    args = ["--model", f"{where}FixedTask", "--data", f"{where}FixedData", "--model.size", "false"]
    result = lightning("fit", *args, "--trainer.accelerator=cpu", "--trainer.max_epochs=1", config=None)
    assert result.status == 1 and "StepOutput.size" in result.err


def test_binary_metrics_by_hand() -> None:
    p, y = torch.tensor([0.1, 0.4, 0.35, 0.8]), torch.tensor([0, 0, 1, 1])
    got = {k: float(v) for k, v in classification_metrics(2)(p, y).items()}
    # three of the four (positive, negative) pairs are in order; precision is 1 at the first hit and 2/3 at the second
    assert got == pytest.approx({"accuracy": 0.75, "auroc": 0.75, "auprc": 0.5 * 1 + 0.5 * 2 / 3}, abs=1e-6)


def test_multiclass_accuracy_counts_samples() -> None:
    p = torch.tensor([[0.8, 0.1, 0.1], [0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.1, 0.2, 0.7], [0.2, 0.5, 0.3]])
    y = torch.tensor([0, 0, 0, 2, 2])
    y[4] = 1
    assert float(classification_metrics(3)(p, y)["accuracy"]) == pytest.approx(1.0)
    y[3] = 1
    got = classification_metrics(3)["accuracy"](p, y)
    assert float(got) == pytest.approx(0.8)  # the mean over classes would be (1 + 1/2) / 2 or less


def test_one_class_is_no_classification() -> None:
    with pytest.raises(ValueError, match="at least 2, got 1"):
        classification_metrics(1)


def test_hyperparameters_of_subclass_and_base_are_kept() -> None:
    task = ToyTask(width=3, lr=0.5)
    assert task.hparams["width"] == 3 and task.hparams["lr"] == 0.5 and task.hparams["weight_decay"] == 0.05


def test_warmup_fraction_is_checked() -> None:
    with pytest.raises(ValueError, match=r"warmup_fraction: expected 0 <= fraction < 1, got 1\.0"):
        ToyTask(warmup_fraction=1.0)


def test_what_a_subclass_must_write_is_named() -> None:
    with pytest.raises(TypeError, match=r"abstract class Task .*predict_step.*shared_step"):
        Task()
    with pytest.raises(NotImplementedError, match=r"DataModule\.fingerprint"):
        DataModule().fingerprint()


def test_what_the_data_decide_needs_a_method_that_builds() -> None:
    with pytest.raises(TypeError, match=r"Half: expected a method build\(known\) beside known_by_data, got none"):

        class Half(ToyTask):
            known_by_data = ("width",)


def test_missing_data_are_named() -> None:
    for name, said in (("train", "train"), ("val", "validation"), ("test", "test"), ("predict", "predict")):
        with pytest.raises(ValueError, match=f"DataModule: expected {said} data, got none"):
            getattr(DataModule(), f"{name}_dataloader")()


def test_fingerprints_see_values_types_shapes_and_names(tmp_path: Path) -> None:
    a = torch.arange(6)
    prints = [hash_arrays(x) for x in (a, a + 1, a.float(), a.reshape(2, 3), a.flip(0))]
    assert len(set(prints)) == 5 and prints[0] == hash_arrays(a.numpy()) and prints[0].startswith("sha256:")
    for name, text in (("a", "1"), ("b", "2"), ("c", "1")):
        (tmp_path / name).write_text(text)
    assert hash_files([tmp_path / "a", tmp_path / "b"]) == hash_files([tmp_path / "b", tmp_path / "a"])
    assert hash_files([tmp_path / "a"]) != hash_files([tmp_path / "c"])
