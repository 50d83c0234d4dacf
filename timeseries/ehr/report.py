"""The report, the pictures and the model card of a run, from its folder."""

from inspect import isabstract, isclass
from pathlib import Path

import numpy as np
import yaml

from core.training import read_checkpoint

from ..probabilities.report import EvaluationReport, model_card
from . import data as modules
from .baselines.tabular import TabularBaselines
from .data import EventDataModule
from .ensemble import load_task
from .figures import decision_figure, half_life_figure, reliability_figure
from .task import EventClassificationTask

OURS = "model"


def report_run(
    run: str | Path,
    out: str | Path,
    *,
    data: EventDataModule | None = None,
    checkpoint: str = "best.ckpt",
    title: str | None = None,
    purpose: str = "Research and comparison of methods.",
    baselines: bool = True,
    repeats: int = 500,
) -> EvaluationReport:
    """Write report.md, model_card.md, reliability.png, net_benefit.png and half_lives.png of a run's test part.

    Args:
        run: The folder of a run, which holds config.yaml and checkpoints.
        out: The folder to write into; it is made where it is not there.
        data: To test on; None: those of the run, read and split as its config.yaml says.
        checkpoint: Which one of the run.
        title: What was evaluated; None takes the names of the outcome and of the run.
        purpose: For the model card: what the model was made for.
        baselines: Fit the tabular baselines on the training part, too, which takes minutes.
        repeats: Draws of the intervals.

    Raises:
        FileNotFoundError: The run has no config.yaml, or no such checkpoint.
        ValueError: The outcome is not binary, the run's data module is none of this suite, or the data do not fit the
            checkpoint, see `EventDataModule.compare`.
    """
    run, out = Path(run), Path(out)
    path = run / checkpoint
    task = load_task(path)
    assert task.outcome is not None and task.vocabulary is not None
    if task.outcome.kind != "binary":
        raise ValueError(f"run: expected a model of a binary outcome, got {task.outcome.kind} in {path}")
    data = data_of(run) if data is None else data
    data.setup("test")
    data.compare(read_checkpoint(path), "test")
    data.use_vocabulary(task.vocabulary)
    test = data.samples["test"]
    tested = {OURS: task.probabilities(task.logits_of(test).logits).numpy()}
    if baselines and "train" in data.samples:
        tested |= TabularBaselines().fit(data.samples["train"]).probabilities(test)
    name = title or f"{task.outcome.names[0]}, {run.resolve().parent.name}/{run.resolve().name}"
    notes = [_about_subjects(data)]
    report = EvaluationReport.of(name, test.target, tested, test.subjects, repeats=repeats, notes=notes)
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.md").write_text(f"# {name}\n\n{report}\n", encoding="utf-8")
    (out / "model_card.md").write_text(_card(report, task, data, path, purpose), encoding="utf-8")
    reliability_figure(test.target, tested, f"Calibration: {name}").savefig(out / "reliability.png", dpi=120)
    decision_figure(report.curves, f"Net benefit: {name}").savefig(out / "net_benefit.png", dpi=120)
    if task.model.half_lives is not None:
        values = [np.asarray(task.model.half_lives)]
        half_life_figure(values, None, f"Half-life of each head: {name}").savefig(out / "half_lives.png", dpi=120)
    return report


def data_of(run: str | Path) -> EventDataModule:
    """The data module of a run, as its config.yaml says; only those of this suite, so that no other code is run.

    Raises:
        FileNotFoundError: There is no config.yaml.
        ValueError: The class is none of ours.
    """
    path = Path(run) / "config.yaml"
    if not path.is_file():
        raise FileNotFoundError(f"run: expected the folder of a run with its config.yaml, got {run}")
    asked = yaml.safe_load(path.read_text(encoding="utf-8"))["data"]
    known: dict[str, type[EventDataModule]] = {}
    for name in modules.__all__:
        found = getattr(modules, name)
        if isclass(found) and issubclass(found, EventDataModule) and not isabstract(found):
            known[name] = found
    known.pop("EventArrayData")  # made in Python, from arrays
    cls = known.get(asked["class_path"].removeprefix("timeseries.").removeprefix("ehr.").removeprefix("data."))
    if cls is None:
        shown = (name for name, found in known.items() if not vars(found).get("former"))
        raise ValueError(
            f"{path}: data: expected one of {', '.join(shown)}, got {asked['class_path']!r}; from Python, give "
            "report_run the data"
        )
    return cls(**(asked.get("init_args") or {}))


def _about_subjects(data: EventDataModule) -> str:
    if data.overlap is None:
        return "The checkpoint does not say who trained the model: it was not checked that nobody here did."
    if data.overlap.trained or data.overlap.chose:
        return (
            f"Of {data.overlap.subjects} subjects, {data.overlap.trained} trained this model and {data.overlap.chose} "
            "validated it: the numbers are too good."
        )
    return "No subject here trained or validated the model."


def _card(
    report: EvaluationReport, task: EventClassificationTask, data: EventDataModule, path: Path, purpose: str
) -> str:
    about = {
        "source": data.source,
        "licence": data.licence,
        "fingerprint": data.fingerprint(),
        "split": f"by subject: {data.split}",
    }
    count = sum(parameter.numel() for parameter in task.model.parameters())
    return model_card(
        report,
        model=f"EventClassificationTask with {count:,} parameters, {path.name} of the run {path.resolve().parent}.",
        purpose=purpose,
        data=about,
        training=[
            f"Recipe: {path.with_name('config.yaml')}.",
            f"Vocabulary, quantiles and weights come from the training part alone; calibration: {task.calibration}.",
        ],
    )
