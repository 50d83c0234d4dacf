"""Train detectors for the demo and benchmarks of motifs: by a configuration, not at all, on permuted labels."""

import json
import time
from pathlib import Path
from typing import Any, NamedTuple

import lightning as L
import numpy as np
import torch
import yaml
from torch.utils.data import Dataset

from core.training import WeightAverage, write_text
from core.training import main as command_line
from genomics import MotifDetectionTask, MotifDetector, PlantedMotifsData, SequenceClassificationData
from genomics.detection import load_detector

ROOT = Path(__file__).resolve().parents[2]
CLASSES = {cls.__name__: cls for cls in (PlantedMotifsData, SequenceClassificationData)}


class Run(NamedTuple):
    """A trained detector, the folder of its run, and the CPU minutes that training took."""

    model: MotifDetector
    folder: Path
    minutes: float


def recipe(name: str) -> dict[str, Any]:
    """The configuration configs/genomics/NAME.yaml."""
    return yaml.safe_load((ROOT / "configs" / "genomics" / f"{name}.yaml").read_text("utf-8"))


def make_data(config: dict[str, Any], changes: dict[str, Any]) -> Any:
    """The data module of a configuration, set up."""
    part = config["data"]
    data = CLASSES[part["class_path"]](**{**part["init_args"], **changes})
    data.setup()
    return data


def train_once(config: Path, parent: Path, seed: int, further: list[str]) -> Path:
    """Train through the command line, unless that was done, with CPU minutes kept beside it; answer the run's folder.

    Args:
        config: Of the training.
        parent: Folder of the run's versions; its name is that of the run.
        seed: Of weights and data.
        further: Options of the command.
    """
    for path in sorted(parent.glob("version_*")):
        if (path / "cpu_minutes.json").is_file():
            return path
    options = ["--config", str(config), "--seed_everything", str(seed), "--data.seed", str(seed)]
    options += ["--run_name", parent.name, "--trainer.default_root_dir", str(parent.parent)]
    options += ["--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"]
    options += ["--trainer.enable_model_summary", "false", *further]
    start = time.process_time()
    command_line(["fit", *options])
    path = max(parent.glob("version_*"), key=lambda p: int(p.name[8:]))
    write_text(path / "cpu_minutes.json", json.dumps((time.process_time() - start) / 60))
    return path


def trained(name: str, changes: dict[str, Any], seed: int, epochs: int | None, out: Path, run_name: str) -> Run:
    """Train through the command line, unless that was done: the weights of best.ckpt, chosen on validation."""
    options = ["--trainer.max_epochs", str(epochs)] if epochs else []
    for key, value in changes.items():
        options += [f"--data.{key}", json.dumps(value) if isinstance(value, list) else str(value)]
    path = train_once(ROOT / "configs" / "genomics" / f"{name}.yaml", out / run_name, seed, options)
    return Run(load_detector(path / "best.ckpt").model, path, json.loads((path / "cpu_minutes.json").read_text()))


def untrained(config: dict[str, Any], seed: int) -> MotifDetector:
    """The same model before its first step."""
    torch.manual_seed(seed)
    return MotifDetectionTask(**config["model"]["init_args"]).model


def on_shuffled_labels(config: dict[str, Any], data: Any, seed: int, epochs: int | None) -> MotifDetector:
    """The same model, trained by the same configuration on labels that were permuted; its final averaged weights."""
    L.seed_everything(seed, verbose=False)
    task = MotifDetectionTask(**config["model"]["init_args"])
    options = config["trainer"]
    trainer = L.Trainer(
        max_epochs=epochs or options["max_epochs"],
        gradient_clip_val=options["gradient_clip_val"],
        accelerator="cpu",
        devices=1,
        callbacks=[WeightAverage(decay=config["ema"])],
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    before, data.train_set = data.train_set, PermutedLabels(data.train_set, seed)
    try:
        trainer.fit(task, data)
    finally:
        data.train_set = before
    return task.eval().model


class PermutedLabels(Dataset[Any]):
    """The items of a data set with each other's labels, the same ones in every epoch.

    Args:
        items: A training part whose first half is positive: positives, then shuffles.
        seed: Of the permutation.
    """

    def __init__(self, items: Any, seed: int) -> None:
        self.items = items
        self.order = np.random.default_rng(seed).permutation(len(items))
        self.labels = [items[k].label for k in range(len(items))]

    def __len__(self) -> int:
        """As many."""
        return len(self.items)

    def __getitem__(self, position: int) -> Any:
        """The item at this position with another one's label."""
        return self.items[position]._replace(label=self.labels[self.order[position]])
