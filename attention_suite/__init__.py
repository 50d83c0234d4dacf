"""The command `attention-suite`: its table, its help, its messages; needs the standard library and nothing else.

`core` needs torch, which takes longer to import than a page of help may take. So what a command imports is imported
when it runs, and what the help lists stands in files that `python -m core.training.command.tables` writes.
"""

from .cli import COMMANDS, main, run
from .domains import distribution, is_own, registered
from .messages import FAILED, INTERRUPTED, PREFIX, TERMINATED, USAGE, CommandError, describe, nearest, needs
from .ours import check_core
from .pages import CATALOGUE, HELP, Offer, circumstances

__all__ = [
    "CATALOGUE",
    "COMMANDS",
    "FAILED",
    "HELP",
    "INTERRUPTED",
    "PREFIX",
    "TERMINATED",
    "USAGE",
    "CommandError",
    "Offer",
    "check_core",
    "circumstances",
    "describe",
    "distribution",
    "is_own",
    "main",
    "nearest",
    "needs",
    "registered",
    "run",
]
