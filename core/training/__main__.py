"""`python -m core.training`: the command line, whatever else is installed under the name `lightning`."""

from .cli import main

if __name__ == "__main__":
    main()
