"""A run's folder: what was run, on what, and what came out.

    <trainer.default_root_dir>/<name>/version_<n>/
        config.yaml       everything that was asked for; `attention-suite fit --config` takes it as it is
        environment.json  versions, git revision, device, threads, seed, data, and the run's status
        metrics.csv       what was logged, one line per step or epoch
        best.ckpt         the best validation of the task's main metric
        last.ckpt         the last state, to resume from
        metrics.json      `<stage>/<metric>` of the model alone; written when a stage has ended well
        baselines.json    name -> the same keys, of simpler methods on the same split

`status` is running, complete, interrupted or failed: a run that was killed says "running" and has no metrics.json. A
second run takes the next number. Resuming an unfinished run goes on in its folder; resuming a complete one starts a
new folder. Evaluating a checkpoint of a run on that run's data writes into its folder, on other data into a new one.
"""

import csv
import math
import shutil
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer

from ..files import read_json, remove_leftovers, write_json
from ..task import Task
from .environment import describe, describe_data

_STAGES = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",), "predict": ()}


class RunFolder(Callback):
    """Creates and fills the folder of a run. Nothing is written before the data are set up, or with fast_dev_run.

    Args:
        name: of the kind of run, the folder above version_<n>; None takes the task's class name.
        checkpoint: that the run resumes from or evaluates.
        seed: to be recorded.

    Raises:
        ValueError: the name leads out of the folder above it.
    """

    def __init__(self, name: str | None = None, checkpoint: str | Path | None = None, seed: int | None = None) -> None:
        super().__init__()
        if name is not None and (name != Path(name).name or name in ("", ".", "..")):
            raise ValueError(f"run_name: expected a name of a folder inside trainer.default_root_dir, got {name!r}")
        self.name, self.seed = name, seed
        self.checkpoint = Path(checkpoint) if checkpoint is not None else None
        self.path: Path | None = None
        self.is_new = True

    def file(self, name: str) -> Path | None:
        """A file in the folder; None before there is one."""
        return self.path / name if self.path is not None else None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Choose or create the folder and record the circumstances."""
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        data = describe_data(trainer.datamodule)  # type: ignore[attr-defined]
        chosen = self._choose(trainer, pl_module, stage, data) if trainer.is_global_zero else None
        chosen = trainer.strategy.broadcast(chosen)
        assert chosen is not None
        self.path, self.is_new = chosen
        if not trainer.is_global_zero:
            return
        remove_leftovers(self.path)
        if self.is_new and stage == "fit" and self.checkpoint is not None:
            for name in ("best.ckpt", "metrics.csv"):  # what the run that goes on here has got so far
                if (self.checkpoint.parent / name).is_file():
                    shutil.copyfile(self.checkpoint.parent / name, self.path / name)
        if self.is_new or stage == "fit":
            kept = {} if self.is_new else read_json(self.path / "environment.json")
            record = {**kept, **describe(trainer, self.seed), "data": data, "status": "running"}
            record["task"] = type(pl_module).__name__
            if self.checkpoint is not None:
                record["checkpoint"] = str(self.checkpoint)
            write_json(self.path / "environment.json", record)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write the metrics of a stage that has ended well, then the baselines on the same split, which may fail."""
        if self.path is None or not trainer.is_global_zero:
            return
        values: dict[str, Any] = dict(trainer.callback_metrics)
        if stage == "fit":  # nothing was left to train where a run was killed after its last epoch
            values = {**last_values(self.path / "metrics.csv"), **values}
        metrics = {
            key: _number(value)
            for key, value in values.items()
            if key.partition("/")[0] in _STAGES[stage] and "/" in key
        }
        if metrics:
            _merge(self.path / "metrics.json", metrics)
        baselines: dict[str, Any] = {}
        if isinstance(pl_module, Task):
            for split in _STAGES[stage]:
                if split != "train" and any(key.startswith(f"{split}/") for key in trainer.callback_metrics):
                    baselines.update(pl_module.baselines(split))
        if baselines:
            known = read_json(self.path / "baselines.json") if (self.path / "baselines.json").is_file() else {}
            found = {name: {key: _number(x) for key, x in scores.items()} for name, scores in baselines.items()}
            merged = {**known, **{name: {**known.get(name, {}), **scores} for name, scores in found.items()}}
            write_json(self.path / "baselines.json", merged)
        record = read_json(self.path / "environment.json")
        if stage == "fit" or self.is_new:
            record["status"] = "complete"
        if stage in ("validate", "test"):
            record.setdefault("evaluations", {})[stage] = str(self.checkpoint) if self.checkpoint else None
        write_json(self.path / "environment.json", record)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Say in the folder that the run did not end well."""
        if self.path is None or not trainer.is_global_zero:
            return
        record = read_json(self.path / "environment.json")
        if record["status"] == "running":
            stopped = isinstance(exception, KeyboardInterrupt) or type(exception).__name__ == "SIGTERMException"
            record["status"] = "interrupted" if stopped else "failed"
            write_json(self.path / "environment.json", record)

    def _choose(self, trainer: Trainer, module: LightningModule, stage: str, data: dict[str, Any]) -> tuple[Path, bool]:
        if self.path is not None:  # a second stage of the same program
            return self.path, False
        before = self.checkpoint.parent if self.checkpoint is not None else None
        if before is not None and (before / "environment.json").is_file():
            record = read_json(before / "environment.json")
            same_data = record["data"]["fingerprint"] == data["fingerprint"]
            if (stage == "fit" and record["status"] != "complete") or (stage != "fit" and same_data):
                return before.resolve(), False
        return _claim(Path(trainer.default_root_dir) / (self.name or type(module).__name__)), True


def last_values(path: Path) -> dict[str, str]:
    """The last value of every column of a metrics.csv."""
    values: dict[str, str] = {}
    if path.is_file():
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                values.update({key: value for key, value in row.items() if value != ""})
    return values


def _claim(parent: Path) -> Path:
    """Create the next free version_<n>, also when several runs start at once."""
    parent.mkdir(parents=True, exist_ok=True)
    taken = [int(p.name[8:]) for p in parent.glob("version_*") if p.name[8:].isdigit()]
    number = max(taken, default=-1) + 1
    while True:
        path = parent / f"version_{number}"
        try:
            path.mkdir()
        except FileExistsError:
            number += 1
        else:
            return path.resolve()


def _merge(path: Path, metrics: dict[str, float | None]) -> None:
    write_json(path, {**(read_json(path) if path.is_file() else {}), **metrics})


def _number(value: Any) -> float | None:
    number = float(value)
    return number if math.isfinite(number) else None
