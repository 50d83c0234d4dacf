"""The domains that are installed: importing one makes its tasks and data modules known by their class names."""

import inspect
from importlib import import_module
from importlib.metadata import EntryPoint
from types import ModuleType
from typing import NamedTuple

from attention_suite import Offer, distribution, is_own, needs, registered

from ...extras import MissingExtraError
from ..data.module import DataModule
from ..task import Task


class Domain(NamedTuple):
    """A registered domain and, where it cannot be used, what mends that (one line)."""

    name: str
    problem: str | None


def load_domains() -> list[Domain]:
    """Import every domain of the entry-point group; one that fails does not hinder the others."""
    return [Domain(name, _problem(point)) for name, point in registered().items()]


def _problem(point: EntryPoint) -> str | None:
    """Import a domain; answer why that fails: the missing package, and for a stranger's domain its distribution."""
    own = is_own(point)
    name = point.name if own else f"{point.name} (distribution {distribution(point)})"
    try:
        point.load()
    except MissingExtraError as error:
        return str(error) if own else f"{name}: {error}"
    except ModuleNotFoundError as error:
        return str(MissingExtraError(name, error, name)) if own else f"{name} {needs(error.name or str(error))}"
    except Exception as error:  # whatever is wrong with one domain, the others must work
        return f"{name} cannot be imported: {type(error).__name__}: {error}"
    return None


def ask(point: EntryPoint) -> tuple[Offer | None, str | None]:
    """What a domain offers, asked of itself; or why it cannot be used."""
    problem = _problem(point)
    return (None, problem) if problem else (offer(import_module(point.module)), None)


def offer(module: ModuleType) -> Offer:
    """The tasks and data modules that a domain exports and that can be made, with the first line of each docstring."""
    return Offer(needs=[], tasks=_exported(module, Task), data=_exported(module, DataModule))


def _exported(module: ModuleType, base: type) -> dict[str, str]:
    """Public, concrete classes that a configuration can name; without `__all__`, those that are the module's own."""
    names = getattr(module, "__all__", [name for name in vars(module) if not name.startswith("_")])
    found = [value for name in names if inspect.isclass(value := getattr(module, name)) and issubclass(value, base)]
    top = module.__name__
    own = [cls for cls in found if cls.__module__ == top or cls.__module__.startswith(f"{top}.")]
    classes = [cls for cls in own if cls not in (Task, DataModule) and not inspect.isabstract(cls) and is_offered(cls)]
    return {cls.__name__: _summary(cls) for cls in sorted(set(classes), key=lambda cls: cls.__name__)}


def is_offered(cls: type) -> bool:
    """Whether the help lists a class: not the former name of another, and nothing that only Python can make."""
    return not vars(cls).get("former", False) and not getattr(cls, "from_python", False)


def _summary(cls: type) -> str:
    return (inspect.getdoc(cls) or "").partition("\n")[0]
