"""The command line in this process, on the toy."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from core.training.cli import main

from . import toy  # noqa: F401  its classes are known by their names from here on

CONFIG = Path(__file__).parent / "toy.yaml"


class Result(NamedTuple):
    status: int
    out: str
    err: str


@pytest.fixture
def lightning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Result]:
    """Run `lightning ARGS...` with the toy's configuration, in an empty folder; nothing may be left in it."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.delenv("TOY_KILL", raising=False)

    def run(subcommand: str, *args: Any, config: Path | None = CONFIG) -> Result:
        root = ["--trainer.default_root_dir", str(tmp_path / "runs")]
        configs = ["--config", str(config)] if config else []
        status = 0
        capsys.readouterr()
        try:
            main([subcommand, *configs, *map(str, args), *root])
        except SystemExit as stop:
            status = int(stop.code)
        assert not list(here.iterdir()), "written into the working folder"
        captured = capsys.readouterr()
        return Result(status, captured.out, captured.err)

    return run


def read(path: Path) -> Any:
    return json.loads(path.read_text())
