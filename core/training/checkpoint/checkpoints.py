"""best.ckpt and last.ckpt: what is saved when, and how a checkpoint is read without running code."""

import pickle
import shutil
import zipfile
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from ..files import replacing
from ..rng import get_rng_state, set_rng_state
from ..run.folder import RunFolder
from ..task import Task
from .best import Best
from .sizes import check_sizes


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint of this suite: tensors, numbers, strings and containers of them, nothing that runs.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is no checkpoint, is damaged, or holds pickled code; it is named.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"ckpt_path: expected a checkpoint file, got {path}, which is not there")
    if not zipfile.is_zipfile(path):
        raise ValueError(f"ckpt_path: expected a checkpoint, got {path}, which is damaged or no checkpoint")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "Unsupported global" in str(error) or "GLOBAL" in str(error):
            what = str(error).split("GLOBAL ")[-1].split(" was not")[0].split("\n")[0]
            raise ValueError(
                f"ckpt_path: expected tensors and plain values only, got {path}: refused, as it "
                f"holds pickled code ({what}), which may run anything when loaded"
            ) from error
        raise ValueError(f"ckpt_path: expected a checkpoint, got {path}, which is damaged or no checkpoint") from error
    except (RuntimeError, EOFError) as error:
        raise ValueError(f"ckpt_path: expected a checkpoint, got {path}, which is damaged or no checkpoint") from error
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        raise ValueError(f"ckpt_path: expected a checkpoint of a task, got {path}: it has no state_dict")
    state = checkpoint["state_dict"]
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ValueError(f"ckpt_path: {path}: state_dict: expected tensors by name, got something else")
    check_sizes(state.items(), f"ckpt_path: {path}")
    return checkpoint


def check_fits(checkpoint: dict[str, Any], model: torch.nn.Module, path: str | Path) -> None:
    """Compare a checkpoint's tensors with a model's, by name and shape.

    Raises:
        ValueError: They differ; the first differences are named.
    """
    saved = {name: tuple(value.shape) for name, value in checkpoint["state_dict"].items()}
    built = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    wrong = [f"{n} is missing in the checkpoint" for n in built if n not in saved]
    wrong += [f"{n} is unknown to the model" for n in saved if n not in built]
    wrong += [f"{n}: {saved[n]} saved, {built[n]} built" for n in built if n in saved and saved[n] != built[n]]
    if wrong:
        more = f"; and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise ValueError(
            f"ckpt_path: expected a checkpoint of this {type(model).__name__}, got one of another model, {path}: "
            f"{'; '.join(wrong[:3])}{more}"
        )


class SafeCheckpointIO(TorchCheckpointIO):
    """Checkpoints appear whole or not at all, and load without running code."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write beside `path`, flush, rename."""
        with replacing(path) as temporary:
            torch.save(checkpoint, temporary)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Read tensors and plain values; anything else is refused, whatever `weights_only` says."""
        return read_checkpoint(path)


class RunCheckpoint(Checkpoint):
    """Keeps best.ckpt and last.ckpt in the run's folder, with the state of every random number generator.

    best.ckpt: the first validation with the best value of the task's main metric, see `Best`; where none counts or
    nothing is validated, the final state. last.ckpt: the last state, after every epoch and, inside epochs, about every
    `every_n_steps` optimiser steps (not while gradients accumulate, nor where a validation is due: those wait for the
    next step). A run goes on from last.ckpt with the same bits as if it had never stopped.

    Args:
        folder: of the run.
        every_n_steps: also save inside epochs; None saves after epochs only.
    """

    def __init__(self, folder: RunFolder, every_n_steps: int | None = None) -> None:
        super().__init__()
        if every_n_steps is not None and every_n_steps < 1:
            raise ValueError(f"every_n_steps: expected a positive number, got {every_n_steps}")
        self.folder, self.every_n_steps = folder, every_n_steps
        self.best = Best()
        self._rng: list[dict[str, Any]] | None = None
        self._saved_step = self._step_before = 0
        self._between_epochs = False

    @property
    def best_model_path(self) -> str:
        """best.ckpt where there is one (the trainer asks for `ckpt_path="best"`)."""
        path = self.folder.file("best.ckpt")
        return str(path) if path is not None and path.is_file() else ""

    def state_dict(self) -> dict[str, Any]:
        """The best score so far."""
        return dict(self.best.state_dict())

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on comparing with the best score so far."""
        self.best.load_state_dict(state_dict)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the generators of every process, and whether the epoch has ended."""
        states: list[Any] = [get_rng_state()]
        if trainer.world_size > 1:
            states = [None] * trainer.world_size
            torch.distributed.all_gather_object(states, get_rng_state())
        checkpoint["rng"] = states
        checkpoint["between_epochs"] = self._between_epochs

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Remember the generators until training starts: setting up may draw from them."""
        self._rng = checkpoint.get("rng")
        if checkpoint.get("between_epochs"):
            _end_epoch(checkpoint["loops"]["fit_loop"], by_steps=trainer.max_steps != -1)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the generators back; new processes of one run get generators of their own."""
        self._saved_step = trainer.global_step
        if not self.best_model_path:  # a checkpoint that was moved away from its run's best one
            self.best = Best()
        if self._rng is not None and len(self._rng) == trainer.world_size:
            set_rng_state(self._rng[trainer.global_rank])
        elif self._rng is not None:
            raise ValueError(
                f"ckpt_path: expected a run of {trainer.world_size} processes, got one "
                f"saved by {len(self._rng)} processes, which others cannot resume bit for bit; "
                "use the same trainer.devices and trainer.num_nodes"
            )
        elif trainer.global_rank > 0:
            torch.manual_seed(torch.initial_seed() + trainer.global_rank)  # other dropout than process 0
        self._rng = None

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Note whether this batch will end in an optimiser step."""
        self._step_before = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save inside an epoch where it is due and a run can be resumed exactly."""
        if self.every_n_steps is None or trainer.global_step - self._saved_step < self.every_n_steps:
            return
        stepped = trainer.global_step > self._step_before
        if stepped and not trainer.is_last_batch and not _validation_due(trainer, batch_idx):
            self._save_last(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save best.ckpt where the validation is the best one so far."""
        if trainer.state.fn != "fit" or trainer.sanity_checking or not isinstance(pl_module, Task):
            return
        if self.best.takes(trainer, pl_module):
            self._save(trainer, "best.ckpt")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save last.ckpt, after every other callback has had its say."""
        self._between_epochs = True
        self._save_last(trainer)
        self._between_epochs = False

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Where no validation was the best one, the final state is the best there is."""
        best, last = self.folder.file("best.ckpt"), self.folder.file("last.ckpt")
        if best is None or last is None or not trainer.is_global_zero or best.is_file() or not last.is_file():
            return
        with replacing(best) as temporary:
            shutil.copyfile(last, temporary)

    def _save_last(self, trainer: Trainer) -> None:
        self._save(trainer, "last.ckpt")
        self._saved_step = trainer.global_step

    def _save(self, trainer: Trainer, name: str) -> None:
        path = self.folder.file(name)
        if path is not None:
            trainer.save_checkpoint(path, weights_only=False)


def _validation_due(trainer: Trainer, batch_idx: int) -> bool:
    every = trainer.val_check_batch
    if every is None or every == float("inf") or every >= trainer.num_training_batches:
        return False
    total = trainer.fit_loop.total_batch_idx
    return (batch_idx + 1) % every == 0 or (total + 1) % every == 0


def _end_epoch(loop: dict[str, Any], by_steps: bool) -> None:
    """Move the progress of a loop saved in `on_train_epoch_end` behind the end of that epoch.

    The trainer's own answer to such a checkpoint depends on `max_steps`: with it, the epoch would end twice, and one
    empty pass counts as a batch.
    """
    for count in (loop["epoch_progress"]["total"], loop["epoch_progress"]["current"]):
        count["completed"] = count["processed"]
    batches, schedules = loop["epoch_loop.batch_progress"], loop["epoch_loop.scheduler_progress"]
    batches["current"] = dict.fromkeys(batches["current"], 0)
    batches["is_last_batch"] = False
    schedules["current"] = dict.fromkeys(schedules["current"], 0)
    loop["state_dict"].pop("combined_loader", None)
    if by_steps:
        loop["epoch_loop.state_dict"]["_batches_that_stepped"] -= 1
