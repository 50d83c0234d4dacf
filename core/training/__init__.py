"""Training: tasks, data modules, runs that can be resumed and repeated, and the command line.

Needs the extra `train`; `core` itself does not import this package.
"""

from ..extras import MissingExtraError

try:
    import lightning as _lightning  # noqa: F401
    import torchmetrics as _torchmetrics  # noqa: F401
except ModuleNotFoundError as error:
    raise MissingExtraError("core.training", error, "train") from error

from .checkpoints import RunCheckpoint, SafeCheckpointIO, read_checkpoint
from .data import DataModule, hash_arrays, hash_files
from .logger import MetricsTable
from .metrics import classification_metrics, regression_metrics
from .predictions import PredictionTable
from .runs import RunFolder
from .task import StepOutput, Task

__all__ = [
    "DataModule",
    "MetricsTable",
    "PredictionTable",
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
