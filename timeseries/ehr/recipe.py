"""Train as the configuration files say, from Python: for benchmarks and demonstrations that train many models.

`attention-suite fit --config FILE` does the same in one run; here the self-supervised epochs can be shared by
models that differ only in what comes after them.
"""

import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
import yaml
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging
from torch import Tensor

from core.training import Best, EarlyStop, SafeCheckpointIO

from ..probabilities.recalibration import Recalibration
from .data import EventDataModule
from .task import EventClassificationTask


def read_recipe(path: str | Path) -> dict[str, Any]:
    """A configuration file as it stands."""
    return yaml.safe_load(Path(path).read_text(encoding="utf-8"))


def create(recipe: Mapping[str, Any], **changes: Any) -> EventClassificationTask:
    """The task of a recipe with other options; `architecture` is laid over that of the recipe."""
    options = dict(recipe["model"]["init_args"])
    architecture = {**options.pop("architecture", {}), **changes.pop("architecture", {})}
    return EventClassificationTask(**{**options, **changes, "architecture": architecture})


def train(
    recipe: Mapping[str, Any],
    data: EventDataModule,
    *,
    seed: int = 0,
    pretrained: Path | None = None,
    epochs: int | None = None,
    **changes: Any,
) -> EventClassificationTask:
    """Train one model and answer it, with its averaged weights, in evaluation mode.

    Args:
        recipe: See `read_recipe`.
        data: Set up; training shuffles by its own seed.
        seed: Of weights and dropout.
        pretrained: A checkpoint of `pretrain`, in place of the self-supervised epochs.
        epochs: In place of those of the recipe.
        changes: Options of the task.
    """
    L.seed_everything(seed, verbose=False)
    total = recipe["trainer"]["max_epochs"] if epochs is None else epochs
    if pretrained is not None:
        skipped = changes.get("pretrain_epochs", recipe["model"]["init_args"].get("pretrain_epochs", 0))
        changes |= {"pretrain_epochs": 0, "pretrained": str(pretrained)}
        total = total if epochs is not None else total - skipped
    task = create(recipe, **changes)
    validate = data.val_set is not None and recipe["trainer"].get("limit_val_batches") != 0
    best = _Best() if validate else None
    callbacks: list[Callback] = [] if best is None else [best]
    if recipe.get("ema") is not None:
        callbacks.append(EMAWeightAveraging(decay=recipe["ema"]))
    if validate and recipe.get("early_stopping") is not None:
        callbacks.append(EarlyStop(recipe["early_stopping"]))
    _fit(recipe, task, data, total, callbacks, validate)
    if best is not None and best.state is not None:
        task.load_state_dict(best.state)
        task.calibration = best.calibration
    return task.eval()


def pretrain(recipe: Mapping[str, Any], data: EventDataModule, path: Path, *, seed: int = 0, **changes: Any) -> Path:
    """Run the self-supervised epochs alone and save a checkpoint for `train`."""
    L.seed_everything(seed, verbose=False)
    task = create(recipe, **{**changes, "auxiliary_weight": 0.0})  # no heads that these epochs do not train
    task.pretraining_alone = True
    trainer = _fit(recipe, task, data, task.pretrain_epochs, [], False)
    path.parent.mkdir(parents=True, exist_ok=True)
    trainer.save_checkpoint(path)
    return path


def _fit(
    recipe: Mapping[str, Any],
    task: EventClassificationTask,
    data: EventDataModule,
    epochs: int,
    callbacks: list[Callback],
    validate: bool,
) -> L.Trainer:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    trainer = L.Trainer(
        max_epochs=epochs,
        gradient_clip_val=recipe["trainer"].get("gradient_clip_val"),
        accelerator="cpu",
        devices=1,
        callbacks=callbacks,
        plugins=[SafeCheckpointIO()],
        limit_val_batches=1.0 if validate else 0,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)  # lightning 2.6, torch 2.14
        warnings.filterwarnings("ignore", message=".*num_workers.*")
        warnings.filterwarnings("ignore", message="Total length of `list` across ranks is zero")  # no validation data
        trainer.fit(task, data)
    return trainer


class _Best(Callback):
    """Keeps the weights of the best validation, as best.ckpt does on the command line; stands before the averaging."""

    def __init__(self) -> None:
        self.best = Best()
        self.state: dict[str, Tensor] | None = None
        self.calibration = Recalibration()
        self._seen: dict[str, Tensor] = {}

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Copy the weights that were validated, before the averaging puts the others back."""
        self._seen = {name: value.detach().clone() for name, value in pl_module.state_dict().items()}

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Keep them where the validation is the best one so far."""
        if isinstance(pl_module, EventClassificationTask) and self.best.takes(trainer, pl_module):
            self.state, self.calibration = self._seen, pl_module.calibration
