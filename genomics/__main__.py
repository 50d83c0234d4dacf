"""`python -m genomics COMMAND`: what `attention-suite genomics COMMAND` does."""

import sys
from collections.abc import Sequence

from attention_suite import run


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; answer the exit status.

    Args:
        arguments: As typed; None takes the process's.
    """
    return run(["genomics", *(sys.argv[1:] if arguments is None else arguments)])


if __name__ == "__main__":
    sys.exit(main())
