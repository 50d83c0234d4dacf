"""How packages of the suite are imported: what to say where an extra is missing, modules by their former names."""

from collections.abc import Callable, Mapping
from importlib import import_module
from types import ModuleType


class MissingExtraError(ModuleNotFoundError):
    """A part of the suite needs a package that comes with an extra; the message is the one line that mends it.

    Args:
        part: Who needs it, as the user wrote it: "vision".
        error: What was raised when the package was imported.
        extra: The extra of attention-suite that installs it.
    """

    def __init__(self, part: str, error: ModuleNotFoundError, extra: str) -> None:
        super().__init__(f'{part} needs {error.name}: pip install "attention-suite[{extra}]"', name=error.name)
        self.extra = extra


def former_modules(package: str, homes: Mapping[str, str]) -> Callable[[str], ModuleType]:
    """What a package binds to `__getattr__`, so that modules stay its attributes by their former names.

    A module is imported when it is first asked for by that name.

    Args:
        package: The package's `__name__`.
        homes: Former name -> the module today, with its package.
    """

    def find(name: str) -> ModuleType:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return import_module(homes[name])

    return find
