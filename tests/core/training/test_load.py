"""A trained model back from its run: from a folder or a checkpoint alone, with or without data, and nothing unknown."""

from pathlib import Path

import pytest
import torch

from core.training import load_run
from core.training.load import _build
from core.training.registry import public_path, registered
from core.training.task import Task

from .toy import ToyData, ToyTask


@pytest.fixture
def run(lightning, tmp_path: Path) -> Path:
    assert lightning("fit", "--model.width", 5, "--data.n", 40).status == 0
    return tmp_path / "runs/toy/version_0"


def test_from_a_folder_with_its_data(run: Path) -> None:
    loaded = load_run(run, data=True)
    assert isinstance(loaded.task, ToyTask) and not loaded.task.training and loaded.task.hparams["width"] == 5
    assert isinstance(loaded.data, ToyData) and loaded.data.n == 40 and loaded.data.train_set is None
    for name, value in loaded.task.state_dict().items():
        assert torch.equal(value, loaded.checkpoint["state_dict"][name]), name
    assert load_run(run).data is None


def test_from_a_checkpoint_alone(run: Path, tmp_path: Path) -> None:
    moved = (run / "last.ckpt").rename(tmp_path / "elsewhere.ckpt")
    loaded = load_run(moved, data=True)
    assert isinstance(loaded.task, ToyTask) and isinstance(loaded.data, ToyData) and loaded.data.n == 40


def test_a_checkpoint_without_its_class_takes_it_from_the_configuration_beside_it(run: Path, tmp_path: Path) -> None:
    checkpoint = torch.load(run / "best.ckpt", weights_only=True)
    checkpoint.pop("task")
    checkpoint["hyper_parameters"].pop("_class_path")
    torch.save(checkpoint, run / "best.ckpt")
    assert isinstance(load_run(run).task, ToyTask)
    torch.save(checkpoint, tmp_path / "alone.ckpt")
    with pytest.raises(ValueError, match="expected a checkpoint that names its task, got none"):
        load_run(tmp_path / "alone.ckpt")


def test_only_registered_classes_are_built(run: Path) -> None:
    checkpoint = torch.load(run / "best.ckpt", weights_only=True)
    checkpoint["hyper_parameters"]["_class_path"] = "os.system"
    torch.save(checkpoint, run / "best.ckpt")
    with pytest.raises(ValueError, match=r"expected a task of a registered domain, got os\.system in .*; trusted=True"):
        load_run(run)
    with pytest.raises(ValueError, match=r"expected a task of a registered domain, got os\.system"):
        load_run(run, trusted=True)  # imported, but no task


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"expected a run's folder with best\.ckpt or last\.ckpt"):
        load_run(tmp_path)
    with pytest.raises(FileNotFoundError, match="ckpt_path: expected a checkpoint file"):
        load_run(tmp_path / "none.ckpt")
    with pytest.raises(ValueError, match=r"expected options of .*ToyTask in x, got .*unexpected keyword argument"):
        _build(Path("x"), Task, public_path(ToyTask), {"depth": 3}, "task", False)


def test_registered_classes_can_be_made() -> None:
    assert ToyTask in registered(Task) and Task not in registered(Task)
    assert public_path(ToyTask) == "tests.core.training.toy.ToyTask"


@pytest.mark.parametrize("text", ["model: 5", "model: [a]", "data: 5"])
def test_an_odd_configuration_names_nothing(run: Path, text: str) -> None:
    checkpoint = torch.load(run / "best.ckpt", weights_only=True)
    del checkpoint["task"], checkpoint["hyper_parameters"]["_class_path"]
    torch.save(checkpoint, run / "best.ckpt")
    (run / "config.yaml").write_text(text)
    with pytest.raises(ValueError, match="expected a checkpoint that names its task, got none"):
        load_run(run)


@pytest.mark.parametrize("text", ["a: [", "a: !!python/object/apply:os.system [ls]", "\0"])
def test_a_configuration_that_is_no_yaml_is_named(run: Path, text: str) -> None:
    (run / "config.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"path: expected a configuration in YAML, got .*config\.yaml"):
        load_run(run)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (5, "expected options by name in hyper_parameters of .*, got int"),
        ({"width": {"class_path": "os.system"}}, "expected plain values in hyper_parameters .* a class path"),
        ({"_class_path": ["x"]}, "expected a checkpoint that names its task, got .'x'"),
        ({"_class_path": "not.there"}, "expected a task that can be imported, got not.there"),
        ({"_class_path": "nodots"}, "expected a task that can be imported, got nodots"),
    ],
)
def test_odd_options_are_named_even_when_trusted(run: Path, options: object, message: str) -> None:
    checkpoint = torch.load(run / "best.ckpt", weights_only=True)
    torch.save({**checkpoint, "hyper_parameters": options}, run / "best.ckpt")
    with pytest.raises(ValueError, match=message):
        load_run(run, trusted=True)
