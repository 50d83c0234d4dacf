""".ci/run on a small project: two demos at a time, a failure stops it and is shown, minutes a step at the end."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .tree import ROOT

MAKEFILE = f"""
lint:
	@mkdir -p $(VENV)/bin && ln -s {sys.executable} $(VENV)/bin/python && echo linted
test:
	@echo 3 passed
"""
MEETS = """
import pathlib, sys, time
pathlib.Path(sys.argv[0] + ".began").touch()
end = time.monotonic() + 30
while not pathlib.Path("demos/{other}.py.began").exists():
    assert time.monotonic() < end, "alone"
    time.sleep(0.01)
print("not shown", sys.argv[1:])
"""
"""A demo that goes on when another one has begun."""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / ".ci").mkdir()
    (tmp_path / "demos").mkdir()
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci")
    (tmp_path / "Makefile").write_text(MAKEFILE)
    for name, other in (("a", "b"), ("b", "a")):
        (tmp_path / "demos" / f"{name}.py").write_text(MEETS.format(other=other))
    return tmp_path


def run(project: Path) -> subprocess.CompletedProcess[str]:
    command = [project / ".ci" / "run"]
    return subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=120)


def test_two_demos_run_at_a_time_and_the_tests_last(project):
    capabilities = project / ".ci" / "capabilities"
    capabilities.write_text("#!/bin/sh\necho repeated\n")
    capabilities.chmod(0o755)
    done = run(project)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    order = ["linted", "repeated", "3 passed", "== minutes a step"]
    assert [line for line in lines if line in order] == order and "not shown" not in done.stdout
    assert sorted(line[8:] for line in lines if line.endswith("--fast")) == ["demos/a.py --fast", "demos/b.py --fast"]
    table = lines[lines.index("== minutes a step") + 1 :]
    steps = ["clean checkout", "environment and lint", "demos", "numeric tests on other processors", "tests", "in all"]
    assert [line[8:] for line in table] == steps and all(re.match(r" +\d+:\d\d  ", line) for line in table)


def test_a_failed_demo_is_shown_and_stops_the_run(project):
    (project / "demos" / "a.py").write_text("print('what went wrong')\nraise SystemExit(3)\n")
    (project / "demos" / "b.py").write_text("import time\ntime.sleep(1)\n")
    (project / "demos" / "c.py").write_text("open('begun', 'w')\n")
    done = run(project)
    assert done.returncode != 0
    assert "what went wrong" in done.stdout and "failed: demos/a.py --fast" in done.stdout
    assert not (project / "begun").exists() and "3 passed" not in done.stdout
    assert "== minutes a step" in done.stdout
