"""Versions, mean ± sd, a table, for demos and benchmarks of graphs."""

import platform
import statistics
from collections.abc import Sequence

import torch

import core


def versions() -> str:
    """What ran."""
    import torch_geometric

    return (
        f"attention-suite {core.__version__}, python {platform.python_version()}, torch {torch.__version__}, "
        f"torch_geometric {torch_geometric.__version__}, {torch.get_num_threads()} thread(s)"
    )


def mean_sd(values: Sequence[float | None], digits: int = 4) -> str:
    """Mean ± sd; of one value, the value; a dash where one is missing."""
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return "-"
    mean = f"{statistics.mean(known):.{digits}f}"
    return f"{mean} ± {statistics.stdev(known):.{digits}f}" if len(known) > 1 else mean


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [f"| {' | '.join(header)} |", f"|{'---|' * len(header)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])
