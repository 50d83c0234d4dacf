"""Epochs of self-supervision before those that learn the outcome: what the two phases need of the training.

Validations of the first phase never count: the outcome's head is not trained yet. With several processes, all of which
must answer a gradient for every parameter, those that a phase does not use get a zero that is taken away again before
the optimiser steps. So they have neither weight decay nor moments of AdamW in that phase, as in a single process.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
from lightning.pytorch.callbacks import EarlyStopping
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from core.training import Task, total_steps

from .model.pretrain import two_hills


class PhasedTask(Task, ABC):
    """A task whose first `pretrain_epochs` epochs learn without targets; its constructor sets what stands here."""

    pretrain_epochs: int
    pretrain_lr: float | None
    pretraining_alone: bool = False
    """Set by `recipe.pretrain`: the training may end before an outcome is learned."""

    @abstractmethod
    def idle(self) -> Iterable[nn.Parameter]:
        """The parameters that have no part in the loss of this phase."""

    @property
    def pretraining(self) -> bool:
        """Whether this epoch learns from the events alone."""
        return self.current_epoch < self.pretrain_epochs

    @property
    def validation_counts(self) -> bool:
        """Not before the outcome is learned."""
        return not self.pretraining

    def check_epochs(self) -> None:
        """Refuse a training that ends before an outcome is learned (a `fast_dev_run` may).

        Raises:
            ValueError: There are no epochs or steps left for the outcome.
        """
        trainer = self.trainer
        if not self.pretrain_epochs or self.pretraining_alone or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        total, per_epoch = total_steps(trainer)
        first = self.pretrain_epochs * per_epoch
        if total > first:
            return
        if 0 < trainer.max_steps <= first:
            limit, has, needed = "max_steps", trainer.max_steps, f" ({first} steps)"
        else:
            limit, has, needed = "max_epochs", trainer.max_epochs, ""
        raise ValueError(
            f"trainer.{limit}: expected more than model.pretrain_epochs = {self.pretrain_epochs}{needed}, after which "
            f"the outcome is learned, got {has}"
        )

    def on_train_epoch_start(self) -> None:
        """Let no early stopping of the trainer's own callbacks count the epochs that learn from the events alone."""
        for callback in self.trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, EarlyStopping) and self.current_epoch <= self.pretrain_epochs:
                callback.wait_count = 0
                callback.best_score = torch.tensor(-torch.inf if callback.mode == "max" else torch.inf)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The loss of one batch; with several processes every parameter is in its graph."""
        loss = super().training_step(batch, batch_idx)
        if self.trainer.world_size > 1:
            loss = loss + 0.0 * torch.stack([p.sum() for p in self.parameters() if p.requires_grad]).sum()
        return loss

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Leave out what this phase does not use."""
        if self.trainer.world_size > 1:
            for parameter in self.idle():
                parameter.grad = None

    def configure_optimizers(self) -> Any:
        """AdamW; warm-up and cosine for the pretraining, and once more for the outcome."""
        chosen = super().configure_optimizers()
        if self.pretrain_epochs:
            total, per_epoch = total_steps(self.trainer)
            first = min(self.pretrain_epochs * per_epoch, total)
            hills = partial(
                two_hills,
                first=first,
                total=total,
                warm=(round(self.warmup_fraction * first), self.warmup_steps(total - first, per_epoch)),
                ratio=(self.lr if self.pretrain_lr is None else self.pretrain_lr) / self.lr,
                floor=self.lr_floor,
            )
            chosen["lr_scheduler"]["scheduler"] = LambdaLR(chosen["optimizer"], hills)
        return chosen
