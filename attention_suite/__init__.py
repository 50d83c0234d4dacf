"""The command `attention-suite`: its table, its help, its messages; needs the standard library and nothing else.

`core` needs torch, which takes longer to import than a page of help may take. So what a command imports is imported
when it runs, and what the help lists stands in files that `python -m core.training.command.tables` writes.
"""

from .ours import check_core

__all__ = ["check_core"]
