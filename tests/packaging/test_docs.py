"""The API reference is built without a warning, by the command of `make docs`."""

import re
import shlex
import subprocess
import sys

import core

from .tree import ROOT

INHERITED = re.compile(r"Cannot determine where [\w.]+Options\.\w+ is taken from")
"""A TypedDict has no bases at run time: pdoc does not find where an inherited key stands."""


def test_the_reference_is_built_without_a_warning(tmp_path):
    (recipe,) = re.findall(r"^docs:.*\n\t\$\(PY\) (.*)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    command = shlex.split(recipe.replace("docs/api", str(tmp_path)))
    done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stderr.splitlines() if "Warn" in line and not INHERITED.search(line)]
    assert not said, done.stderr
    pages = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.html")}
    assert {"core.html", "core/masks.html", "core/biases.html", "core/layers.html", "core/training.html"} <= pages
    assert "vision.html" in pages
    reference = (tmp_path / "core.html").read_text("utf-8")
    public = [name for name in core.__all__ if not name.startswith("_") and name not in ("biases", "layers", "masks")]
    absent = [name for name in public if f'id="{name}"' not in reference and f"core/{name}.html" not in reference]
    assert not absent
