"""A trained model back from its run: one way for all domains, without the data's files."""

import importlib
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from .checkpoint.checkpoints import check_fits, read_checkpoint
from .checkpoint.plain import check_stored
from .data.module import DataModule
from .registry import full_path, import_domains, public_path, registered
from .task import Task


class LoadedRun(NamedTuple):
    """What `load_run` answers.

    Args:
        task: With its trained weights, in evaluation mode.
        data: The data module as it was configured, not set up; None where it was not asked for.
        checkpoint: As it was read: tensors and plain values.
    """

    task: Task
    data: DataModule | None
    checkpoint: dict[str, Any]


def load_run(
    path: str | Path, *, data: bool = False, trusted: bool = False, unnamed: type[Task] | None = None
) -> LoadedRun:
    """Read a trained task from a run's folder or from a checkpoint alone.

    Nothing in the files can run: the checkpoint holds tensors and plain values, and only classes of the registered
    domains are built.

    Args:
        path: A run's folder, of which best.ckpt is taken (last.ckpt where there is none), or a checkpoint.
        data: Also build the data module, without setting it up.
        trusted: Build classes of other modules, too: importing them runs their code.
        unnamed: Class of the task where nothing names it, as in checkpoints that Python wrote before they did.

    Raises:
        FileNotFoundError: There is no such file, or no checkpoint in the folder.
        ValueError: It is no checkpoint of a task, names a class that is not registered, or does not fit it.
    """
    file = _checkpoint_of(Path(path))
    checkpoint = read_checkpoint(file)
    config = _config_beside(file)
    options, named = _options(checkpoint, "hyper_parameters", file)
    name = named or checkpoint.get("task") or _class_in(config, "model")
    if name is None and unnamed is not None:
        name = public_path(unnamed)
    task = _build(file, Task, name, options, "task", trusted)
    if not task.is_built and task.known_by_data:
        missing = ", ".join(name for name in task.known_by_data if getattr(task, name) is None)
        raise ValueError(f"path: expected a checkpoint of a trained task, got one without {missing}: {file}")
    check_fits(checkpoint, task, file)
    task.on_load_checkpoint(checkpoint)
    task.load_state_dict(checkpoint["state_dict"])
    module = None
    if data:
        options, named = _options(checkpoint, "datamodule_hyper_parameters", file)
        if not options:
            options = _mapping(_mapping(config.get("data")).get("init_args"))
        name = named or checkpoint.get("data") or _class_in(config, "data")
        module = _build(file, DataModule, name, options, "data", trusted)
    return LoadedRun(task.eval(), module, checkpoint)


def _checkpoint_of(path: Path) -> Path:
    if not path.is_dir():
        return path
    for name in ("best.ckpt", "last.ckpt"):
        if (path / name).is_file():
            return path / name
    raise FileNotFoundError(f"path: expected a run's folder with best.ckpt or last.ckpt, got {path}")


def _config_beside(file: Path) -> dict[str, Any]:
    path = file.parent / "config.yaml"
    if not path.is_file():
        return {}
    try:
        return _mapping(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"path: expected a configuration in YAML, got {path}: {error}") from error


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _options(checkpoint: dict[str, Any], key: str, file: Path) -> tuple[dict[str, Any], str | None]:
    """Constructor options that a checkpoint stores, and the class that they are of, if it is named."""
    check_stored(checkpoint.get(key) or {}, key, str(file))
    stored = dict(checkpoint.get(key) or {})
    name = stored.pop("_class_path", None)
    stored.pop("_instantiator", None)
    return stored, name


def _class_in(config: dict[str, Any], part: str) -> str | None:
    found = _mapping(config.get(part)).get("class_path")
    return None if found is None else str(found)


def _build(file: Path, base: Any, name: str | None, options: dict[str, Any], what: str, trusted: bool) -> Any:
    if not name or not isinstance(name, str):
        raise ValueError(f"path: expected a checkpoint that names its {what}, got {name or 'none'} in {file}")
    import_domains()
    cls = next((one for one in registered(base) if name in (public_path(one), full_path(one))), None)
    if cls is None and trusted:
        module, _, attribute = name.rpartition(".")
        try:
            cls = getattr(importlib.import_module(module), attribute, None)
        except (ImportError, ValueError) as error:  # ValueError: a name without a module
            raise ValueError(f"path: expected a {what} that can be imported, got {name} in {file}: {error}") from error
    if cls is None or not (isinstance(cls, type) and issubclass(cls, base)):
        raise ValueError(
            f"path: expected a {what} of a registered domain, got {name} in {file}"
            + ("" if trusted else "; trusted=True imports it, which runs its code")
        )
    try:
        return cls(**options)
    except TypeError as error:
        raise ValueError(f"path: expected options of {name} in {file}, got {error}") from error
