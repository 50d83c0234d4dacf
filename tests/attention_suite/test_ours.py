"""A user's own folder `core` beside a script hides ours: the domains say so."""

import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from attention_suite import check_core

ROOT = Path(__file__).parents[2]
DOMAINS = ("vision", "genomics", "graphs", "timeseries")


def test_the_domains_check_first_and_all_alike() -> None:
    for domain in DOMAINS:
        code = (ROOT / domain / "__init__.py").read_text(encoding="utf-8").split('"""', 2)[2].partition("\ntry:")[0]
        before, mark, after = code.partition("from attention_suite import check_core")
        assert all(line.split()[1] in sys.stdlib_module_names for line in before.split("\n") if line.strip()), domain
        assert (mark + after).strip() == (
            "from attention_suite import check_core\n\ncheck_core(__name__)\n\n"
            "from core.extras import MissingExtraError, former_modules  # noqa: E402"
        ), domain


def test_ours_passes() -> None:
    import core

    assert Path(core.__file__).parent == ROOT / "core"
    check_core("vision")


@pytest.mark.parametrize(("domain", "imported"), [*((domain, False) for domain in DOMAINS), ("vision", True)])
def test_a_folder_that_hides_ours_is_named(domain: str, imported: bool, tmp_path: Path) -> None:
    (tmp_path / "core").mkdir()
    (tmp_path / "core/__init__.py").write_text("")
    (tmp_path / "train.py").write_text(("import core\n" if imported else "") + f"import {domain}\n")
    done = subprocess.run([sys.executable, "train.py"], cwd=tmp_path, capture_output=True, text=True, env=environment())
    last = done.stderr.strip().splitlines()[-1]
    assert last == (
        f"ImportError: {domain}: expected the package core of attention-suite, got {tmp_path / 'core'}, which hides "
        "it: rename that one, or start with `python -P`, which leaves the script's own folder off the path"
    )


def environment() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": str(ROOT)}


def test_python_with_p_is_the_way_out_and_the_command_names_the_folder(tmp_path: Path) -> None:
    (tmp_path / "core").mkdir()
    (tmp_path / "core/__init__.py").write_text("")
    (tmp_path / "train.py").write_text("from attention_suite import check_core\ncheck_core('me')\nprint('well')\n")

    def python(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments], cwd=tmp_path, capture_output=True, text=True, env=environment()
        )

    assert python("-P", "train.py").stdout == "well\n"
    assert python("train.py").returncode == 1
    fit = python("-m", "attention_suite", "fit", "--config", "x.yaml")
    assert fit.returncode == 1 and fit.stderr.count("\n") == 1
    assert fit.stderr.startswith(
        "attention-suite: error: the command line: expected the package core of attention-suite"
    )
    assert python("-m", "attention_suite", "configs").returncode == 0  # needs no core


def fake(**attributes: object) -> ModuleType:
    module = ModuleType("core")
    vars(module).update(attributes)
    return module


@pytest.mark.parametrize(
    ("module", "place"),
    [
        (fake(__file__="/away/core.py"), "/away/core.py"),
        (fake(__file__="/away/core/__init__.py", __path__=["/away/core"]), "/away/core"),
        (fake(__file__=None, __path__=["/away/core", "/other/core"]), "/away/core"),  # a namespace package
    ],
)
def test_every_kind_of_other_core_is_named(module: ModuleType, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "core", module)
    with pytest.raises(
        ImportError, match=re.escape(f"graphs: expected the package core of attention-suite, got {place},")
    ):
        check_core("graphs")


def test_a_core_that_is_nowhere_is_said_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "core")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"graphs: expected the package core of attention-suite at .*core, got none"):
        check_core("graphs")
