"""The classes that a trained model may be built from: those that registered domains define, and what is imported."""

import inspect
import sys
from collections.abc import Iterator

from attention_suite import registered as domains


def import_domains() -> None:
    """Import every registered domain that can be imported; what is missing for the others, the command line says."""
    for point in domains().values():
        try:
            point.load()
        except Exception:  # one domain without its extra must not hinder the others
            continue


def registered(base: type) -> list[type]:
    """All classes below Task or DataModule that can be made, by name: public ones, nothing abstract."""
    found = {
        full_path(cls): cls for cls in _below(base) if not cls.__name__.startswith("_") and not inspect.isabstract(cls)
    }
    return sorted(found.values(), key=lambda cls: (cls.__module__.partition(".")[0], cls.__name__))


def abstract(base: type, name: str) -> type | None:
    """The class of this name or path below `base` that cannot be made, as it lacks a method; None: there is none."""
    lacking = (cls for cls in _below(base) if inspect.isabstract(cls))
    return next((cls for cls in lacking if name in (cls.__name__, full_path(cls), public_path(cls))), None)


def _below(base: type) -> Iterator[type]:
    """All classes that are derived from one; twice where they are by two ways."""
    pending: list[type] = list(base.__subclasses__())
    while pending:
        cls = pending.pop()
        pending += cls.__subclasses__()
        yield cls


def full_path(cls: type) -> str:
    """The path of a class by the file that it stands in."""
    return f"{cls.__module__}.{cls.__qualname__}"


def public_path(cls: type) -> str:
    """The shortest path by which a class can be imported: "vision.DigitsData", not the file that it stands in."""
    parts = cls.__module__.split(".")
    for length in range(1, len(parts)):
        package = ".".join(parts[:length])
        if getattr(sys.modules.get(package), cls.__name__, None) is cls:
            return f"{package}.{cls.__name__}"
    return full_path(cls)
