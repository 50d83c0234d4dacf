"""Pages of help that are read, not made: nothing that they tell of is imported.

catalogue.json lists what the own domains can train and which packages they import; help/<command>.txt is what the
trainer's parser answers to --help, where the versions in help/made_with.json are installed and every own domain can be
used. Where they do not hold, the page is made anew, which takes some seconds. Both are written by
`python -m core.training.command.tables`.
"""

import importlib.util
import json
import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable
from importlib.metadata import EntryPoint, PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypedDict

from .domains import is_own, registered

FOLDER = Path(__file__).parent
CATALOGUE = FOLDER / "catalogue.json"
HELP = FOLDER / "help"
MAKERS = ("lightning", "jsonargparse", "docstring-parser", "typeshed-client")
"""Distributions that have a say in the pages of --help."""
TRAIN = ("lightning", "jsonargparse", "torchmetrics", "pyarrow", "numpy", "yaml")
"""What the extra `train` brings."""


class Offer(TypedDict):
    """What a domain offers: tasks and data modules, name -> summary, and the packages that it imports."""

    needs: list[str]
    tasks: dict[str, str]
    data: dict[str, str]


def own_offers() -> dict[str, Offer]:
    """The table of the own domains."""
    offers: dict[str, Offer] = json.loads(CATALOGUE.read_text(encoding="utf-8"))
    return offers


def train_problem() -> str | None:
    """What to say where the extra `train` is not installed."""
    return _missing("core.training", TRAIN, "train")


def catalogue(resolve: Callable[[str], Any]) -> str:
    """What can be trained, one line each, and what is missing for the rest.

    Args:
        resolve: Imports "module:name"; called where a domain is not in the table and must be asked.
    """
    offers: list[Offer] = []
    problems = []
    table = own_offers()
    for name, point in registered().items():
        if is_own(point) and name in table:
            offer, problem = table[name], own_problem(point, table[name])
        else:
            offer, problem = resolve("core.training.command.domains:ask")(point)
        if problem is not None:
            problems.append(f"Not usable here: {problem}")
        else:
            offers.append(offer)
    tasks = [item for offer in offers for item in offer["tasks"].items()]
    data = [item for offer in offers for item in offer["data"].items()]
    lines = []
    for title, items in (("Tasks (model: {class_path: ...})", tasks), ("Data (data: {class_path: ...})", data)):
        lines += [f"{title}:", *([f"  {name:<28} {text}" for name, text in items] or ["  none"]), ""]
    return "\n".join([*lines, *problems]).rstrip() + "\n"


def own_problem(point: EntryPoint, offer: Offer) -> str | None:
    """What an own domain lacks; None: it can be used."""
    if _found(point.module) is not None:
        return f"{point.name} cannot be imported: there is no package {point.module}"
    return _missing(point.name, offer["needs"], point.name)


def _missing(part: str, modules: Iterable[str], extra: str) -> str | None:
    missing = next((name for name in map(_found, modules) if name is not None), None)
    return None if missing is None else f'{part} needs {missing}: pip install "attention-suite[{extra}]"'


def _found(module: str) -> str | None:
    """The name of a module that is not there, None for one that is."""
    try:
        return None if importlib.util.find_spec(module) is not None else module
    except ModuleNotFoundError as error:
        return error.name or module


def circumstances() -> dict[str, str]:
    """The versions that a page of help depends on."""
    made = {"python": f"{sys.version_info.major}.{sys.version_info.minor}"}
    for name in MAKERS:
        try:
            made[name] = version(name)
        except PackageNotFoundError:
            made[name] = "none"
    return made


def stored_help(command: str) -> str | None:
    """The page of a command that trains, as wide as the terminal; None where the stored one may not be true here."""
    points = registered()
    table = own_offers()
    if json.loads((HELP / "made_with.json").read_text(encoding="utf-8")) != circumstances():
        return None
    if points.keys() != table.keys() or any(
        not is_own(point) or own_problem(point, table[name]) for name, point in points.items()
    ):
        return None
    width = max(shutil.get_terminal_size().columns - 2, 40)
    return "".join(_wrapped(line, width) for line in (HELP / f"{command}.txt").read_text(encoding="utf-8").splitlines())


def _wrapped(line: str, width: int) -> str:
    """A line of a page that argparse made for an endless terminal, as it would stand on one of this width."""
    option = re.match(r"  (-.*?)(?: {2,}|$)(.*)", line)
    if option is not None:
        head, text = option.groups()
        first = f"  {head}" if len(head) > 20 or not text else f"  {head:<22}"
        rest = textwrap.wrap(text, width - 24, break_long_words=False, break_on_hyphens=False)
        if first.endswith(" "):
            first += rest.pop(0)
        return "\n".join([first, *(" " * 24 + one for one in rest)]) + "\n"
    if line.startswith("usage: "):
        indent = " " * (len(line.partition(" [-")[0]) + 1)
        lines = [""]
        for part in re.split(r"(?<=\]) (?=\[)", line):
            if lines[-1] and len(lines[-1]) + 1 + len(part) > width:
                lines.append(indent + part)
            else:
                lines[-1] += f" {part}" if lines[-1] else part
        return "\n".join(lines) + "\n"
    indent = " " * (len(line) - len(line.lstrip()))
    return textwrap.fill(line.strip(), width, initial_indent=indent, subsequent_indent=indent) + "\n"
