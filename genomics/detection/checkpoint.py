"""A trained detector from a checkpoint of `attention-suite fit`."""

from os import PathLike, fspath
from typing import NamedTuple

from core.training import load_run

from ..detector.model import MotifDetector
from .task import MotifDetectionTask


class Trained(NamedTuple):
    """A detector in evaluation mode, and the length of the sequences that it was trained on (None: not stored)."""

    model: MotifDetector
    length: int | None


def load_detector(path: str | PathLike[str]) -> Trained:
    """Read a checkpoint; nothing in it can run.

    Args:
        path: A run's folder, or best.ckpt or last.ckpt of a run of `MotifDetectionTask` with model_name "attention".

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no checkpoint, or one of another task or model.
    """
    task = load_run(fspath(path), unnamed=MotifDetectionTask).task
    if not isinstance(task, MotifDetectionTask):
        raise ValueError(
            f"path: expected a checkpoint of MotifDetectionTask, got one of {type(task).__name__}: {fspath(path)}"
        )
    if not isinstance(task.model, MotifDetector):
        raise ValueError(
            f"path: expected model_name 'attention', which has heads, got {task.model_name!r}: {fspath(path)}"
        )
    return Trained(task.model, int(task.training_length) or None)
