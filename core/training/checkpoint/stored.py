"""Options of the model from two sides: stored in a checkpoint, and asked for now.

Who wins: what is typed on the command line, then the checkpoint, then the configuration file. A resumed run takes
everything from its checkpoint; a typed option that differs is an error, since the saved optimiser would go on with
the old one unseen. Every difference is said in one line.
"""

from collections.abc import Iterator
from typing import Any


class Stored:
    """What a checkpoint says about its model, against what was asked for.

    Args:
        checkpoint: as it was read.
        path: of the checkpoint, for messages.
        asked: the model's part of the configuration before the checkpoint's is laid over it.
        arguments: of the command line.

    Raises:
        ValueError: the checkpoint is of another task.
    """

    def __init__(self, checkpoint: dict[str, Any], path: str, asked: Any, arguments: list[str]) -> None:
        self.path, self.asked = path, asked
        self.options = {
            key: value
            for key, value in checkpoint.get("hyper_parameters", {}).items()
            if key not in ("_class_path", "_instantiator")
        }
        self.typed = set(_typed(arguments))
        task = checkpoint.get("hyper_parameters", {}).get("_class_path")
        wanted = asked.get("class_path")
        if task is not None and task != wanted:  # before anything that a checkpoint names is imported
            raise ValueError(f"ckpt_path: {path} is a checkpoint of {task}, but the model asked for is {wanted}")

    def settle(self, model: Any, resume: bool) -> list[str]:
        """Let typed options win over stored ones in `model` (changed in place); answer one note per difference.

        Raises:
            ValueError: a typed option differs from the run that is resumed.
        """
        notes = []
        asked, used = self.asked.get("init_args") or {}, model.get("init_args")
        for key, stored in self.options.items():
            wanted = asked.get(key, stored)
            if _plain(wanted) == _plain(stored) or (wanted is None and key not in self.typed):
                continue  # None: left open, as the configuration does with what the data decide
            if key not in self.typed:
                notes.append(
                    f"note: model.{key} = {stored!r} from the checkpoint, not {wanted!r} from the configuration"
                )
            elif resume:
                raise ValueError(
                    f"model.{key}: the run that is resumed has {stored!r}, got {wanted!r}; leave the option out to "
                    "resume, or --ckpt_path to start anew"
                )
            else:
                used[key] = wanted
                notes.append(f"note: model.{key} = {wanted!r} as typed, not {stored!r} from the checkpoint")
        return notes


def _typed(arguments: list[str]) -> Iterator[str]:
    for argument in arguments:
        name = argument.partition("=")[0]
        if name.startswith("--model."):
            yield name.removeprefix("--model.").removeprefix("init_args.").split(".")[0].rstrip("+")


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
