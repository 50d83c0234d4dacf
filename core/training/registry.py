"""The classes that a trained model may be built from: those that registered domains define, and what is imported."""

import inspect
import sys

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
    found: dict[str, type] = {}
    pending: list[type] = list(base.__subclasses__())
    while pending:
        cls = pending.pop()
        pending += cls.__subclasses__()
        if not cls.__name__.startswith("_") and not inspect.isabstract(cls):
            found[f"{cls.__module__}.{cls.__qualname__}"] = cls
    return sorted(found.values(), key=lambda cls: (cls.__module__.partition(".")[0], cls.__name__))


def abstract(base: type, name: str) -> type | None:
    """The class of this name or path below `base` that cannot be made, as it lacks a method; None: there is none."""
    pending: list[type] = list(base.__subclasses__())
    while pending:
        cls = pending.pop()
        pending += cls.__subclasses__()
        if inspect.isabstract(cls) and name in (cls.__name__, f"{cls.__module__}.{cls.__qualname__}", public_path(cls)):
            return cls
    return None


def public_path(cls: type) -> str:
    """The shortest path by which a class can be imported: "vision.DigitsData", not the file that it stands in."""
    parts = cls.__module__.split(".")
    for length in range(1, len(parts)):
        package = ".".join(parts[:length])
        if getattr(sys.modules.get(package), cls.__name__, None) is cls:
            return f"{package}.{cls.__name__}"
    return f"{cls.__module__}.{cls.__qualname__}"
