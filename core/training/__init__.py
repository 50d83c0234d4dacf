"""Training: tasks, data modules, runs that can be resumed and repeated, and the command line.

Needs the extra `train`; `core` itself does not import this package. What it holds is imported when it is first asked
for; without the extra, that raises `core.extras.MissingExtraError`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from ..extras import MissingExtraError

if TYPE_CHECKING:
    from .checkpoint.best import Best, EarlyStop
    from .checkpoint.checkpoints import RunCheckpoint, SafeCheckpointIO, read_checkpoint
    from .data.module import DataModule, hash_arrays, hash_files
    from .metrics import Ranking, classification_metrics, regression_metrics
    from .run.folder import RunFolder
    from .run.logger import MetricsTable
    from .run.predictions import PredictionTable
    from .task import StepOutput, Task

__all__ = [
    "Best",
    "DataModule",
    "EarlyStop",
    "MetricsTable",
    "PredictionTable",
    "Ranking",
    "RunCheckpoint",
    "RunFolder",
    "SafeCheckpointIO",
    "StepOutput",
    "Task",
    "classification_metrics",
    "hash_arrays",
    "hash_files",
    "read_checkpoint",
    "regression_metrics",
]

_HOMES = {
    "checkpoint.best": ("Best", "EarlyStop"),
    "checkpoint.checkpoints": ("RunCheckpoint", "SafeCheckpointIO", "read_checkpoint"),
    "data.module": ("DataModule", "hash_arrays", "hash_files"),
    "metrics": ("Ranking", "classification_metrics", "regression_metrics"),
    "run.folder": ("RunFolder",),
    "run.logger": ("MetricsTable",),
    "run.predictions": ("PredictionTable",),
    "task": ("StepOutput", "Task"),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}
_ROOMS = ("checkpoint", "command", "data", "files", "metrics", "optim", "pages", "rng", "run", "task")


def __getattr__(name: str) -> object:
    if name not in _HOME and name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = import_module(f".{_HOME.get(name, name)}", __name__)
    except ModuleNotFoundError as error:
        raise MissingExtraError("core.training", error, "train") from error
    value = getattr(module, name) if name in _HOME else module
    globals()[name] = value
    return value
