"""A small task and its data, random as a real one is: dropout, order, augmentation by three generators."""

import os
import random
import signal
from typing import Any

import numpy as np
import torch
from lightning import Callback
from torch import Tensor, nn
from torch.utils.data import Dataset

from core.training import DataModule, StepOutput, Task, classification_metrics, hash_arrays


class ToySet(Dataset[Any]):
    """Points in the plane, labelled by the sign of a product; augmented with torch, numpy and Python randomness."""

    def __init__(self, x: Tensor, y: Tensor, augment: bool, offset: int = 0) -> None:
        self.x, self.y, self.augment, self.offset = x, y, augment, offset

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> dict[str, Any]:
        x = self.x[index]
        if self.augment:
            x = x + 0.1 * torch.randn(2) + 0.1 * float(np.random.randn()) + 0.1 * random.random()
        return {"x": x, "y": self.y[index], "id": index + self.offset}


class ToyData(DataModule):
    """Points in the plane, two classes."""

    licence = "CC0-1.0"
    source = "generated"

    def __init__(self, n: int = 64, bad: bool = False, val: bool = True, **options: Any) -> None:
        super().__init__(**options)
        self.n, self.bad, self.val = n, bad, val

    def setup(self, stage: str) -> None:
        if self.bad:
            raise ValueError("data.n: expected points, got nothing")
        generator = torch.Generator().manual_seed(self.seed)
        self.x = torch.randn(self.n + 22, 2, generator=generator)
        self.y = (self.x[:, 0] * self.x[:, 1] > 0).long()
        n = self.n
        self.train_set = ToySet(self.x[:n], self.y[:n], augment=True)
        self.val_set = ToySet(self.x[n : n + 11], self.y[n : n + 11], augment=False, offset=n) if self.val else None
        self.test_set = ToySet(self.x[n + 11 :], self.y[n + 11 :], augment=False, offset=n + 11)

    def fingerprint(self) -> str:
        return hash_arrays(self.x, self.y)


class ToyTask(Task):
    """Two classes of points by a small network with dropout and batch norm."""

    def __init__(self, width: int = 8, dropout: float = 0.2, norm: bool = True, **options: Any) -> None:
        super().__init__(**options)
        layers = [nn.Linear(2, width), nn.BatchNorm1d(width) if norm else nn.Identity(), nn.ReLU()]
        self.model = nn.Sequential(*layers, nn.Dropout(dropout), nn.Linear(width, 1))
        self.use_metrics(classification_metrics(2), main="accuracy", mode="max")

    def shared_step(self, batch: dict[str, Tensor], stage: str) -> StepOutput:
        logits = self.model(batch["x"]).squeeze(-1)
        loss = nn.functional.binary_cross_entropy_with_logits(logits, batch["y"].to(logits.dtype))
        return StepOutput(loss, logits.sigmoid(), batch["y"])

    def predict_step(self, batch: dict[str, Tensor], batch_idx: int = 0) -> dict[str, Tensor]:
        return {"id": batch["id"], "probability": self.model(batch["x"]).squeeze(-1).sigmoid()}

    def baselines(self, stage: str) -> dict[str, dict[str, float]]:
        y = self.trainer.datamodule.test_set.y if stage == "test" else self.trainer.datamodule.val_set.y
        share = float(y.double().mean())
        return {"majority": {f"{stage}/accuracy": max(share, 1 - share)}}


class Kill(Callback):
    """Ends the process by SIGKILL at a point named by the variable TOY_KILL: <place>:<count>, counted from 1."""

    def __init__(self) -> None:
        place, _, count = os.environ.get("TOY_KILL", ":0").partition(":")
        self.place, self.left = place, int(count)
        if place == "save":
            save = torch.save

            def save_half(value: Any, path: Any, **options: Any) -> None:
                save(value, path, **options)
                os.truncate(path, os.path.getsize(path) // 2)
                self._count("save")
                save(value, path, **options)

            torch.save = save_half

    def _count(self, place: str) -> None:
        if place == self.place:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def on_train_batch_start(self, *args: Any) -> None:
        self._count("batch")

    def on_before_optimizer_step(self, *args: Any) -> None:
        self._count("step")

    def on_validation_batch_start(self, trainer: Any, *args: Any) -> None:
        if not trainer.sanity_checking:
            self._count("validation")

    def on_train_epoch_start(self, *args: Any) -> None:
        self._count("epoch_start")

    def on_train_epoch_end(self, *args: Any) -> None:
        self._count("epoch_end")

    def on_train_end(self, *args: Any) -> None:
        self._count("train_end")
