"""Every configuration trains, tests and predicts as it stands, on a few batches.

A configuration whose data are not in any package gets small ones from the function of the same name in DATA: it
writes them under a folder and answers the options that a user would type.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from core.training.cli import main

CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("*/*.yaml"))


def medmnist(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    from tests.vision.fakes import write_medmnist

    folder.mkdir()
    write_medmnist(folder / "tiny.npz")
    return ["--data.path", str(folder / "tiny.npz")]


def imagefolder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    from tests.vision.fakes import write_folder

    write_folder(folder / "images", each=20)
    return ["--data.root", str(folder / "images")]


def cifar10(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    from torchvision.datasets import CIFAR10

    from tests.vision.fakes import write_cifar10

    for name in ("test_list", "train_list"):  # the checksums are those of the real photos
        monkeypatch.setattr(CIFAR10, name, [[file, None] for file, _ in getattr(CIFAR10, name)])
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": None})
    return ["--data.root", str(write_cifar10(folder, each=40)), "--data.num_workers", "0"]


def supply_chain(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    return ["--data.economies", "16", "--data.held_out", "2"]


def input_output(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    from tests.graphs.fakes import write_make_use

    use, make = write_make_use(folder)
    return ["--data.use", str(use), "--data.make", str(make), "--data.economies", "16"]


def planetoid(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    from tests.graphs.nodes.node_files import write_planetoid

    return ["--data.root", str(write_planetoid(folder)), "--data.name", "Cora"]


def saved(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    import torch

    from tests.graphs.nodes.node_files import communities

    folder.mkdir()
    torch.save(communities(), folder / "graph.pt")
    return ["--data.path", str(folder / "graph.pt"), "--data.fanouts", "[3, 3]"]


def supplygraph(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    from tests.graphs.fakes import write_supplygraph

    return ["--data.root", str(write_supplygraph(folder))]


def planted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    return ["--data.positives", "60"]


def chip(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    from tests.genomics.fakes import random_sequences, with_site, write_deepbind

    folder.mkdir()
    sites, other = with_site(random_sequences(60)), random_sequences(10, seed=1)
    train = write_deepbind(folder / "train.seq.gz", sites[:50])
    test = write_deepbind(folder / "test.seq.gz", sites[50:], other)
    return ["--data.train", str(train), "--data.test", str(test)]


def promoters(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    from tests.genomics.fakes import random_sequences, with_site, write_fasta

    folder.mkdir()
    positives = write_fasta(folder / "a.fa", with_site(random_sequences(40)), "a")
    negatives = write_fasta(folder / "b.fa", random_sequences(40, seed=1), "b")
    return ["--data.positives", str(positives), "--data.negatives", str(negatives)]


# no baselines: five folds of 400 trees, tests/timeseries has them on small data; of each phase one epoch
QUICK = ["--model.baselines", "false", "--model.pretrain_epochs", "1"]


def nafld(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    return QUICK


def synthetic(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    return [*QUICK, "--data.count", "120"]


def physionet2012(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    from tests.timeseries.event_fakes import write_physionet

    write_physionet(write_physionet(folder, "a", 40), "b", 20, first=101, seed=1)
    return ["--data.root", str(folder), *QUICK]


def meds(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    from tests.timeseries.event_fakes import write_meds

    return ["--data.root", str(write_meds(folder, 80)), "--data.min_subjects", "1", *QUICK]


def events(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    from tests.timeseries.event_fakes import write_table

    path, labels = write_table(folder, 80)
    return ["--data.path", str(path), "--data.labels", str(labels), *QUICK]


DATA: dict[str, Callable[[Path, pytest.MonkeyPatch], list[str]]] = {
    "genomics/planted": planted,
    "genomics/chip": chip,
    "genomics/promoters": promoters,
    "vision/medmnist": medmnist,
    "vision/imagefolder": imagefolder,
    "vision/cifar10": cifar10,
    "timeseries/nafld": nafld,
    "timeseries/synthetic": synthetic,
    "timeseries/physionet2012": physionet2012,
    "timeseries/meds": meds,
    "timeseries/events": events,
    "graphs/planetoid": planetoid,
    "graphs/saved": saved,
    "graphs/supply_chain": supply_chain,
    "graphs/input_output": input_output,
    "graphs/supplygraph": supplygraph,
}


def name_of(config: Path) -> str:
    return f"{config.parent.name}/{config.stem}"


def test_there_are_configurations_and_no_data_for_others() -> None:
    assert {"vision/digits", "vision/imagefolder"} <= {name_of(config) for config in CONFIGS}
    assert set(DATA) <= {name_of(config) for config in CONFIGS}


@pytest.mark.filterwarnings("ignore:.*not defined .NaN.")  # sixteen samples need not hold every class
@pytest.mark.filterwarnings("ignore:temperature. the loss is least")  # nor is much learned of them
@pytest.mark.parametrize("config", CONFIGS, ids=name_of)
def test_a_configuration_trains_tests_and_predicts(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    data = DATA.get(name_of(config), lambda folder, monkeypatch: [])(tmp_path / "data", monkeypatch)
    options = ["--config", str(config), *data, "--trainer.default_root_dir", str(tmp_path), "--data.batch_size", "8"]
    for part in ("train", "val", "test", "predict"):
        options += [f"--trainer.limit_{part}_batches", "2"]
    quiet = ["--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false"]
    options += [*quiet, "--trainer.accelerator", "cpu"]
    main(["fit", *options, "--trainer.max_epochs", "2" if "--model.pretrain_epochs" in data else "1"])
    run = tmp_path / config.stem / "version_0"
    best = ["--ckpt_path", str(run / "best.ckpt")]
    main(["test", *options, *best])
    main(["predict", *options, *best, "--out", str(tmp_path / "table.csv")])
    assert "test/loss" in (run / "metrics.json").read_text()
    assert "id," in (tmp_path / "table.csv").read_text()
    assert not list(here.iterdir()), "written into the working folder"
    assert yaml.safe_load((run / "config.yaml").read_text())["model"]["class_path"]
