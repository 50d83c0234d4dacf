"""A trained detector from a checkpoint of `attention-suite fit`."""

from os import PathLike, fspath
from typing import NamedTuple

from core.training.checkpoint import check_fits, read_checkpoint

from ..detector.model import MotifDetector
from .task import MotifDetectionTask


class Trained(NamedTuple):
    """A detector in evaluation mode, and the length of the sequences that it was trained on (None: not stored)."""

    model: MotifDetector
    length: int | None


def load_detector(path: str | PathLike[str]) -> Trained:
    """Read a checkpoint; nothing in it can run.

    Args:
        path: best.ckpt or last.ckpt of a run of `MotifDetectionTask` with architecture "attention".

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no checkpoint, or one of another task or architecture.
    """
    path = fspath(path)
    checkpoint = read_checkpoint(path)
    options = dict(checkpoint.get("hyper_parameters", {}))
    of = str(options.pop("_class_path", ""))
    options.pop("_instantiator", None)
    if of.rpartition(".")[2] not in ("", MotifDetectionTask.__name__):
        raise ValueError(f"ckpt: expected a checkpoint of MotifDetectionTask, got one of {of}: {path}")
    try:
        task = MotifDetectionTask(**options)
    except TypeError as error:
        raise ValueError(
            f"ckpt: expected a checkpoint of MotifDetectionTask, got one of another task: {path}"
        ) from error
    if not isinstance(task.model, MotifDetector):
        raise ValueError(f"ckpt: expected architecture 'attention', which has heads, got {task.architecture!r}: {path}")
    check_fits(checkpoint, task, path)
    task.load_state_dict(checkpoint["state_dict"])
    length = int(getattr(task, "training_length", 0))
    return Trained(task.eval().model, length or None)
