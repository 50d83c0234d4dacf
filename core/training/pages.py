"""Put what a script measured into a page of the documentation, between two marks."""

from pathlib import Path

from .files import write_text


def rewrite(page: Path, block: str, text: str) -> None:
    """Replace what stands between `<!-- begin BLOCK -->` and `<!-- end BLOCK -->`.

    Args:
        page: A page in markdown.
        block: Name of the marks.
        text: What stands between them from now on.

    Raises:
        ValueError: The page does not have both marks once, in this order.
    """
    begin, end = f"<!-- begin {block} -->", f"<!-- end {block} -->"
    old = page.read_text(encoding="utf-8")
    if old.count(begin) != 1 or old.count(end) != 1 or old.index(begin) > old.index(end):
        raise ValueError(f"{page.name}: expected the marks {begin} and {end} once each, in this order")
    before, rest = old.split(begin)
    write_text(page, f"{before}{begin}\n{text.strip()}\n{end}{rest.split(end)[1]}")
