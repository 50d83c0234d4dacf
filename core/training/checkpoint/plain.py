"""What may stand in options that take plain values: no class, no function, nothing that runs when it is read.

A parser of configurations makes an object of every mapping with a `class_path`, wherever it stands. A configuration may
name classes for the model, the data, callbacks, loggers and plugins: that is its purpose. A checkpoint may not, and
neither may the options of a task or of a data module that take plain values.
"""

import inspect
import os
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml
from jsonargparse import Namespace

ALLOW = "ATTENTION_SUITE_ALLOW"
"""Environment variable: further modules, with commas between, whose functions a configuration may name."""
_PLAIN = (str, int, float, bool, bytes, type(None), object)
_CONTAINERS = (list, tuple, dict, set, Mapping, Sequence)


def check_stored(options: Any, key: str, path: str) -> None:
    """Refuse options in a checkpoint that are more than plain values, before anything that they name is imported.

    Args:
        options: What the checkpoint stores under `key`.
        key: Such as "hyper_parameters".
        path: Of the checkpoint, for messages.

    Raises:
        ValueError: An option holds a class path, or is no plain value; it is named.
    """
    if not isinstance(options, Mapping):
        raise ValueError(f"ckpt_path: expected options by name in {key} of {path}, got {type(options).__name__}")
    for name, value in options.items():
        if name in ("_class_path", "_instantiator") and isinstance(value, str):
            continue
        for place, what in _strangers(value, str(name)):
            raise ValueError(f"ckpt_path: expected plain values in {key} of {path}, got {what} at {place}")


def check_given(options: Any, cls: type, part: str) -> None:
    """Refuse a class path inside an option that takes plain values, before anything is made of it.

    Args:
        options: Of a task or a data module, as they were parsed.
        cls: The task or the data module.
        part: "model" or "data", for messages.

    Raises:
        ValueError: An option that takes plain values holds a class path.
    """
    hints = annotations_of(cls)
    for name, value in _items(options).items():
        if is_plain_type(hints.get(name, Any)):
            for place, what in _strangers(value, name):
                raise ValueError(f"{part}.{place}: expected plain values, got {what}")


def check_functions(value: Any, allowed: Sequence[str], place: str = "") -> None:
    """Refuse functions and classes that a configuration hands to an option, unless they are of known modules.

    Args:
        value: A part of a configuration, as it was parsed.
        allowed: Packages whose functions are known.
        place: Where the part stands, for messages.

    Raises:
        ValueError: A function is of another module; it is named, and what allows it.
    """
    if isinstance(value, (Mapping, Namespace)):
        for name, inner in _items(value).items():
            check_functions(inner, allowed, f"{place}.{name}" if place else str(name))
    elif isinstance(value, (list, tuple)):
        for number, inner in enumerate(value):
            check_functions(inner, allowed, f"{place}[{number}]")
    elif isinstance(value, (type, types.FunctionType, types.BuiltinFunctionType, types.MethodType)):
        module = str(getattr(value, "__module__", ""))
        known = [*allowed, *filter(None, os.environ.get(ALLOW, "").split(","))]
        if not any(module == one or module.startswith(f"{one}.") for one in known):
            name = f"{module}.{getattr(value, '__qualname__', value)}"
            raise ValueError(
                f"{place}: expected a function of {', '.join(allowed)}, got {name}; {ALLOW}={module} allows its module"
            )


def _items(value: Mapping[str, Any] | Namespace) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else dict(vars(value))


def annotations_of(cls: type) -> dict[str, Any]:
    """The types of a class's constructor options, those that it hands on to its bases included."""
    found: dict[str, Any] = {}
    for base in cls.__mro__:
        init = vars(base).get("__init__")
        if init is None or base is object:
            continue
        try:
            hints = typing.get_type_hints(init)
        except (NameError, TypeError):  # a name of its module that is there for types alone
            hints = {}
        for name, parameter in inspect.signature(init).parameters.items():
            found.setdefault(name, hints.get(name, parameter.annotation))
    return found


def is_plain_type(hint: Any) -> bool:
    """Whether a type holds plain values alone: numbers, texts, None, and containers of them; Any counts as plain."""
    if hint in (Any, inspect.Parameter.empty) or isinstance(hint, str):
        return True
    origin = typing.get_origin(hint)
    if origin is typing.Literal:
        return True
    if origin in (typing.Union, types.UnionType):
        return all(map(is_plain_type, typing.get_args(hint)))
    if origin is not None:
        return origin in _CONTAINERS and all(one is Ellipsis or is_plain_type(one) for one in typing.get_args(hint))
    return hint in _PLAIN or hint in _CONTAINERS


def _strangers(value: Any, place: str) -> Iterator[tuple[str, str]]:
    """Where a value holds more than plain ones, and what."""
    if isinstance(value, str):  # the parser reads a text as YAML where an option takes a mapping or a list
        try:
            meant = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError):  # ValueError: such as a date that there is not
            return
        if isinstance(meant, (dict, list)):
            yield from _strangers(meant, place)
        return
    if value is None or isinstance(value, (int, float, bool)):
        return
    if isinstance(value, (Mapping, Namespace)):
        items: dict[Any, Any] = _items(value)
        if "class_path" in items:
            yield place, f"a class path, {items['class_path']!r}"
            return
        for name, inner in items.items():
            if not isinstance(name, (str, int)):
                yield place, f"a key of type {type(name).__name__}"
            yield from _strangers(inner, f"{place}.{name}")
    elif isinstance(value, (list, tuple)):
        for number, inner in enumerate(value):
            yield from _strangers(inner, f"{place}[{number}]")
    else:
        yield place, f"a {type(value).__name__}"
