"""From files through a checkpoint to probabilities: those of a subject do not depend on who else is in the file."""

from pathlib import Path

import lightning as L
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from timeseries import EventClassificationTask, EventTableData, MedsData, load_task
from timeseries.ehr.data.base import EventDataModule
from timeseries.events.summary import SummaryFeatures

from ...event_fakes import write_meds, write_table

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),  # lightning 2.6 on torch 2.14
    pytest.mark.filterwarnings("ignore:No (positive|negative) samples"),
]

TINY = {"dim": 8, "depth": 1, "heads": 2, "summary_hidden": 8, "dropout": 0.0, "summary_dropout": 0.0}
STATIC = [
    "{0},,sex,F,\n{0},,age,50,\n",  # of each subject, by its number
    "{0},,sex,M,\n{0},,smoker,,\n",
    "{0},,smoker,,\n{0},,age,,\n",  # an age without a number, among ages that have one
    "",
]


def table(folder: Path, keep: list[str] | None = None, **options: object) -> EventTableData:
    """A table with static rows: all subjects, or some of them."""
    path, labels = write_table(folder)
    static = "".join(STATIC[k % len(STATIC)].format(f"s{k}") for k in range(40))
    for file, more in ((path, static), (labels, "")):
        head, *rows = (file.read_text() + more).splitlines()
        rows = [row for row in rows if keep is None or row.split(",")[0] in keep]
        file.write_text("\n".join([head, *rows]) + "\n")
    return EventTableData(str(path), str(labels), empty_time="static", batch_size=8, **options)


def meds(folder: Path, keep: list[str] | None = None, **options: object) -> MedsData:
    """The same of a MEDS folder."""
    root = write_meds(folder)
    for file in (*root.glob("data/*.parquet"), *root.glob("labels/*.parquet")):
        rows = pq.read_table(file)
        kept = [keep is None or str(subject) in keep for subject in rows["subject_id"].to_pylist()]
        pq.write_table(rows.filter(kept), file)
    return MedsData(str(root), batch_size=8, **options)


def predicted(model: EventClassificationTask, data: EventDataModule) -> dict[str, tuple[float, float]]:
    """Logit and probability of every subject in the data."""
    data.setup("predict")
    assert model.vocabulary is not None
    data.use_vocabulary(model.vocabulary)
    logits = model.logits_of(data.samples["test"]).logits
    pairs = zip(logits[:, 0].tolist(), model.probabilities(logits).tolist(), strict=True)
    return dict(zip(data.samples["test"].subjects.tolist(), pairs, strict=True))


@pytest.mark.parametrize("make", [table, meds])
def test_a_subject_alone_is_predicted_as_among_all_others(tmp_path: Path, make: object) -> None:
    L.seed_everything(0, verbose=False)
    data = make(tmp_path / "all")  # type: ignore[operator]
    task = EventClassificationTask(model_options=TINY, baselines=[], lr=0.01, recalibrate=None)
    trainer = L.Trainer(
        default_root_dir=tmp_path, max_epochs=2, accelerator="cpu", devices=1, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(task, data)
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    model = load_task(tmp_path / "model.ckpt")
    assert model.vocabulary == data.vocabulary and data.vocabulary.static_flags
    whole = predicted(model, make(tmp_path / "again", all_test=True))  # type: ignore[operator]
    subjects = list(whole)[:4]
    for subject in subjects:
        alone = predicted(model, make(tmp_path / subject, [subject], all_test=True))  # type: ignore[operator]
        assert alone == {subject: pytest.approx(whole[subject], abs=1e-5)}

    stored = torch.load(tmp_path / "model.ckpt", weights_only=True)
    assert stored["hyper_parameters"].pop("static_flags") == list(data.vocabulary.static_flags)
    torch.save(stored, tmp_path / "older.ckpt")
    older = load_task(tmp_path / "older.ckpt")  # a checkpoint from before flags were known
    assert older.vocabulary is not None and older.vocabulary.static_flags is None
    assert predicted(older, make(tmp_path / "older", all_test=True))[subjects[0]] == whole[subjects[0]]  # type: ignore[operator]
    lacking = predicted(older, make(tmp_path / "lacking", subjects[:1], all_test=True))[subjects[0]]  # type: ignore[operator]
    assert abs(lacking[0] - whole[subjects[0]][0]) > 1e-3, "the flags matter to this model"


def test_summary_features_know_the_flags_of_the_training_part(tmp_path: Path) -> None:
    data, alone = table(tmp_path / "all"), table(tmp_path / "one", ["s0"], all_test=True)
    data.setup()
    alone.setup("predict")
    assert data.raw is not None and alone.raw is not None and alone.raw.static_names == ("age", "sex=F")
    features = SummaryFeatures.of(data.raw)
    of_all = features(data.raw)[data.raw.subjects.tolist().index("s0")]
    assert of_all[-4:].tolist() == [50, 1, 0, 0] and features.names[-4:] == ("age", "sex=F", "sex=M", "smoker")
    np.testing.assert_array_equal(features(alone.raw)[0], of_all)
