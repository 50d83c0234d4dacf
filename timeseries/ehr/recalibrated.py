"""A task whose probabilities are recalibrated: fitted after every validation that counts, kept in the checkpoint."""

import warnings
from abc import ABC
from typing import Any

import torch
from torch import Tensor

from core.training import Best

from ..probabilities.outcomes import Outcome
from ..probabilities.recalibration import AT_BOUND, Recalibration
from .phases import PhasedTask


class RecalibratedTask(PhasedTask, ABC):
    """What `EventClassificationTask` does about calibration; its constructor sets what stands here."""

    outcome: Outcome | None = None
    recalibrate: str | None
    given: Recalibration
    calibration: Recalibration

    def recalibrate_by(self, given: Recalibration, method: str | None) -> None:
        """Begin with a recalibration, and fit another by a method, or none."""
        self.given = self.calibration = given
        self.recalibrate = method
        self._best, self._chosen = Best(), given
        self._validation: list[tuple[Tensor, Tensor]] = []

    def keep_for_calibration(self, logits: Tensor, target: Tensor) -> None:
        """Remember a batch of the validation part."""
        self._validation.append((logits.detach().cpu(), target.cpu()))

    def probabilities(self, logits: Tensor) -> Tensor:
        """Calibrated probabilities, see `Outcome`."""
        assert self.outcome is not None
        return self.calibration.probabilities(self.outcome, logits)

    def on_validation_epoch_end(self) -> None:
        """Log the metrics, and fit the recalibration."""
        super().on_validation_epoch_end()
        parts, self._validation = self._validation, []
        if self.trainer.world_size > 1:
            shares: list[Any] = [None] * self.trainer.world_size
            torch.distributed.all_gather_object(shares, parts)
            parts = [part for share in shares for part in share]
        if self.recalibrate is None or self.trainer.sanity_checking or self.trainer.state.fn != "fit" or not parts:
            return
        if not self.validation_counts:
            return
        assert self.outcome is not None
        logits, target = (torch.cat(column) for column in zip(*parts, strict=True))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", AT_BOUND)  # of a model that is hardly trained; `on_train_end` judges
            self.calibration = Recalibration.fit(self.recalibrate, self.outcome, logits, target, self.given)  # type: ignore[arg-type]

    def on_validation_end(self) -> None:
        """Note the recalibration of the best validation."""
        if self.trainer.state.fn == "fit" and not self.trainer.sanity_checking and self._best.takes(self.trainer, self):
            self._chosen = self.calibration

    def on_train_end(self) -> None:
        """Warn where no temperature calibrates the best validation's logits."""
        if self._chosen.at_bound and self._chosen != self.given and self.trainer.is_global_zero:
            warnings.warn(f"{AT_BOUND} {self._chosen.temperature:.2f} after the best validation", stacklevel=2)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the recalibration."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["calibration"] = self.calibration.state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put the recalibration back."""
        super().on_load_checkpoint(checkpoint)
        if "calibration" in checkpoint:
            self.calibration = Recalibration.from_state(checkpoint["calibration"])
