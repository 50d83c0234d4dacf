"""The circumstances of a run: versions, revision, device, threads, data."""

import os
import platform
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from lightning import Trainer

from ..data.module import DataModule

_DISTRIBUTION = "attention-suite"


def describe(trainer: Trainer, seed: int | None) -> dict[str, Any]:
    """Everything about a run that its configuration does not say, as plain values."""
    strategy = trainer.strategy
    return {
        "versions": versions(),
        "git": git_revision(Path(__file__).parent),
        "platform": platform.platform(),
        "device": str(strategy.root_device),
        "device_name": _device_name(strategy.root_device),
        "processes": trainer.world_size,
        "threads": torch.get_num_threads(),
        "precision": str(trainer.precision),
        "seed": seed,
        "command": [Path(sys.argv[0]).name, *masked(sys.argv[1:])],
    }


def masked(arguments: list[str]) -> list[str]:
    """Arguments of a command with the values of secrets left out: of options whose last word names one."""
    shown, hide = [], False
    for argument in arguments:
        option, sign, _ = argument.partition("=")
        secret = argument.startswith("-") and re.search(
            r"(?:^|[-_.])(token|password|secret|api_?key)$", option, re.IGNORECASE
        )
        shown.append(
            "***" if hide and not argument.startswith("--") else f"{option}=***" if secret and sign else argument
        )
        hide = bool(secret) and not sign
    return shown


def describe_data(data: Any) -> dict[str, Any]:
    """Name, licence, source, fingerprint and split of the data (None where they are not one of our data modules)."""
    if not isinstance(data, DataModule):
        return {"name": None if data is None else type(data).__name__, "fingerprint": None}
    return {
        "name": type(data).__name__,
        "licence": data.licence,
        "source": data.source,
        "fingerprint": data.fingerprint(),
        "split": data.describe_split(),
    }


def versions() -> dict[str, str]:
    """Versions of Python, of the suite and of everything that it or one of its extras asks for and that is there."""
    found = {"python": platform.python_version()}
    names = {"torch", "lightning", "torchmetrics", "jsonargparse", "numpy", _DISTRIBUTION}
    try:
        required = metadata.requires(_DISTRIBUTION) or []
    except metadata.PackageNotFoundError:  # run from a source tree
        required = []
    for line in required:
        if "extra == 'dev'" not in line.replace('"', "'"):
            names.add("".join(c if c.isalnum() or c in "-_." else " " for c in line).split()[0])
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def git_revision(folder: Path) -> dict[str, Any] | None:
    """Commit of the suite's source tree and whether it has changes; None outside a repository or without git."""
    git = ["git", "-C", os.fspath(folder)]
    try:
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=True)
        tracked = subprocess.run([*git, "ls-files", "--error-unmatch", __file__], capture_output=True, timeout=10)
        changes = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    if tracked.returncode != 0:  # installed into somebody else's repository
        return None
    return {"commit": commit.stdout.strip(), "changed": bool(changes.stdout.strip())}


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
