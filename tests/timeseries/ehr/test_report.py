"""The report of a run, from its folder to the files."""

import json
from functools import partial
from pathlib import Path

import pytest

from core.training.cli import main as train
from timeseries.__main__ import main
from timeseries.ehr.baselines.tabular import TabularBaselines
from timeseries.ehr.report import data_of, report_run

from ..event_fakes import write_table

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),  # lightning 2.6 on torch 2.14
    pytest.mark.filterwarnings("ignore::DeprecationWarning:jsonargparse"),  # lightning's command line
    pytest.mark.filterwarnings("ignore:.*skip_none.*:DeprecationWarning"),
]

FILES = {"report.md", "model_card.md", "reliability.png", "net_benefit.png", "half_lives.png"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    path, labels = write_table(folder, 80)
    architecture = {"dim": 8, "depth": 1, "heads": 2, "summary_hidden": 8}
    model = {"model_options": architecture, "baselines": [], "lr": 0.01, "recalibrate": None}
    data = {"path": str(path), "labels": str(labels), "split_seed": 3}
    entries = {
        "model": {"class_path": "EventClassificationTask", "init_args": model},
        "data": {"class_path": "EventTableData", "init_args": data},
        "trainer": {"max_epochs": 3, "accelerator": "cpu", "devices": 1, "enable_progress_bar": False},
    }
    (folder / "run.yaml").write_text(json.dumps(entries))
    options = ["--config", str(folder / "run.yaml"), "--trainer.default_root_dir", str(folder / "runs")]
    train(["fit", *options, "--test_after_fit", "true"])
    return folder / "runs" / "run" / "version_0"


def test_a_run_is_reported(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("timeseries.ehr.report.TabularBaselines", partial(TabularBaselines, folds=2, trees=5))
    assert main(["report", str(run), "--out", str(tmp_path / "out"), "--repeats", "20", "--purpose", "To test."]) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES
    shown, text = capsys.readouterr().out, (tmp_path / "out" / "report.md").read_text()
    assert shown.strip() in text and "target, run/version_0: 16 samples of 16 patients" in text
    assert "No subject here trained or validated the model." in text
    auroc = json.loads((run / "metrics.json").read_text())["test/auroc"]
    assert f"| model | {auroc:.3f} [" in text and "| blend |" in text
    card = (tmp_path / "out" / "model_card.md").read_text()
    assert "To test." in card and "val 8 samples of 8 subjects" in card and "**Not for clinical use.**" in card


def test_what_cannot_be_reported_is_named(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--out", str(tmp_path / "out")]
    assert main(["report", str(tmp_path), *out]) == 1
    assert "best.ckpt" in capsys.readouterr().err
    data = data_of(run)
    data.split_seed = 4
    with pytest.raises(ValueError, match=r"of the 16 subjects of the test part, .* trained this model"):
        report_run(run, tmp_path / "out", data=data, baselines=False)
    allowed = data_of(run)
    allowed.all_test = allowed.allow_overlap = True
    report = report_run(run, tmp_path / "out", data=allowed, repeats=5)  # nobody to fit baselines on
    assert list(report.models) == ["model"]
    assert "Of 80 subjects, 56 trained this model and 8 validated it: the numbers are too good." in str(report)
    with pytest.raises(FileNotFoundError, match="run: expected the folder of a run with its config"):
        data_of(tmp_path)
    (tmp_path / "config.yaml").write_text("data: {class_path: os.system}")
    with pytest.raises(ValueError, match=r"data: expected one of EventTableData, .*, got 'os\.system'"):
        data_of(tmp_path)
