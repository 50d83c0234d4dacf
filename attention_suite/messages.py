"""One message an error, under one prefix, with one set of exit codes."""

import difflib
import sys
from collections.abc import Iterable

PREFIX = "attention-suite"
FAILED, USAGE, INTERRUPTED, TERMINATED = 1, 2, 130, 143
"""Exit codes, beside 0: it failed, it was asked for wrongly, it was stopped by SIGINT or by SIGTERM."""


class CommandError(Exception):
    """An error that has been put into words; its cause is the error itself.

    Args:
        message: What to print after the prefix.
        status: The exit code.
    """

    def __init__(self, message: str, status: int = FAILED) -> None:
        super().__init__(message)
        self.status = status


def complain(message: str) -> None:
    """Print an error."""
    print(f"{PREFIX}: error: {message}", file=sys.stderr)


def describe(error: Exception, plain: tuple[type[Exception], ...] = ()) -> str:
    """An error in one message: its own text where that was written for the user, else with its kind before it.

    Args:
        error: That was raised.
        plain: More kinds of errors whose text explains itself.
    """
    text = str(error).strip()
    if isinstance(error, ModuleNotFoundError) and error.name and text == f"No module named {error.name!r}":
        return needs(error.name)
    if isinstance(error, UnicodeError) or not isinstance(error, (ValueError, OSError, ImportError, *_PLAIN, *plain)):
        return f"{type(error).__name__}: {text} (--debug shows where)"
    return text


_PLAIN = (NotImplementedError, CommandError)


def needs(module: str) -> str:
    """What to say where a package is missing."""
    return f"needs {module}: pip install {module.partition('.')[0]}"


def nearest(name: str, names: Iterable[str]) -> str:
    """A question after the one name that is close; nothing where none is."""
    found = difflib.get_close_matches(name, list(names), n=1, cutoff=0.6)
    return f"; did you mean {found[0]!r}?" if found else ""
