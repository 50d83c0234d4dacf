"""The pages that the command's help reads are what their makers would say now."""

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from attention_suite.pages import CATALOGUE, HELP, circumstances
from core.training.command import tables


def test_needed_packages_are_those_of_imports_that_run(tmp_path, monkeypatch):
    (tmp_path / "wanting").mkdir()
    (tmp_path / "wanting/__init__.py").write_text(
        "import json\nimport numpy.linalg\nfrom typing import TYPE_CHECKING\nfrom . import inner\nimport core.masks\n"
        "if TYPE_CHECKING:\n    import pandas\ndef later():\n    import matplotlib\n"
        "try:\n    from scipy import sparse\nexcept ImportError:\n    pass\nclass Inside:\n    import yaml\n"
    )
    (tmp_path / "wanting/inner.py").write_text("import torch\nimport tqdm\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import_module("wanting")
    try:
        assert tables.needed("wanting") == ["numpy", "scipy", "tqdm", "yaml"]
    finally:
        del sys.modules["wanting"], sys.modules["wanting.inner"]


FILES = """
import json, sys
from core.training.command.tables import files
json.dump({str(path): text for path, text in files().items()}, sys.stdout)
"""


def test_the_files_are_what_would_be_written_now():
    # in a process of its own: the parser lists every subclass that has been imported, those of tests too
    done = subprocess.run([sys.executable, "-c", FILES], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    made = {Path(path): text for path, text in json.loads(done.stdout).items()}
    assert set(made) == {CATALOGUE, *HELP.iterdir()} and len(made) == 6
    if json.loads((HELP / "made_with.json").read_text(encoding="utf-8")) != circumstances():
        made = {CATALOGUE: made[CATALOGUE]}  # with these versions the command asks the parser, not the pages
    for path, text in made.items():
        assert path.read_text(encoding="utf-8") == text, "run `python -m core.training.command.tables`"


def test_what_training_exports_is_imported_when_it_is_asked_for():
    import ast

    import core.training as training

    (block,) = [one for one in ast.parse(Path(training.__file__).read_text("utf-8")).body if isinstance(one, ast.If)]
    seen = {name.name: f"core.training.{one.module}" for one in block.body for name in one.names}
    assert sorted(seen) == sorted(training._HOME) and {*seen, "keep", "renamed"} == set(training.__all__)
    for name, module in seen.items():
        assert getattr(training, name) is getattr(sys.modules[module], name)
    assert training.metrics is sys.modules["core.training.metrics"] and training.data.split.Split is training.Split
    with pytest.raises(AttributeError, match=r"module 'core.training' has no attribute 'taks'"):
        training.taks  # noqa: B018
