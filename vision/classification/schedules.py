"""timm's learning-rate schedules by name, as PyTorch schedulers that are saved and resumed."""

import math
from typing import Any

from timm.scheduler import create_scheduler_v2
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

NAMES = ("cosine", "tanh", "step", "multistep", "poly")


class NamedSchedule(LRScheduler):
    """A schedule of timm, stepped after every optimiser step; its rate is a function of the step alone.

    Args:
        name: One of `NAMES`.
        optimizer: Whose learning rates are set; their peaks are its groups' rates.
        total: Optimiser steps of the whole training.
        per_epoch: Optimiser steps of one epoch.
        warmup: Steps of linear warm-up, from `warmup_lr` (an option; timm's default is 1e-5).
        options: Further arguments of `timm.scheduler.create_scheduler_v2`, such as decay_rate, decay_epochs,
            decay_milestones (in epochs) or min_lr.

    Raises:
        ValueError: The name is unknown (timm's "plateau" needs a metric and is refused) or an option is.
    """

    def __init__(
        self, name: str, optimizer: Optimizer, total: int, per_epoch: int, warmup: int, options: dict[str, Any]
    ) -> None:
        if name not in NAMES:
            raise ValueError(f"scheduler: expected one of {', '.join(NAMES)} or None, got {name!r}")
        taken = {"optimizer", "sched", "num_epochs", "step_on_epochs", "updates_per_epoch", "warmup_epochs"}
        settings = {"num_epochs": math.ceil(total / per_epoch), "updates_per_epoch": per_epoch, "step_on_epochs": False}
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])
        try:
            if strange := sorted(taken & options.keys()):
                raise TypeError(f"expected none that follow from the training, got {', '.join(strange)}")
            self.timm, _ = create_scheduler_v2(optimizer, sched=name, warmup_epochs=0, **settings, **options)
        except TypeError as error:
            raise ValueError(f"scheduler_options: {error}") from error
        self.warmup, self.warmup_lr = warmup, float(options.get("warmup_lr", 1e-5))
        super().__init__(optimizer)

    def get_lr(self) -> list[float | Tensor]:
        """Rates of the groups at the present step."""
        if self.last_epoch < self.warmup:
            share = self.last_epoch / self.warmup
            return [self.warmup_lr + share * (peak - self.warmup_lr) for peak in self.base_lrs]
        self.timm.step_update(self.last_epoch)
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """The step: all else follows from the configuration."""
        return {"last_epoch": self.last_epoch, "_last_lr": self._last_lr}
