"""What to say when a part of the suite is imported whose extra is not installed."""

import importlib


class MissingExtraError(ModuleNotFoundError):
    """A part of the suite needs a package that comes with an extra; the message is the one line that mends it."""

    def __init__(self, part: str, module: str, extra: str) -> None:
        super().__init__(f'{part} needs {module}: pip install "attention-suite[{extra}]"', name=module)
        self.extra = extra


def require(*modules: str, part: str, extra: str) -> None:
    """Import `modules`, or say which extra brings them.

    Args:
        modules: Top-level names of the packages that `part` cannot do without.
        part: Who needs them, as the user wrote it: "vision".
        extra: The extra of attention-suite that installs them.

    Raises:
        MissingExtraError: One of them, or a package that it needs in turn, is not installed.
    """
    for module in modules:
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            raise MissingExtraError(part, error.name or module, extra) from error
