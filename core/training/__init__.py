"""Training: tasks, data modules, runs that can be resumed and repeated, and the command line.

Needs the extra `train`; `core` itself does not import this package. What it holds is imported when it is first asked
for; without the extra, that raises `core.extras.MissingExtraError`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from ..extras import MissingExtraError
from .renamed import keep, renamed  # a module and what it holds share their name: bound at once

if TYPE_CHECKING:
    from .baselines import BaselineResult, by_name, checked_names
    from .checkpoint.averaging import WeightAverage
    from .checkpoint.best import Best, EarlyStop
    from .checkpoint.checkpoints import RunCheckpoint, SafeCheckpointIO, check_fits, read_checkpoint
    from .cli import main
    from .data import (
        PARTS,
        BatchKeys,
        DataModule,
        DrawnDataModule,
        Key,
        LoadedDataModule,
        Loader,
        Split,
        hash_arrays,
        hash_files,
    )
    from .files import read_json, replacing, write_json, write_text
    from .load import LoadedRun, load_run
    from .metrics import Ranking, classification_metrics, regression_metrics
    from .optim import total_steps, warmup_cosine_factor
    from .pages import rewrite
    from .run.folder import RunFolder
    from .run.logger import MetricsTable
    from .run.predictions import PredictionTable
    from .task import StepOutput, Task

__all__ = [
    "PARTS",
    "BaselineResult",
    "BatchKeys",
    "Best",
    "DataModule",
    "DrawnDataModule",
    "EarlyStop",
    "Key",
    "LoadedDataModule",
    "LoadedRun",
    "Loader",
    "MetricsTable",
    "PredictionTable",
    "Ranking",
    "RunCheckpoint",
    "RunFolder",
    "SafeCheckpointIO",
    "Split",
    "StepOutput",
    "Task",
    "WeightAverage",
    "by_name",
    "check_fits",
    "checked_names",
    "classification_metrics",
    "hash_arrays",
    "hash_files",
    "keep",
    "load_run",
    "main",
    "read_checkpoint",
    "read_json",
    "regression_metrics",
    "renamed",
    "replacing",
    "rewrite",
    "total_steps",
    "warmup_cosine_factor",
    "write_json",
    "write_text",
]

_HOMES = {
    "baselines": "BaselineResult by_name checked_names",
    "checkpoint.averaging": "WeightAverage",
    "checkpoint.best": "Best EarlyStop",
    "checkpoint.checkpoints": "RunCheckpoint SafeCheckpointIO check_fits read_checkpoint",
    "cli": "main",
    "data": "PARTS BatchKeys DataModule DrawnDataModule Key LoadedDataModule Loader Split hash_arrays hash_files",
    "files": "read_json replacing write_json write_text",
    "load": "LoadedRun load_run",
    "metrics": "Ranking classification_metrics regression_metrics",
    "optim": "total_steps warmup_cosine_factor",
    "pages": "rewrite",
    "run.folder": "RunFolder",
    "run.logger": "MetricsTable",
    "run.predictions": "PredictionTable",
    "task": "StepOutput Task",
}
_HOME = {name: module for module, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> object:
    try:
        found = import_module(f".{_HOME.get(name, name)}", __name__)
    except ModuleNotFoundError as error:
        if error.name == f"{__name__}.{name}":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
        raise MissingExtraError("core.training", error, "train") from error
    value = getattr(found, name) if name in _HOME else found
    globals()[name] = value
    return value
