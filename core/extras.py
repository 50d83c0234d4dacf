"""What to say when a part of the suite is imported whose extra is not installed."""


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
