"""Every registered task and data module passes `core.training.checks`, on data so small that an epoch takes a second.

A data module enters through its configuration, which `tests/test_configs.py` makes small; one without a configuration,
and one that only Python can make, stands in DATA. A task stands in TASKS.
"""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import yaml

import genomics
import graphs
import timeseries
import vision
from core.training import DataModule, Task, checks
from core.training.command.domains import is_offered
from core.training.registry import registered

from .test_configs import CONFIGS, name_of
from .test_configs import DATA as SMALL

DOMAINS = {"vision": vision, "genomics": genomics, "graphs": graphs, "timeseries": timeseries}
Make = Callable[[], Any]


def options_of(part: str, words: list[str]) -> dict[str, Any]:
    """What a test types for a part of a configuration: --data.root X -> {"root": X}."""
    pairs = zip(words[::2], words[1::2], strict=True)
    return {name.removeprefix(f"--{part}."): yaml.safe_load(value) for name, value in pairs if f"--{part}." in name}


def configured(config: Path, part: str, folder: Path, monkeypatch: pytest.MonkeyPatch, **more: Any) -> Make:
    """A function that makes the task or the data of a configuration, small."""
    given = yaml.safe_load(config.read_text())[part]
    folder.mkdir(exist_ok=True)
    words = SMALL.get(name_of(config), lambda folder, monkeypatch: [])(folder / "files", monkeypatch)
    cls = getattr(DOMAINS[config.parent.name], given["class_path"])
    options = {**given.get("init_args", {}), **options_of(part, words), **more}
    return lambda: cls(**options)


def images() -> DataModule:
    pixels = np.random.default_rng(0).integers(0, 256, (30, 8, 8), dtype=np.uint8)
    return vision.ImageArrayData(pixels, np.array(["ant", "bee", "cat"])[np.arange(30) % 3], batch_size=8)


def sequences() -> DataModule:
    from tests.genomics.fakes import random_sequences, with_site

    letters = [*with_site(random_sequences(30)), *random_sequences(30, seed=1)]
    return genomics.SequenceArrayData(letters, [1] * 30 + [0] * 30, batch_size=8)


def nodes() -> DataModule:
    from tests.graphs.nodes.node_files import communities

    data = communities()
    return graphs.GraphArrayData(data.x, data.edge_index, data.y)


def events() -> DataModule:
    rng = np.random.default_rng(0)
    subject = np.repeat(np.arange(60), 5)
    rows = {
        "subject": subject,
        "time": rng.uniform(0, 20, 300),
        "code": rng.choice(["HR", "Na"], 300),
        "value": rng.random(300),
    }
    labels = {"subject": np.arange(60), "prediction_time": np.full(60, 24.0), "target": np.arange(60) % 2}
    return timeseries.EventArrayData(rows, labels, batch_size=8)


DATA: dict[str, Make] = {
    "ImageArrayData": images,
    "SequenceArrayData": sequences,
    "GraphArrayData": nodes,
    "EventArrayData": events,
}
"""Data modules without a configuration."""

TASKS: dict[str, tuple[str, dict[str, Any], Make | None]] = {
    "ImageClassificationTask": (
        "vision/digits",
        {"model_options": {"embed_dim": 8, "depth": 1, "num_heads": 2}},
        images,
    ),
    "MotifDetectionTask": ("genomics/planted", {"model_options": {"depth": 0, "features": 8, "heads": 2}}, None),
    "NodeClassificationTask": ("graphs/saved", {"baselines": ["logistic", "label_propagation"]}, nodes),
    "SupplyChainTask": ("graphs/supply_chain", {}, None),
    "DemandForecastTask": ("graphs/supplygraph", {}, None),
    "EventClassificationTask": ("timeseries/synthetic", {"pretrain_epochs": 0, "baselines": []}, None),
}
"""Task -> a configuration of it, what is made smaller, and its data where they are not the configuration's."""

CONFIG = {name_of(config): config for config in CONFIGS}
FIRST = {yaml.safe_load(config.read_text())["data"]["class_path"]: config for config in reversed(CONFIGS)}
"""Data module -> the first configuration of it."""


def offered(base: type) -> set[str]:
    """The names of our registered classes, without former names."""
    own = [cls for cls in registered(base) if cls.__module__.partition(".")[0] in DOMAINS]
    return {cls.__name__ for cls in own if is_offered(cls) or getattr(cls, "from_python", False)}


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    L.seed_everything(0, verbose=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the trainer and of metrics about data so small
        yield


def test_every_class_is_checked() -> None:
    assert offered(Task) == set(TASKS)
    assert offered(DataModule) == set(FIRST) | set(DATA)


@pytest.mark.parametrize("name", sorted({*FIRST, *DATA}))
def test_data(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make = DATA.get(name) or configured(FIRST[name], "data", tmp_path, monkeypatch)
    make().prepare_data()
    for check in checks.DATA:
        check(make)


@pytest.mark.parametrize("check", checks.TASK, ids=checks.name)
@pytest.mark.parametrize("name", TASKS)
def test_task(name: str, check: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, smaller, data = TASKS[name]
    make_task = configured(CONFIG[config], "model", tmp_path / "a", monkeypatch, **smaller)
    make_data = data or configured(CONFIG[config], "data", tmp_path / "b", monkeypatch)
    check(make_task, make_data, tmp_path)
