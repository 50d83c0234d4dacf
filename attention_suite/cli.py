"""The one table of commands, and what runs an entry of it."""

import os
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

from .domains import commands, registered
from .messages import FAILED, INTERRUPTED, PREFIX, USAGE, CommandError, complain, describe, nearest
from .ours import check_core
from .pages import catalogue, stored_help, train_problem
from .parser import run_one


class Entry(NamedTuple):
    """A command: one line of help, and the function that runs it, as "module:name"; it takes all that was typed.

    What trains stands on Lightning, whose parser reads its arguments.
    """

    help: str
    function: str
    trains: bool = False


COMMANDS = {
    "fit": Entry("train a task on data", "core.training.command.app:run", trains=True),
    "validate": Entry("score a checkpoint on the validation part", "core.training.command.app:run", trains=True),
    "test": Entry("score a checkpoint on the test part", "core.training.command.app:run", trains=True),
    "predict": Entry("write a table of predictions", "core.training.command.app:run", trains=True),
    "configs": Entry("list, show or copy the configurations that come along", "attention_suite.configs:run"),
}
"""Add a command by adding its entry."""

HELP = """\
attention-suite: train, validate, test and predict with attention models beyond language.

usage: attention-suite {trains} --config FILE [--model.KEY VALUE] [--data.KEY VALUE] [--trainer.KEY VALUE]
       attention-suite COMMAND ...

  attention-suite fit --config configs/vision/digits.yaml
  attention-suite fit --config configs/vision/digits.yaml --ckpt_path runs/digits/version_0/last.ckpt     (resume)
  attention-suite test --config configs/vision/digits.yaml --ckpt_path runs/digits/version_0/best.ckpt
  attention-suite predict --config configs/vision/digits.yaml --ckpt_path runs/digits/version_0/best.ckpt --out t.csv
  attention-suite fit --help                 every option of a command
  attention-suite fit --model.help CLASS     the options of a task (--data.help CLASS: of a data module)

Short cuts: --ema DECAY, --early_stopping PATIENCE, --checkpoint_every STEPS, --test_after_fit true. Runs are kept under
trainer.default_root_dir (runs), each in <config's name>/version_<n>. --debug shows the traceback of an error.

"""


def main(args: list[str] | None = None) -> None:
    """Run the command line; an error is one message on stderr and a non-zero exit.

    Args:
        args: The arguments; None takes the program's own.
    """
    status = run(args)
    if status:
        sys.exit(status)


def run(args: list[str] | None = None) -> int:
    """Run the command line; answer the exit code.

    Args:
        args: The arguments; None takes the program's own.
    """
    arguments = sys.argv[1:] if args is None else list(args)
    debug = "--debug" in arguments or os.environ.get("ATTENTION_SUITE_DEBUG", "") not in ("", "0")
    try:
        return _run([argument for argument in arguments if argument != "--debug"])
    except KeyboardInterrupt:
        print(f"{PREFIX}: interrupted", file=sys.stderr)
        return INTERRUPTED
    except CommandError as error:
        if debug:
            raise (error.__cause__ or error) from None
        complain(str(error))
        return error.status
    except Exception as error:
        if debug:
            raise
        complain(describe(error))
        return FAILED


def _run(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        return _help()
    name = arguments[0]
    if name in COMMANDS or name.startswith("-"):  # Lightning's parser takes --config before the subcommand, too
        entry = COMMANDS.get(name, COMMANDS["fit"])
        if entry.trains:
            if len(arguments) == 2 and arguments[1] in ("-h", "--help") and (text := stored_help(name)):
                print(text, end="")
                return 0
            if problem := train_problem():
                raise CommandError(problem)
        function: Callable[[list[str]], int] = _resolve(entry.function)
        return function(arguments)
    points = registered()
    if name not in points:
        known = [*COMMANDS, *points]
        raise CommandError(
            f"there is no command {name!r}{nearest(name, known) or '; known: ' + ', '.join(known)}", USAGE
        )
    declared = commands(points[name])
    if declared is None:
        raise CommandError(f"{name} has no commands of its own", USAGE)
    run_one(f"{PREFIX} {name}", declared.about, declared.table, arguments[1:])
    return 0


def _help() -> int:
    if problem := train_problem():
        raise CommandError(problem)
    trains = ",".join(name for name, entry in COMMANDS.items() if entry.trains)
    print(HELP.format(trains=f"{{{trains}}}") + _commands() + catalogue(_resolve), end="")
    return 0


def _commands() -> str:
    """All commands, one line each."""
    lines = {name: entry.help for name, entry in COMMANDS.items()}
    for name, point in registered().items():
        declared = commands(point)
        lines |= {f"{name} {one}": command.help for one, command in declared.table.items()} if declared else {}
    return "Commands (COMMAND --help):\n" + "".join(f"  {name:<28} {text}\n" for name, text in lines.items()) + "\n"


def _resolve(function: str) -> Any:
    """Import "module:name", once it is sure that the core that it meets is ours."""
    module, _, name = function.partition(":")
    if not module.startswith("attention_suite."):
        check_core("the command line")
    return getattr(import_module(module), name)
