"""Which validation is the best one, and how long to wait for a better one."""

import math
from typing import Any

from lightning import Callback, LightningModule, Trainer

from ..task import Task


class Best:
    """The best validation so far.

    The task's main metric decides. Where it is not defined (NaN), the smaller `val/loss` does, and a number is better
    than NaN. A validation that does not count, see `Task.validation_counts`, is never the best.
    """

    def __init__(self) -> None:
        self.score: float | None = None
        self.loss: float | None = None

    def takes(self, trainer: Trainer, task: Task) -> bool:
        """Whether the validation that has ended is better than all before it; then it is the one to beat.

        Raises:
            ValueError: the main metric is not logged.
        """
        if not task.validation_counts:
            return False
        score, loss = _logged(trainer, task, task.monitor), _logged(trainer, task, "val/loss")
        if not math.isnan(score):
            higher = task.monitor_mode == "max"
            better = self.score is None or (score > self.score if higher else score < self.score)
            self.score = score if better else self.score
            return better
        better = self.score is None and not math.isnan(loss) and (self.loss is None or loss < self.loss)
        self.loss = loss if better else self.loss
        return better

    def state_dict(self) -> dict[str, float | None]:
        """Plain values for a checkpoint."""
        return {"best_score": self.score, "best_loss": self.loss}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on comparing with the best so far; a NaN is none."""
        score, loss = state["best_score"], state.get("best_loss")
        self.score = None if score is None or math.isnan(score) else score
        self.loss = loss


class EarlyStop(Callback):
    """Ends the training after so many validations that count without a better one, see `Best`.

    Args:
        patience: how many.

    Raises:
        ValueError: patience < 1; in training, nothing is validated.
    """

    def __init__(self, patience: int) -> None:
        super().__init__()
        if patience < 1:
            raise ValueError(f"early_stopping: expected at least 1 validation, got {patience}")
        self.patience, self.waited, self.best = patience, 0, Best()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count."""
        if trainer.state.fn != "fit" or trainer.sanity_checking or not isinstance(pl_module, Task):
            return
        if self.best.takes(trainer, pl_module):
            self.waited = 0
        elif pl_module.validation_counts:
            self.waited += 1
        enough = trainer.strategy.reduce_boolean_decision(self.waited >= self.patience, all=False)
        trainer.should_stop = trainer.should_stop or enough

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse to wait for validations that there are none of."""
        every = trainer.check_val_every_n_epoch
        if (
            every is not None
            and (trainer.current_epoch + 1) % every == 0
            and "val/loss" not in trainer.callback_metrics
        ):
            raise ValueError("early_stopping: expected a validation to go by, but there are no validation data")

    def state_dict(self) -> dict[str, Any]:
        """How long it has waited, and for what."""
        return {"waited": self.waited, **self.best.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on waiting."""
        self.waited = state_dict["waited"]
        self.best.load_state_dict(state_dict)


def _logged(trainer: Trainer, task: Task, name: str) -> float:
    value = trainer.callback_metrics.get(name)
    if value is None:
        known = ", ".join(sorted(k for k in trainer.callback_metrics if "/" in k))
        raise ValueError(f"{type(task).__name__}.monitor: expected one of the logged {known}, got {name}")
    return float(value)
