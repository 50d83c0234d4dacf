"""The parser of commands other than the trainer's: argparse, with our prefix before its errors."""

import argparse
import sys
from collections.abc import Callable, Mapping
from typing import NamedTuple, NoReturn

from .messages import USAGE, complain


class Command(NamedTuple):
    """A command of a parser: one line of help, what adds its arguments, and what runs it on them."""

    help: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], None]


class CommandParser(argparse.ArgumentParser):
    """Ends with one line and the code of wrong usage where arguments make no sense."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong."""
        complain(f"{message} (`{self.prog} --help` shows what there is)")
        sys.exit(USAGE)


def run_one(prog: str, about: str, commands: Mapping[str, Command], arguments: list[str]) -> None:
    """Parse the arguments, of which the first is a name in the table, and run that command.

    Args:
        prog: What was typed before them: "attention-suite genomics".
        about: Printed by --help.
        commands: Name -> command.
        arguments: As typed.
    """
    parser = CommandParser(prog=prog, description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    choices = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    for name, command in commands.items():
        one = choices.add_parser(name, help=command.help, description=command.help)
        command.add_arguments(one)
        one.set_defaults(command_to_run=command.run)
    options = parser.parse_args(arguments)
    run: Callable[[argparse.Namespace], None] = options.command_to_run
    del options.command_to_run, options.command
    run(options)
