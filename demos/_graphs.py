"""What the demos of supply chains share: versions, mean ± sd, and writing a table into a page."""

import platform
import statistics
from collections.abc import Sequence
from pathlib import Path

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


def publish(page: Path, name: str, text: str) -> None:
    """Put the text between the page's marks `<!-- begin NAME -->` and `<!-- end NAME -->`.

    Raises:
        ValueError: The page has no such marks.
    """
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    content = page.read_text("utf-8")
    before, found, rest = content.partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"{page}: expected the marks {begin} and {end}")
    page.write_text(f"{before}{begin}\n{text.rstrip()}\n{end}{after}", "utf-8")
