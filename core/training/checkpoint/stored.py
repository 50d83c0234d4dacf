"""Options of the model from two sides: stored in a checkpoint, and asked for now.

Who wins: what is typed on the command line, then the checkpoint, then the configuration file. A resumed run takes
everything from its checkpoint; a typed option that differs is an error, since the saved optimiser would go on with
the old one unseen. Every difference is said in one line.
"""

import inspect
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
            raise ValueError(f"ckpt_path: expected a checkpoint of {wanted}, as asked for, got one of {task}: {path}")

    def settle(self, model: Any, resume: bool, task: type | None = None) -> list[str]:
        """Let typed options win over stored ones in `model` (changed in place); answer one note per difference.

        Args:
            model: The model's part of the configuration, with the checkpoint's laid over it.
            resume: Whether the run goes on.
            task: The model's class, whose `former_options` say which options were renamed.

        Raises:
            ValueError: a typed option differs from the run that is resumed.
        """
        notes: list[str] = []
        asked, used = self.asked.get("init_args") or {}, model.get("init_args")
        former: dict[str, str] = dict(getattr(task, "former_options", {}))
        for key, stored in self.options.items():
            if key not in former and key not in former.values():
                note = self._settle_one(key, stored, asked.get(key, stored), key in self.typed, resume)
                notes += [] if note is None else [note]
                if note is not None and key in self.typed:
                    used[key] = asked.get(key)
        for old, new in former.items():
            note = self._settle_renamed({new: None, old: _default(task, old)}, asked, used, resume)
            notes += [] if note is None else [note]
        return notes

    def _settle_renamed(self, unset: dict[str, Any], asked: Any, used: Any, resume: bool) -> str | None:
        """The same for an option with two names (now, formerly), each with its value where it is not given."""
        stored_as = next(
            (name for name in unset if self.options.get(name, unset[name]) != unset[name]), next(iter(unset))
        )
        typed_as = next((name for name in unset if name in self.typed), None)
        given_as = next((name for name in unset if asked.get(name, unset[name]) != unset[name]), stored_as)
        asked_as = typed_as or given_as
        stored, wanted, note = self.options.get(stored_as), asked.get(asked_as), None
        if asked_as == stored_as or typed_as is not None:  # under two names values may be written in two ways
            note = self._settle_one(asked_as, stored, wanted, typed_as is not None, resume)
        taken, value = (asked_as, wanted) if typed_as is not None and note is not None else (stored_as, stored)
        for name in unset:
            if name in used:
                used[name] = value if name == taken else unset[name]
        return note

    def _settle_one(self, key: str, stored: Any, wanted: Any, typed: bool, resume: bool) -> str | None:
        """The note on one option, or None where the two agree."""
        if _plain(wanted) == _plain(stored) or (wanted is None and not typed):
            return None  # None: left open, as the configuration does with what the data decide
        if not typed:
            return f"note: model.{key} = {stored!r} from the checkpoint, not {wanted!r} from the configuration"
        if resume:
            raise ValueError(
                f"model.{key}: expected {stored!r}, as the run that is resumed has, got {wanted!r}; leave the option "
                "out to resume, or --ckpt_path to start anew"
            )
        return f"note: model.{key} = {wanted!r} as typed, not {stored!r} from the checkpoint"


def settle_names(used: Any, task: type, arguments: list[str]) -> None:
    """Let a typed option win over a configuration file that gives it under another name (`used` is changed in place).

    Args:
        used: The model's options.
        task: The model's class, whose `former_options` say which options were renamed.
        arguments: Of the command line.
    """
    typed = set(_typed(arguments))
    for old, new in dict(getattr(task, "former_options", {})).items():
        unset = {new: None, old: _default(task, old)}
        given = [name for name in unset if name in typed or used.get(name, unset[name]) != unset[name]]
        if len(given) == 2 and len(typed & set(given)) == 1:
            (other,) = set(given) - typed
            used[other] = unset[other]


def _typed(arguments: list[str]) -> Iterator[str]:
    for argument in arguments:
        name = argument.partition("=")[0]
        if name.startswith("--model."):
            yield name.removeprefix("--model.").removeprefix("init_args.").split(".")[0].rstrip("+")


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _default(cls: type | None, option: str) -> Any:
    """What an option is where it is not given."""
    parameter = None if cls is None else inspect.signature(cls).parameters.get(option)
    return None if parameter is None else parameter.default
