"""The domains that are installed: importing one makes its tasks and data modules known by their class names."""

import inspect
from importlib.metadata import entry_points
from typing import NamedTuple

from ...extras import MissingExtraError
from ..data.module import DataModule
from ..task import Task

GROUP = "attention_suite.domains"


class Domain(NamedTuple):
    """A registered domain and, where it cannot be used, what mends that (one line)."""

    name: str
    problem: str | None


def load_domains() -> list[Domain]:
    """Import every domain of the entry-point group; one that fails does not hinder the others."""
    domains = []
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        problem = None
        try:
            point.load()
        except MissingExtraError as error:
            problem = str(error)
        except ModuleNotFoundError as error:
            problem = f'{point.name} needs {error.name}: pip install "attention-suite[{point.name}]"'
        except Exception as error:  # whatever is wrong with one domain, the others must work
            problem = f"{point.name} cannot be imported: {type(error).__name__}: {error}"
        domains.append(Domain(point.name, problem))
    return domains


def known(base: type) -> list[type]:
    """All public subclasses of Task or DataModule that have been imported, by name."""
    found: dict[str, type] = {}
    pending: list[type] = list(base.__subclasses__())
    while pending:
        cls = pending.pop()
        pending += cls.__subclasses__()
        if not cls.__name__.startswith("_") and not inspect.isabstract(cls):
            found[f"{cls.__module__}.{cls.__qualname__}"] = cls
    return sorted(found.values(), key=lambda cls: (cls.__module__.partition(".")[0], cls.__name__))


def catalogue(domains: list[Domain]) -> str:
    """What can be trained, one line each, and what is missing for the rest."""
    lines = []
    for title, base in (("Tasks (model: {class_path: ...})", Task), ("Data (data: {class_path: ...})", DataModule)):
        classes = known(base)
        lines.append(f"{title}:")
        lines += [f"  {cls.__name__:<28} {_summary(cls)}" for cls in classes] or ["  none"]
        lines.append("")
    lines += [f"Not usable here: {domain.problem}" for domain in domains if domain.problem]
    return "\n".join(lines).rstrip() + "\n"


def _summary(cls: type) -> str:
    return (inspect.getdoc(cls) or "").partition("\n")[0]
