"""A run that is killed anywhere and resumed ends with the same bits as one that was never stopped."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.slow
HERE = Path(__file__).parents[1]
CONFIG = str(HERE / "toy.yaml")


def run_jobs(jobs: list[dict], folder: Path) -> list[int]:
    """Run each job of the command line in its own process; answer the exit statuses."""
    jobs = [{"log": str(folder / "log.txt"), **job} for job in jobs]
    path = os.pathsep.join([str(HERE.parents[2]), os.environ.get("PYTHONPATH", "")])
    env = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(HERE / "forked.py")],
        input=json.dumps(jobs),
        text=True,
        capture_output=True,
        env=env,
        cwd=folder,
        timeout=1500,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def same(a: object, b: object, where: str = "") -> None:
    """Equal in every bit, containers compared item by item."""
    if isinstance(a, torch.Tensor):
        assert isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b), where
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            same(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), where
        for k, (x, y) in enumerate(zip(a, b, strict=True)):
            same(x, y, f"{where}[{k}]")
    else:
        assert a == b, where


OPTIONS = {
    "every step": ["--checkpoint_every", "1"],
    "every third step, averaged weights": ["--checkpoint_every", "3", "--ema", "0.9"],
    "after epochs": [],
    "max_steps": ["--checkpoint_every", "3", "--trainer.max_steps", "10"],
    "max_steps after epochs": ["--trainer.max_steps", "10"],
    "accumulated gradients": ["--checkpoint_every", "1", "--trainer.accumulate_grad_batches", "2"],
    "two validations an epoch": ["--checkpoint_every", "1", "--trainer.val_check_interval", "0.5", "--ema", "0.9"],
    "workers": ["--checkpoint_every", "1", "--data.num_workers", "2"],
    "no validation": ["--checkpoint_every", "3", "--data.val", "false"],
}
KILLS = {
    "every step": ["batch:3", "step:6", "validation:2", "epoch_start:3", "save:2"],
    "every third step, averaged weights": ["batch:5", "validation:2", "save:4"],
    "after epochs": ["batch:6", "epoch_end:2", "train_end:1"],
    "max_steps": ["batch:5", "batch:9"],
    "max_steps after epochs": ["batch:6"],
    "accumulated gradients": ["batch:4", "validation:2"],
    "two validations an epoch": ["batch:3", "batch:8", "validation:3"],
    "workers": ["batch:7"],
    "no validation": ["batch:6", "epoch_end:1"],
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every run of this file: <name>/whole was never stopped, <name>/<kill> was killed and resumed."""
    folder = tmp_path_factory.mktemp("runs")
    jobs, expected = [], []
    for name in OPTIONS:
        base = ["fit", "--config", CONFIG, *OPTIONS[name], "--trainer.callbacks+=tests.core.training.toy.Kill"]
        jobs.append({"args": [*base, "--trainer.default_root_dir", str(folder / name / "whole")]})
        expected.append(0)
        for kill in KILLS[name]:
            root = folder / name / kill
            options = [*base, "--trainer.default_root_dir", str(root)]
            jobs.append({"args": options, "env": {"TOY_KILL": kill}})
            jobs.append({"args": [*options, "--ckpt_path", str(root / "toy/version_0/last.ckpt")]})
            expected += [-signal.SIGKILL, 0]
    left = ["fit", "--config", CONFIG, "--trainer.callbacks+=tests.core.training.toy.Kill"]
    left += ["--trainer.default_root_dir", str(folder / "left")]
    jobs.append({"args": left, "env": {"TOY_KILL": "batch:6"}})
    expected.append(-signal.SIGKILL)
    statuses = run_jobs(jobs, folder)
    wrong = [job["args"] for job, status, right in zip(jobs, statuses, expected, strict=True) if status != right]
    assert not wrong, (wrong, (folder / "log.txt").read_text())
    return folder


@pytest.mark.parametrize("name", OPTIONS)
def test_killed_and_resumed_is_bitwise_the_same(name: str, runs: Path) -> None:
    tmp_path = runs / name
    whole = tmp_path / "whole/toy/version_0"
    for kill in KILLS[name]:
        folder = tmp_path / kill / "toy/version_0"
        for file in ("last.ckpt", "best.ckpt"):
            a, b = (torch.load(f / file, weights_only=True) for f in (whole, folder))
            for part in (
                "state_dict",
                "optimizer_states",
                "lr_schedulers",
                "rng",
                "train_loss",
                "epoch",
                "global_step",
            ):
                same(a[part], b[part], f"{kill} {file} {part}")
            if "--ema" in OPTIONS[name]:
                same(a["current_model_state"], b["current_model_state"], f"{kill} {file}")
        for file in ("metrics.csv", "metrics.json"):
            assert (folder / file).read_text() == (whole / file).read_text(), f"{kill} {file}"
        assert json.loads((folder / "environment.json").read_text())["status"] == "complete"


def test_a_killed_run_does_not_look_complete(runs: Path) -> None:
    folder = runs / "left/toy/version_0"
    assert json.loads((folder / "environment.json").read_text())["status"] == "running"
    assert (folder / "last.ckpt").is_file() and not (folder / "metrics.json").exists()
