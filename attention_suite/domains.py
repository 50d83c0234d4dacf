"""The domains that are installed, found by their entry points and not imported."""

import importlib.util
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import NamedTuple

from .parser import Command

GROUP = "attention_suite.domains"
DISTRIBUTION = "attention-suite"


class DomainCommands(NamedTuple):
    """The commands that a domain declares, and what its --help says about them."""

    about: str
    table: dict[str, Command]


def registered() -> dict[str, EntryPoint]:
    """Every domain of the entry-point group, by its name."""
    return {point.name: point for point in sorted(entry_points(group=GROUP), key=lambda point: point.name)}


def distribution(point: EntryPoint) -> str:
    """The distribution that brought an entry point."""
    return point.dist.name if point.dist is not None else "unknown"


def is_own(point: EntryPoint) -> bool:
    """Whether a domain is one of this distribution's."""
    return distribution(point) == DISTRIBUTION


def commands(point: EntryPoint) -> DomainCommands | None:
    """What a domain's `commands.py` declares: `ABOUT`, and `COMMANDS`, name -> (help, add_arguments, run).

    The file is run by itself, so that help needs none of what the domain imports; `run` imports from its package when
    it is called. None: the domain has no such file, or is not there.
    """
    spec = importlib.util.find_spec(point.module)
    folders = [] if spec is None else list(spec.submodule_search_locations or ())
    files = [file for folder in folders if (file := Path(folder, "commands.py")).is_file()]
    if not files:
        return None
    own = importlib.util.spec_from_file_location(f"{point.module}.commands", files[0])
    assert own is not None and own.loader is not None
    module = importlib.util.module_from_spec(own)
    own.loader.exec_module(module)
    return DomainCommands(module.ABOUT, {name: Command(*entry) for name, entry in module.COMMANDS.items()})
