"""Numbers as a table of text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(names: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Answer a Markdown table with columns of even width.

    Args:
        names: Of the columns.
        rows: Their cells.
    """
    lines = [list(names), *(list(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(names))]
    shown = ["| " + " | ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)) + " |" for line in lines]
    return "\n".join([shown[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *shown[1:]])
