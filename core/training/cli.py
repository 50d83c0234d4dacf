"""The entry point of the command line: it loads the rest, or says in one line which extra is missing."""

import sys

from ..extras import MissingExtraError


def main(args: list[str] | None = None) -> None:
    """Run the command line; an error is one message on stderr and a non-zero exit.

    Args:
        args: The arguments; None takes the program's own.
    """
    try:
        from .command.app import run
    except ModuleNotFoundError as error:
        print(f"lightning: error: {MissingExtraError('core.training', error, 'train')}", file=sys.stderr)
        sys.exit(1)
    run(args)
