"""Options that have another name than before: the former name stays accepted, with a note."""

import sys
from typing import Any, TypeVar

T = TypeVar("T")
_said: set[tuple[str, str]] = set()


def renamed(owner: str, former: str, given: T | None, name: str, value: T | None) -> T | None:
    """Answer the value of a renamed option, by whichever name it came; None is "not given" for both.

    Args:
        owner: The class whose option it is, for messages.
        former: The former name.
        given: What came under the former name.
        name: The name now.
        value: What came under it.

    Raises:
        ValueError: Both were given, and differ.
    """
    if given is None:
        return value
    if value is not None and value != given:
        raise ValueError(f"{name}: expected one of {name} and {former} (its former name), got {value!r} and {given!r}")
    say_once(owner, f"note: {owner}: {former} is now called {name}")
    return given


def say_once(owner: str, note: str) -> None:
    """Print a note on stderr, once in this process."""
    if (owner, note) not in _said:
        _said.add((owner, note))
        print(note, file=sys.stderr)


def keep(hparams: Any, name: str, value: Any, former: str, unset: Any = None) -> None:
    """Store a renamed option in a module's hyperparameters under its name now alone."""
    hparams[name] = value
    if former in hparams:
        hparams[former] = unset
