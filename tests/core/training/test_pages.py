"""Measured blocks in pages of the documentation."""

import pytest

from core.training.pages import rewrite


def test_pages_are_rewritten_between_their_marks(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- begin x -->\nold\n<!-- end x -->\nafter\n")
    rewrite(page, "x", "new")
    assert page.read_text() == "before\n<!-- begin x -->\nnew\n<!-- end x -->\nafter\n"
    with pytest.raises(ValueError, match=r"page\.md"):
        rewrite(page, "y", "new")
    assert page.read_text().count("new") == 1
