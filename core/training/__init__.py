"""Training: tasks, data modules, runs that can be resumed and repeated, and the command line.

Needs the extra `train`; `core` itself does not import this package. Without the extra the package can be imported, so
that the command line can say in one line what is missing; its first use raises `core.extras.MissingExtraError`.
"""

from ..extras import MissingExtraError

try:
    from .checkpoint.best import Best, EarlyStop
    from .checkpoint.checkpoints import RunCheckpoint, SafeCheckpointIO, read_checkpoint
    from .data.module import DataModule, hash_arrays, hash_files
    from .metrics import Ranking, classification_metrics, regression_metrics
    from .run.folder import RunFolder
    from .run.logger import MetricsTable
    from .run.predictions import PredictionTable
    from .task import StepOutput, Task
except ModuleNotFoundError as error:
    _missing = MissingExtraError("core.training", error, "train")

    def __getattr__(name: str) -> object:
        if name in __all__:
            raise _missing
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


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
