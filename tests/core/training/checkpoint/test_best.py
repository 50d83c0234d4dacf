"""Which validation is kept, and when a run stops waiting for a better one."""

import math
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from core.training import Best, DataModule, StepOutput, Task, classification_metrics, read_checkpoint

from ..conftest import read

NAN = math.nan


def taken(seen: list[tuple[float, float]], mode: str = "max", best: Best | None = None, counts: bool = True) -> list:
    best = best or Best()
    task = SimpleNamespace(monitor="val/x", monitor_mode=mode, validation_counts=counts)
    return [best.takes(SimpleNamespace(callback_metrics={"val/x": x, "val/loss": loss}), task) for x, loss in seen]


def test_numbers_are_better_than_nan_and_nan_goes_by_the_loss() -> None:
    assert taken([(0.5, 1), (0.5, 0), (0.6, 2), (0.4, 0)]) == [True, False, True, False]
    assert taken([(0.5, 1), (0.6, 0), (0.4, 2)], "min") == [True, False, True]
    assert taken([(NAN, 2), (NAN, 3), (NAN, 1), (0.1, 9), (NAN, 0), (0.2, 9)]) == [True, False, True, True, False, True]
    assert taken([(NAN, NAN), (NAN, 1), (NAN, NAN)]) == [False, True, False]
    assert taken([(0.5, 1)], counts=False) == [False]


def test_it_goes_on_from_a_checkpoint() -> None:
    first, again = Best(), Best()
    taken([(NAN, 2.0)], best=first)
    again.load_state_dict(first.state_dict())
    assert taken([(NAN, 3.0), (NAN, 1.0), (0.3, 9)], best=again) == [False, True, True]
    old = Best()
    old.load_state_dict({"best_score": NAN})  # written before a NaN was none
    assert taken([(0.1, 1.0)], best=old) == [True]


class OneClass(DataModule):
    """Six numbers; in validation all of class 1."""

    def setup(self, stage: str) -> None:
        x = torch.linspace(-1, 1, 6)
        self.train_set = TensorDataset(x, (x > 0).long())
        self.val_set = self.test_set = TensorDataset(x, torch.ones(6, dtype=torch.long))

    def fingerprint(self) -> str:
        return "sha256:one"


class Scripted(Task):
    """Its validation loss in each epoch, and the epochs that do not count, are given."""

    def __init__(self, losses: list[float], skip: int = 0, **options) -> None:
        super().__init__(**options)
        self.losses, self.skip = losses, skip
        self.model = nn.Linear(1, 1)
        self.use_metrics(classification_metrics(2), main="auroc", mode="max")

    @property
    def validation_counts(self) -> bool:
        return self.current_epoch >= self.skip

    def shared_step(self, batch, stage: str) -> StepOutput:
        x, y = batch
        z = self.model(x[:, None])[:, 0]
        if stage == "train":
            return StepOutput(nn.functional.binary_cross_entropy_with_logits(z, y.float()), size=len(y))
        return StepOutput(torch.tensor(self.losses[self.current_epoch]), z.sigmoid(), y)

    def predict_step(self, batch, batch_idx: int = 0):
        return {"probability": self.model(batch[0][:, None])[:, 0].sigmoid()}


def fit(lightning, losses: list[float], *args):
    task = ["--model", f"{__name__}.Scripted", "--model.losses", str(losses), "--data", f"{__name__}.OneClass"]
    more = ["--trainer.max_epochs", len(losses), "--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"]
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        result = lightning("fit", *task, *more, *args, config=None)
    return result, [str(one.message) for one in said if "not defined" in str(one.message)]


def epoch(path: Path) -> int:
    return read_checkpoint(path)["epoch"]


def test_an_undefined_main_metric_is_told_once_and_the_loss_decides(lightning, tmp_path: Path) -> None:
    result, said = fit(lightning, [0.5, 0.2, 0.4], "--test_after_fit", "false")
    assert result.status == 0, result.err
    folder = tmp_path / "runs/Scripted/version_0"
    assert epoch(folder / "best.ckpt") == 1 and epoch(folder / "last.ckpt") == 2
    assert len(said) == 1
    for part in ("val/auroc, val/auprc: not defined", "validation part", "two classes", "best.ckpt goes by val/loss"):
        assert part in said[0].replace("val/auprc, val/auroc", "val/auroc, val/auprc")
    metrics = read(folder / "metrics.json")
    assert metrics["val/auroc"] is None and metrics["val/accuracy"] is not None


def test_validations_that_do_not_count_are_never_the_best_and_are_not_waited_for(lightning, tmp_path: Path) -> None:
    losses = [0.1, 0.2, 0.9, 0.8, 0.85, 0.9, 0.1, 0.1]
    result, _ = fit(lightning, losses, "--model.skip", 2, "--early_stopping", 2)
    assert result.status == 0, result.err
    folder = tmp_path / "runs/Scripted/version_0"
    assert epoch(folder / "best.ckpt") == 3  # of the epochs from 2 on
    assert epoch(folder / "last.ckpt") == 5  # two validations without a better one
    result, _ = fit(lightning, [0.1, 0.2], "--model.skip", 5)
    folder = tmp_path / "runs/Scripted/version_1"
    assert (folder / "best.ckpt").read_bytes() == (folder / "last.ckpt").read_bytes()  # the final state is the best


def test_early_stopping_needs_something_to_go_by(lightning) -> None:
    result, _ = fit(lightning, [0.1, 0.2], "--early_stopping", 2, "--trainer.limit_val_batches", 0)
    assert result.status == 1 and "early_stopping: expected a validation to go by" in result.err
    result, _ = fit(lightning, [0.1, 0.2], "--early_stopping", 0)
    assert result.status == 1 and "early_stopping: expected at least 1 validation, got 0" in result.err


def test_early_stopping_survives_a_checkpoint(lightning, tmp_path: Path) -> None:
    """Stopped by hand after the first of the two validations that it waits for, the run ends where it would have."""
    losses = [0.1, 0.2, 0.3, 0.0]
    fit(lightning, losses, "--early_stopping", 2)
    folder = tmp_path / "runs/Scripted/version_0"
    assert epoch(folder / "last.ckpt") == 2
    fit(lightning, losses, "--early_stopping", 2, "--trainer.max_epochs", 2)
    half = tmp_path / "runs/Scripted/version_1"
    assert epoch(half / "last.ckpt") == 1
    result, _ = fit(lightning, losses, "--early_stopping", 2, "--ckpt_path", half / "last.ckpt")
    assert result.status == 0, result.err
    assert epoch(tmp_path / "runs/Scripted/version_2/last.ckpt") == 2


@pytest.mark.parametrize("value", [0, -1])
def test_patience_is_checked(value: int) -> None:
    from core.training import EarlyStop

    with pytest.raises(ValueError, match=f"got {value}"):
        EarlyStop(value)
