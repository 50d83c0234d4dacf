"""Two processes train, validate and predict as one does on the same global batch."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

from core.training import read_checkpoint

from .conftest import CONFIG, read

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[3]
TWO = ["--trainer.strategy", "ddp", "--trainer.devices", "2", "--trainer.accelerator", "cpu"]
# without dropout and batch norm, whose noise and statistics belong to each process; in float64, since AdamW divides a
# gradient by its size, and with it the rounding of a small one
SAME = ["--model.dropout", "0", "--model.norm", "false", "--data.n", "70", "--trainer.precision", "64-true"]


def run(folder: Path, *args: str) -> None:
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    env = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "core.training", args[0], "--config", str(CONFIG), *args[1:]]
    root = ["--trainer.default_root_dir", str(folder)]
    done = subprocess.run([*command, *root], cwd=folder, env=env, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr and "sync_dist" not in done.stderr


def table(path: Path) -> tuple[list[str], list[float]]:
    rows = list(csv.DictReader(path.read_text().splitlines()))
    return [row["id"] for row in rows], [float(row["probability"]) for row in rows]


def test_two_processes_agree_with_one(lightning, tmp_path: Path) -> None:
    assert lightning("fit", *SAME, "--data.batch_size", 16).status == 0
    folder = tmp_path / "two"
    folder.mkdir()
    run(folder, "fit", *SAME, *TWO, "--data.batch_size", "8")
    one, two = tmp_path / "runs/toy/version_0", folder / "toy/version_0"
    assert [p.name for p in folder.glob("toy/*")] == ["version_0"]
    a, b = (read_checkpoint(path / "last.ckpt") for path in (one, two))
    assert a["global_step"] == b["global_step"] == 12 and len(b["rng"]) == 2
    for name, value in a["state_dict"].items():
        assert (value - b["state_dict"][name]).abs().max() < 1e-9, name
    # 11 validation samples: 6 for one process, 5 for the other, none twice
    assert read(two / "metrics.json") == pytest.approx(read(one / "metrics.json"), abs=1e-6)
    assert read(two / "environment.json")["processes"] == 2
    assert lightning("predict", *SAME, "--ckpt_path", two / "last.ckpt", "--out", tmp_path / "one.csv").status == 0
    run(folder, "predict", *SAME, *TWO, "--data.batch_size", "4", "--ckpt_path", str(two / "last.ckpt"),
        "--out", str(tmp_path / "two.csv"))  # fmt: skip
    (ids, one_by_one), (others, in_turns) = (table(tmp_path / name) for name in ("one.csv", "two.csv"))
    assert ids == others and one_by_one == pytest.approx(in_turns, abs=1e-12)  # batches of 16 and of 4
    result = lightning("fit", *SAME, "--ckpt_path", two / "last.ckpt", "--trainer.max_epochs", 4)
    assert result.status == 1 and "saved by 2 processes" in result.err
