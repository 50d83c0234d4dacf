"""The sdist and the wheel: what they hold, and that an installed wheel works away from the checkout."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest

import core
from attention_suite.pages import CATALOGUE, HELP

from .tree import DOMAINS, PACKAGES, ROOT, committed, tracked

CONFIGS = sorted((ROOT / "configs").glob("*/*.yaml"))
LEFT_BEHIND = (
    "core/last.ckpt",
    "core/training/run.log",
    "vision/__pycache__/vit.cpython-311.pyc",
    "vision/runs/metrics.csv",
    "runs/digits/version_0/best.ckpt",
    "lightning_logs/version_0/metrics.csv",
    "configs/vision/runs/config.yaml",
    "docs/api/core.html",
    ".venv/lib/module.py",
)
"""What running the suite leaves in a checkout and no archive may hold."""

SMOKE = """
import json, sys
from importlib import metadata
import core, torch
from core import masks
q = torch.randn(2, 4, 5, 8)
out = core.attend(q, q, q, mask=masks.Causal() & masks.Padding(torch.tensor([5, 3])))
print(json.dumps({
    "file": core.__file__,
    "version": core.__version__,
    "installed": metadata.version("attention-suite"),
    "owners": metadata.packages_distributions()["core"],
    "shape": list(out.shape),
    "first_row": torch.equal(out[:, :, 0], q[:, :, 0]),
    "padded_rows": out[1, :, 3:].isfinite().all().item(),
}))
"""


class Archives(NamedTuple):
    sdist: Path
    wheel: Path


def run(*command: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return subprocess.run(
        [str(part) for part in command], cwd=cwd, env={**clean, **environment}, capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    """A copy of the project in which runs have left their files."""
    copy = tmp_path_factory.mktemp("copy")
    for path in tracked():
        target = copy / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    for name in LEFT_BEHIND:
        path = copy / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("left behind", encoding="utf-8")
    return copy


@pytest.fixture(scope="module")
def archives(copy, tmp_path_factory) -> Archives:
    """Build both."""
    out = tmp_path_factory.mktemp("dist")
    built = run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, copy, cwd=out)
    assert built.returncode == 0, built.stdout + built.stderr
    (sdist,), (wheel,) = out.glob("*.tar.gz"), out.glob("*.whl")
    # `pip wheel .` and `pip install .` build the wheel straight from the checkout: it must be the same.
    direct = run(sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", out / "direct", copy, cwd=out)
    assert direct.returncode == 0, direct.stdout + direct.stderr
    assert (out / "direct" / wheel.name).read_bytes() == wheel.read_bytes()
    return Archives(sdist, wheel)


@pytest.fixture(scope="module")
def installed(archives, tmp_path_factory) -> Path:
    """A new environment that holds our wheel; every other package comes from the environment of the tests."""
    place = tmp_path_factory.mktemp("clean") / "venv"
    venv.create(place, with_pip=False, symlinks=True)
    python = place / "bin" / "python"
    command = ("-m", "pip", "--python", python, "install", "--no-deps", "--no-index", "--quiet", archives.wheel)
    done = run(sys.executable, *command, cwd=place)
    assert done.returncode == 0, done.stdout + done.stderr
    (site,) = place.glob("lib/python*/site-packages")
    # The folder is put on the path as it is, and its own .pth files are not read: an editable install stays unseen.
    site.joinpath("others.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return place


def expected(package: str) -> set[str]:
    return {path.relative_to(ROOT).as_posix() for path in tracked() if path.is_relative_to(ROOT / package)}


def test_the_wheel_holds_the_packages_and_nothing_else(archives):
    with zipfile.ZipFile(archives.wheel) as file:
        names = set(file.namelist())
    info = f"attention_suite-{core.__version__}.dist-info/"
    code = {name for name in names if not name.startswith(info)}
    configs = {f"core/training/{name}" for name in expected("configs")}
    assert configs and code == configs.union(*(expected(package) for package in PACKAGES))
    others = {name for name in code - configs if not name.endswith(".py") and Path(name).name != "py.typed"}
    assert others == {path.relative_to(ROOT).as_posix() for path in (CATALOGUE, *HELP.iterdir())}
    assert {name.removeprefix(info) for name in names - code} == {
        "METADATA",
        "WHEEL",
        "RECORD",
        "entry_points.txt",
        "licenses/LICENSE",
    }


def test_the_sdist_holds_the_sources_and_nothing_else(archives):
    with tarfile.open(archives.sdist) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
    build = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]
    included = [ROOT / pattern.strip("/") for pattern in build["targets"]["sdist"]["include"]]
    kept = {path for path in tracked() if any(path.is_relative_to(one) for one in included)}
    assert names - {"PKG-INFO", "pyproject.toml", ".gitignore"} == {path.relative_to(ROOT).as_posix() for path in kept}
    assert {path.relative_to(ROOT).as_posix() for path in committed()} <= names
    assert not names & set(LEFT_BEHIND)


def test_the_installed_wheel_attends_from_another_folder(installed, tmp_path):
    done = run(installed / "bin" / "python", "-W", "error", "-c", SMOKE, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert Path(said["file"]).is_relative_to(installed)
    assert said["version"] == said["installed"] == core.__version__
    assert said["owners"] == ["attention-suite"]
    assert said["shape"] == [2, 4, 5, 8]
    assert said["first_row"] and said["padded_rows"]


def test_the_installed_wheel_holds_every_domain(installed, tmp_path):
    code = f"import {', '.join(DOMAINS)}; print(*(one.__file__ for one in ({', '.join(DOMAINS)})), sep='\\n')"
    done = run(installed / "bin" / "python", "-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    files = [Path(line) for line in done.stdout.splitlines()]
    assert len(files) == len(DOMAINS) and all(file.is_relative_to(installed) for file in files)


@pytest.mark.parametrize("command", ["attention-suite", "python -m attention_suite", "python -m core.training"])
def test_the_installed_command_line_explains_itself(installed, tmp_path, command):
    first, *rest = command.split()
    done = run(installed / "bin" / first, *rest, "--help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "fit" in done.stdout and "predict" in done.stdout and "ImageClassificationTask" in done.stdout
    assert not list(tmp_path.iterdir()), "asking for help wrote files"


def test_both_installed_scripts_are_ours_and_the_same(installed):
    ours, lightning = ((installed / "bin" / name).read_text("utf-8") for name in ("attention-suite", "lightning"))
    assert ours == lightning and "from attention_suite.cli import main" in ours


def test_the_installed_wheel_brings_the_configurations(installed, tmp_path):
    command = installed / "bin" / "attention-suite"
    listed = run(command, "configs", cwd=tmp_path)
    names = [line.split()[0] for line in listed.stdout.splitlines()]
    assert names == [path.relative_to(ROOT / "configs").with_suffix("").as_posix() for path in CONFIGS]
    shown = run(command, "configs", "cat", "vision/digits", cwd=tmp_path)
    assert shown.stdout == (ROOT / "configs/vision/digits.yaml").read_text(encoding="utf-8")
