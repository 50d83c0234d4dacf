"""The Makefile's set-up: done once, done again after pyproject.toml has changed, clear about what it lacks."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .tree import ROOT

PYTHON = """#!/bin/sh
# Stands in for python3 and for the environment's python: keeps a record, installs nothing.
echo "$*" >> "{record}"
case "$1 $2" in
    "-m venv") mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
    "-m pip") test "$3" != --version ;;
    "-c "*) exec "{real}" "$@" ;;
esac
"""
"""pip --version fails, so that the environment counts as not yet made."""

TESTS = "-m pytest -n auto --dist loadfile"


@pytest.fixture
def project(tmp_path) -> Path:
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    fake = tmp_path / "fake-python"
    fake.write_text(PYTHON.format(record=tmp_path / "record", real=sys.executable), encoding="utf-8")
    fake.chmod(0o755)
    return tmp_path


def make(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    outer = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "VENV", "PYTEST_ARGS", "TORCH_INDEX", "EXTRAS", "PYTHON")
    environment = {name: value for name, value in os.environ.items() if name not in outer}
    return subprocess.run(["make", *arguments], cwd=project, env=environment, capture_output=True, text=True)


def record(project: Path) -> list[str]:
    lines = (project / "record").read_text(encoding="utf-8").splitlines()
    (project / "record").unlink()
    return [line for line in lines if not line.startswith("-c ") and not line.endswith("--version")]


def test_set_up_happens_once_and_again_after_a_change(project):
    fake = f"PYTHON={project}/fake-python"
    install = "-m pip install --quiet --editable .[all,dev]"
    first = make(project, "test", fake, "PYTEST_ARGS=-x -k masks")
    assert first.returncode == 0, first.stderr
    assert record(project) == ["-m venv .venv", install, f"{TESTS} -x -k masks"]

    assert make(project, "test", fake).returncode == 0
    assert record(project) == [TESTS]

    stamp = (project / ".venv" / ".installed").stat().st_mtime
    os.utime(project / "pyproject.toml", (stamp + 10, stamp + 10))
    assert make(project, "demo", fake, "DEMO_ARGS=--fast").returncode == 0
    assert record(project)[-2:] == [install, "demos/vision_classification.py --fast"]


def test_a_failed_installation_is_tried_again(project):
    fake = project / "fake-python"
    fake.write_text(fake.read_text("utf-8").replace('test "$3" != --version', "false"), encoding="utf-8")
    for _ in range(2):
        failed = make(project, "test", f"PYTHON={fake}")
        assert failed.returncode != 0
        assert not any("pytest" in line for line in record(project))


def test_environment_extras_and_torch_index_can_be_chosen(project):
    options = ("VENV=other", "EXTRAS=vision", "TORCH_INDEX=https://example.org/cpu", f"PYTHON={project}/fake-python")
    assert make(project, "test", *options).returncode == 0
    assert record(project) == [
        "-m venv other",
        "-m pip install --quiet torch torchvision --index-url https://example.org/cpu",
        "-m pip install --quiet --editable .[vision]",
        TESTS,
    ]
    assert (project / "other" / ".installed").is_file() and not (project / ".venv").exists()


def test_a_missing_python_is_named(project):
    done = make(project, "test", "PYTHON=no-such-python")
    assert done.returncode != 0
    assert "no no-such-python found; install Python >= 3.11" in done.stderr


def test_an_old_python_is_named(project):
    old = project / "old-python"
    old.write_text('#!/bin/sh\ntest "$1" = --version && echo "Python 3.9.1" && exit 0\nexit 1\n', encoding="utf-8")
    old.chmod(0o755)
    done = make(project, "demo", f"PYTHON={old}")
    assert done.returncode != 0
    assert "is Python 3.9.1, expected Python >= 3.11" in done.stderr


def test_a_python_without_venv_is_told_what_to_install(project):
    bare = project / "bare-python"
    bare.write_text('#!/bin/sh\ncase "$2" in *ensurepip*) exit 1 ;; esac\n', encoding="utf-8")
    bare.chmod(0o755)
    done = make(project, "test", f"PYTHON={bare}")
    assert done.returncode != 0
    assert "python3-venv" in done.stderr


def test_help_lists_every_target(project):
    said = make(project).stdout
    for target in ("demo", "test", "lint", "format", "bench", "docs", "clean"):
        assert f"make {target}" in said
