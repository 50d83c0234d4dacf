"""Every vision configuration trains, and its best checkpoint is tested, on tiny data."""

import json
from pathlib import Path

import pytest
import yaml

from core.training.cli import main

from .fakes import write_cifar10, write_folder, write_medmnist

CONFIGS = Path(__file__).parents[2] / "configs" / "vision"
NAMES = ["cifar10", "digits", "imagefolder", "medmnist", "mnist5k", "timm_backbone"]

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),  # lightning 2.6 on torch 2.14
    pytest.mark.filterwarnings("ignore::DeprecationWarning:jsonargparse"),  # lightning's command line
    pytest.mark.filterwarnings("ignore:.*skip_none.*:DeprecationWarning"),
]


def tiny_data(name, tmp_path, monkeypatch):
    """Options that put generated data in the place of what a user has to bring or download."""
    if name == "medmnist":
        return ["--data.path", str(write_medmnist(tmp_path / "x.npz", train=40))]
    if name == "imagefolder":
        return ["--data.root", str(write_folder(tmp_path / "x", each=30)), "--data.batch_size", "16"]
    if name == "cifar10":
        from torchvision.datasets import CIFAR10

        monkeypatch.setattr(CIFAR10, "_check_integrity", lambda self: True)
        for part in ("test_list", "train_list"):  # generated files have other checksums
            monkeypatch.setattr(CIFAR10, part, [[file, None] for file, _ in getattr(CIFAR10, part)])
        monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": None})
        root = write_cifar10(tmp_path / "x", each=20)
        return ["--data.root", str(root), "--data.batch_size", "16", "--data.num_workers", "0"]
    return []


def test_every_configuration_is_here():
    assert sorted(path.stem for path in CONFIGS.glob("*.yaml")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_trains_and_tests(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = [
        "--config", str(CONFIGS / f"{name}.yaml"), *tiny_data(name, tmp_path, monkeypatch),
        "--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false",
    ]  # fmt: skip
    limits = ["--trainer.max_epochs", "1", "--trainer.limit_train_batches", "2"]
    main(["fit", *options, *limits])
    run = tmp_path / "runs" / name / "version_0"
    assert json.loads((run / "environment.json").read_text())["status"] == "complete"
    if name == "cifar10":  # too many images for it
        assert yaml.safe_load((CONFIGS / "cifar10.yaml").read_text())["model"]["init_args"]["baseline"] is None
    main(["test", *options, "--ckpt_path", str(run / "best.ckpt")])
    metrics = json.loads((run / "metrics.json").read_text())
    assert {"test/accuracy", "test/auroc", "test/auprc", "test/loss"} <= set(metrics)
    assert (run / "baselines.json").exists() == (name != "cifar10")
