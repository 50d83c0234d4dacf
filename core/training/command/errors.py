"""One message per error: what was expected, what was got, and the nearest name that exists."""

import inspect
import re
from argparse import ArgumentError

from lightning import Callback, Trainer
from lightning.fabric.utilities.exceptions import MisconfigurationException

from attention_suite import describe, nearest, needs

from ..data.module import DataModule
from ..registry import abstract, full_path, registered
from ..task import Task
from .domains import Domain

_BASES = {"model": Task, "data": DataModule, "trainer.callbacks": Callback}
_SHORT_CUTS = ("ema", "early_stopping", "checkpoint_every", "run_name", "out", "ckpt_path", "seed_everything", "config")


def explain(error: Exception, domains: list[Domain]) -> str:
    """The message for an error of the command line.

    Args:
        error: that was raised.
        domains: that were loaded; those that cannot be used are named where a class is not found.
    """
    text = str(error)
    if lacking := _lacking(text):
        return lacking
    if isinstance(error, ArgumentError):
        return _parser_error(text, domains)
    if text.startswith("Does not validate against any of the Union subtypes") and (raised := _raised(text)):
        return raised
    return describe(error, plain=(MisconfigurationException,))


def options_of(cls: type) -> list[str]:
    """The names that a class's constructor takes, those it hands on to its bases included."""
    names: list[str] = []
    for base in cls.__mro__:
        parameters = inspect.signature(base.__init__).parameters.values() if "__init__" in vars(base) else ()  # type: ignore[misc]
        kinds = [p.kind for p in parameters]
        names += [
            p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and p.name != "self"
        ]
        if kinds and inspect.Parameter.VAR_KEYWORD not in kinds:
            break
    return names


def _lacking(text: str) -> str | None:
    """The message where a class cannot be had for want of a package; None: that is not what is wrong."""
    path = _first(r"Problem with given class_path '([^']+)'", text)
    if path is None:
        return None
    key = _first(r'Parser key "([^"]+)"', text) or _trainer_key(text)
    packages = re.findall(r"Requirement '([\w.-]+)[^']*' not met", text)
    if packages:  # Lightning's own check; of tensorboard and tensorboardX either does
        return f"{key}: {needs(min(packages, key=len))}"
    module = _first(r"No module named '([^']+)'", text)
    if module is None or path == module or path.startswith(f"{module}."):
        return None
    return f"{key}: {path} {needs(module)}"


def _raised(text: str) -> str | None:
    """What the constructor of a class said, out of jsonargparse's list of what went wrong for each type."""
    listed = (_first(r"(?s)Errors:\n(.*?)\nGiven value type:", text) or "").split("\n  - ")
    said = [one.strip().removeprefix("- ") for one in listed if "Expected a <class 'NoneType'>" not in one]
    return said[0] if len(said) == 1 and said[0] else None


def _trainer_key(text: str) -> str:
    """The trainer's option whose class is the first that a message of jsonargparse names."""
    name = (_first(r"Subtypes: \[[^<\]]*<class '([\w.]+)'>", text) or "").rpartition(".")[2]
    options = inspect.signature(Trainer.__init__).parameters.items()
    found = [option for option, one in options if name and re.search(rf"\b{name}\b", str(one.annotation))]
    return f"trainer.{found[0]}" if found else "trainer"


def _parser_error(text: str, domains: list[Domain]) -> str:
    """A shorter form of what jsonargparse says."""
    key = _first(r'Parser key "([^"]+)"', text) or ""
    base = _BASES.get(key)
    path = _first(r"Problem with given class_path '([^']+)'", text)
    cls = _class(path, base) if path and base else None
    where = f"{key} ({path.rpartition('.')[2]})" if path else key
    if option := _first(r"Option '([^']+)' is not accepted", text) or _first(
        r"unrecognized arguments: --([^\s=]+)", text
    ):
        hint = nearest(option, options_of(cls)) if cls else _nearest_key(option)
        return f"{where + ': ' if where else ''}there is no option {option!r}{hint}"
    if option := _first(r"does not accept option '([^']+)'", text):
        return f"there is no option {option!r}{_nearest_key(option)}"
    if missing := _first(r"the following arguments are required: ([^\n]+)", text):
        missing = re.sub(r"\b(fit|validate|test|predict)\.", "", missing)
        return f"{where}: missing {missing}" if where else f"missing {missing}: give a --config, or --model and --data"
    if path and (module := _first(r"No module named '([^']+)'", text)):
        return f"{key}: no class {path!r}: there is no module {module!r}{_unusable(domains)}"
    if base and (name := _first(r"Expected a dot import path string: (\S+)", text)):
        names = [c.__name__ for c in registered(base)]
        known_names = f"; known: {', '.join(names)}" if base is not Callback and names else ""
        hint = nearest(name, names)
        return f"{key}: there is no class {name!r}{hint or known_names + _unusable(domains)}"
    inner = re.search(r'Parser key "([^"]+)":\s+Expected an? <class \'([\w.]+)\'>\. Got value: ([^\n]*)', text)
    if inner and inner[1] != key:
        return f"{key}.{inner[1]}: expected {inner[2]}, got {inner[3]!r}"
    inner_key = re.findall(r'Parser key "([^"]+)"', text)
    kinds = _first(r"Subtypes: \[([^\]]+)\]", text)
    value = _first(r"Given value: ([^\n]*)", text)
    if base and value and (cls := abstract(base, value)):
        missing = ", ".join(sorted(cls.__abstractmethods__))  # type: ignore[attr-defined]
        return f"{key}: expected a {base.__name__} that can be made, got {value}, which lacks {missing}"
    if kinds and value and not path:
        name = ".".join(dict.fromkeys(inner_key))
        return f"{name}: expected {_kinds(kinds)}, got {value!r}"
    if path and inner_key[1:]:
        last = text.rpartition('Parser key "')[2]
        kinds, value = _first(r"Subtypes: \[(.+)\]\n", last), _first(r"Given value: ([^\n]*)", last)
        if kinds and value:
            return f"{key}.{inner_key[-1]}: expected {_kinds(kinds)}, got {value!r}"
    return " ".join(text.split())


def _first(pattern: str, text: str) -> str | None:
    found = re.search(pattern, text)
    return found[1] if found else None


def _class(path: str, base: type) -> type | None:
    return next((c for c in registered(base) if path in (full_path(c), c.__name__)), None)


def _kinds(text: str) -> str:
    plain = re.sub(r"<class '([\w.]+)'>", lambda found: found[1].rpartition(".")[2], text)
    names = [name.replace("typing.", "") for name in re.split(r", (?![^\[]*\])", plain)]
    return " or ".join("nothing" if name == "NoneType" else name for name in names) or text


def _nearest_key(option: str) -> str:
    trainer = [f"trainer.{name}" for name in inspect.signature(Trainer.__init__).parameters if name != "self"]
    whole = nearest(option, [*trainer, *_SHORT_CUTS])
    head = option.partition(".")[0]
    return whole or (nearest(head, ["model", "data", "trainer"]) if head not in ("model", "data", "trainer") else "")


def _unusable(domains: list[Domain]) -> str:
    return "".join(f"; not usable here: {domain.problem}" for domain in domains if domain.problem)
