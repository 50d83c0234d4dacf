"""Names of before stay: of modules, classes, options."""

from importlib import import_module

import pytest

import genomics
from core.training import Task, checks
from genomics import MotifDetectionTask, PlantedMotifs, SequenceClassification
from genomics.motifs.files import write_motifs
from genomics.motifs.matrices import Motif

from .fakes import SITE

TINY = {"features": 8, "filters": 8, "depth": 0, "heads": 2}


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("calling", "sites.calling"),
        ("extract", "sites.extract"),
        ("logos", "motifs.logos"),
        ("motif_compare", "motifs.comparing"),
        ("motif_files", "motifs.files"),
        ("motif_scan", "motifs.scanning"),
        ("mutagenesis", "sites.mutagenesis"),
        ("site_model", "motifs.site_model"),
    ],
)
def test_modules(name, module):
    assert getattr(genomics, name) is import_module(f"genomics.{module}")


def test_no_other_module():
    with pytest.raises(AttributeError, match="module 'genomics' has no attribute 'motif_scanning'"):
        _ = genomics.motif_scanning


@pytest.mark.parametrize("former", [PlantedMotifs, SequenceClassification])
def test_classes_of_data(former):
    (now,) = former.__bases__
    assert former.former and not now.former and now.__name__ == f"{former.__name__}Data"
    assert former.__doc__ == f"Former name of `{now.__name__}`." and getattr(genomics, now.__name__) is now


def test_options(capsys):
    task = MotifDetectionTask(architecture="cnn", architecture_options={"features": 8}, baseline=False)
    assert (task.model_name, task.model_options, task.baseline_names) == ("cnn", {"features": 8}, [])
    stored = {name: task.hparams[name] for name in ("model_name", "model_options", "baselines")}
    assert stored == {"model_name": "cnn", "model_options": {"features": 8}, "baselines": []}
    assert {task.hparams[name] for name in MotifDetectionTask.former_options} == {None}
    again = MotifDetectionTask(**task.hparams)
    assert (again.model_name, again.model_options, again.baseline_names) == ("cnn", {"features": 8}, [])
    every = ["logistic_4mers", "logistic_6mers", "matrix_scan"]
    assert MotifDetectionTask(baseline=True).baseline_names == MotifDetectionTask().baseline_names == every
    with pytest.raises(ValueError, match="model_name: expected one of model_name and architecture"):
        MotifDetectionTask(model_name="attention", architecture="cnn")
    with pytest.raises(ValueError, match="baselines: expected one of baselines and baseline"):
        MotifDetectionTask(baseline=False, baselines=["matrix_scan"])


@pytest.fixture
def planted(tmp_path):
    write_motifs([Motif.from_sites([SITE], name="A")], tmp_path / "motifs.meme")
    return lambda: genomics.PlantedMotifsData(str(tmp_path / "motifs.meme"), positives=60, batch_size=8)


@pytest.mark.parametrize("check", checks.TASK, ids=checks.name)
def test_the_task_is_one_of_the_suite(check, planted, tmp_path):
    assert issubclass(MotifDetectionTask, Task)
    check(lambda: MotifDetectionTask(model_options=TINY), planted, tmp_path)


@pytest.mark.parametrize("check", checks.DATA, ids=checks.name)
def test_the_data_are_data_of_the_suite(check, planted):
    check(planted)
