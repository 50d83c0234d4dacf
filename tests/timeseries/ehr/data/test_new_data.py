"""What a task says to data that do not fit it, and how a trained model takes those that are named otherwise."""

from pathlib import Path

import lightning as L
import numpy as np
import pytest

from timeseries import EventTableData

from ...event_fakes import drawn, write_table
from ..test_task import fitted, given_data, task

pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")  # lightning 2.6 on torch 2.14


def evaluated(model, data):
    trainer = L.Trainer(
        logger=False, accelerator="cpu", devices=1, enable_progress_bar=False, enable_model_summary=False
    )
    return trainer.test(model, data, verbose=False)[0]


def test_new_data_are_scored_by_the_names_of_their_classes(tmp_path):
    given = drawn(200)
    level = (given.target + (np.arange(200) % 3 == 0)).astype(np.float32)
    named = type(given)(
        **{**vars(given), "target": level, "kind": "multiclass", "target_names": ("high", "low", "mid")}
    )
    model = task(recalibrate=None)
    fitted(tmp_path, model, given_data(named), 3)
    expected = evaluated(model, given_data(named))
    order = ("mid", "high", "low")
    number = np.array([1, 2, 0], dtype=np.float32)  # of high, low, mid in that order
    turned = type(given)(**{**vars(named), "target": number[level.astype(int)], "target_names": order})
    data = given_data(turned)
    assert evaluated(model, data) == expected
    assert data.target_names == ("high", "low", "mid") == data.samples["test"].target_names
    assert data.raw.target_names == order  # what was read is not changed
    strange = type(given)(**{**vars(named), "target_names": ("high", "low", "none")})
    with pytest.raises(ValueError, match=r"target_names: expected .*got 'none' in the data"):
        evaluated(model, given_data(strange))


def test_the_labels_of_new_data_may_stand_in_another_order(tmp_path):
    given = drawn(200)
    table = np.stack([given.target, (np.arange(200) % 3 == 0).astype(np.float32)], 1)
    named = type(given)(**{**vars(given), "target": table, "kind": "multilabel", "target_names": ("p", "q")})
    model = task(recalibrate=None)
    fitted(tmp_path, model, given_data(named), 3)
    turned = type(given)(**{**vars(named), "target": table[:, ::-1].copy(), "target_names": ("q", "p")})
    assert evaluated(model, given_data(turned)) == evaluated(model, given_data(named))


def test_one_label_and_one_that_nobody_knows(tmp_path):
    given = drawn(160)
    single = {"target": given.target[:, None], "kind": "multilabel", "target_names": ("p",)}
    one = type(given)(**{**vars(given), **single})
    model = task(recalibrate=None)
    assert fitted(tmp_path, model, given_data(one), 8).callback_metrics["val/auroc"] > 0.6
    unknown = np.where(np.arange(160) < 96, np.arange(160) % 2, np.nan)  # in training alone
    table = np.stack([given.target, unknown], 1).astype(np.float32)
    two = type(given)(**{**vars(given), "target": table, "kind": "multilabel"})
    model = task(recalibrate=None)
    assert fitted(tmp_path, model, given_data(two), 8).callback_metrics["val/auroc"] > 0.6


def test_a_validation_of_one_class_has_no_metric_and_no_calibration(tmp_path):
    given = drawn(120)
    target = given.target.copy()
    target[72:96] = 1
    model = task(temperature=1.4)
    with pytest.warns(UserWarning, match=r"val/auroc.*validation part does not have .*two classes"):
        trainer = fitted(tmp_path, model, given_data(type(given)(**{**vars(given), "target": target})), 2)
    assert np.isnan(float(trainer.callback_metrics["val/auroc"]))
    assert model.calibration.temperature == 1.4


def test_a_temperature_at_its_bound_is_told_at_the_end(tmp_path):
    given = drawn(100)
    target = given.target.copy()
    val = np.arange(60, 80)
    target[val] = 1 - target[val]  # what was learned is wrong there
    with pytest.warns(UserWarning, match=r"temperature: the loss is least .* 20\.00 after the best validation"):
        fitted(tmp_path, task(), given_data(type(given)(**{**vars(given), "target": target})), 8)


def test_training_needs_a_training_part(tmp_path):
    with pytest.raises(
        ValueError, match=r"^Fixed: expected a training part to train on, got none; all_test leaves none"
    ):
        fitted(tmp_path, task(), given_data(drawn(60), all_test=True), 1)
    with pytest.raises(ValueError, match="Fixed: expected a training part to know the model by"):
        evaluated(task(), given_data(drawn(60), all_test=True))


def test_isotonic_is_refused_before_training(tmp_path):
    given = drawn(60)
    classes = type(given)(**{**vars(given), "kind": "multiclass"})
    began = []

    class Watch(L.Callback):
        def on_train_start(self, *_):
            began.append(True)

    with pytest.raises(ValueError, match="recalibrate: expected 'temperature' for a multiclass"):
        fitted(tmp_path, task(recalibrate="isotonic"), given_data(classes), 1, callbacks=[Watch()])
    assert not began


def test_samples_must_be_in_the_models_names(tmp_path):
    given = drawn(60)
    model = task(recalibrate=None)
    data = given_data(given)
    fitted(tmp_path, model, data, 1)
    mine = data.samples["test"]
    with pytest.raises(ValueError, match="codes: expected 'b' at place 1, as the model learned, got 'c'"):
        model.logits_of(type(mine)(**{**vars(mine), "codes": ("a", "c", "b")}))
    with pytest.raises(ValueError, match="codes: expected 3, as the model learned, got 4"):
        model.encode(type(mine)(**{**vars(mine), "codes": (*mine.codes, "d")}))
    with pytest.raises(ValueError, match="static_names: expected 'age' at place 0, as the model learned, got 'weight'"):
        model.encode(type(mine)(**{**vars(mine), "static_names": ("weight",)}))


def test_a_table_without_events_trains_nothing(tmp_path: Path) -> None:
    path, labels = write_table(tmp_path)
    path.write_text(path.read_text().splitlines()[0] + "\n")
    with pytest.raises(ValueError, match="EventTableData: expected events before 40 prediction times, got none"):
        EventTableData(str(path), str(labels)).setup("fit")
