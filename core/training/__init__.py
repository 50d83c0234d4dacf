"""Training: tasks, data modules, runs that can be resumed and repeated, and the command line.

Needs the extra `train`; `core` itself does not import this package. Without the extra the package can be imported, so
that the command line can say in one line what is missing; its first use raises `core.extras.MissingExtraError`.
"""

from ..extras import MissingExtraError

try:
    from .baselines import BaselineResult, by_name, checked_names
    from .checkpoint.best import Best, EarlyStop
    from .checkpoint.checkpoints import RunCheckpoint, SafeCheckpointIO, check_fits, read_checkpoint
    from .cli import main
    from .data import PARTS, BatchKeys, DataModule, Key, LoadedDataModule, Loader, Split, hash_arrays, hash_files
    from .files import read_json, replacing, write_json, write_text
    from .load import LoadedRun, load_run
    from .metrics import Ranking, classification_metrics, regression_metrics
    from .optim import total_steps, warmup_cosine_factor
    from .pages import rewrite
    from .renamed import keep, renamed
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
    "PARTS",
    "BaselineResult",
    "BatchKeys",
    "Best",
    "DataModule",
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
