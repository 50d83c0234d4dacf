"""Temporaries: of a live process they stay, of a dead one of this machine they go, of others nobody knows."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from core.training.files import _host, remove_leftovers, replacing


def test_a_temporary_cannot_be_guessed_and_takes_the_place_at_once(tmp_path: Path) -> None:
    names = set()
    for _ in range(2):
        with replacing(tmp_path / "a.txt") as temporary:
            temporary.write_text("new")
            names.add(temporary.name)
            assert not (tmp_path / "a.txt").exists() or (tmp_path / "a.txt").read_text() == "new"
    assert len(names) == 2 and [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_nothing_is_left_where_a_write_fails(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(KeyError), replacing(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        raise KeyError
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_leftovers_of_dead_processes_of_this_machine_go(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    kept = [f".last.ckpt.{_host()}.{os.getpid()}.aa.tmp", f".last.ckpt.elsewhere.{dead.pid}.aa.tmp", ".own.tmp"]
    for name in [*kept, f".last.ckpt.{_host()}.{dead.pid}.aa.tmp"]:
        (tmp_path / name).touch()
    remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)
