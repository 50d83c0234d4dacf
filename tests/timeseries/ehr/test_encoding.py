"""Batches from loaders of the user's own: they train and predict as those of a data module do."""

import lightning as L
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from core.training.registry import registered
from core.training.task import Task
from timeseries import EventBatch, EventClassificationTask, EventDataset, pad

from ..event_fakes import drawn

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),  # lightning 2.6 on torch 2.14
    pytest.mark.filterwarnings("ignore:.*num_workers.*"),
    pytest.mark.filterwarnings("ignore:The number of training batches"),
]

TINY = {"dim": 8, "depth": 1, "heads": 2, "summary_hidden": 8, "dropout": 0.0, "summary_dropout": 0.0}


def task(given, **options):
    names = {"codes": list(given.codes), "static_names": list(given.static_names), "kind": "binary", "names": ["1"]}
    return EventClassificationTask(**{"model_options": TINY, "baselines": [], "lr": 0.01, **names, **options})


def loader(given, **options):
    return DataLoader(EventDataset(given), batch_size=16, collate_fn=pad, **options)


def trainer(tmp_path, epochs=2):
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    more = {"enable_model_summary": False, "accelerator": "cpu", "devices": 1, "default_root_dir": tmp_path}
    return L.Trainer(max_epochs=epochs, **quiet, **more)


def test_own_loaders_train_validate_and_predict(tmp_path):
    given = drawn(80)
    train, val = given.select(np.arange(60)), given.select(np.arange(60, 80))
    torch.manual_seed(0)
    model = task(given, pretrain_epochs=1, class_weight="balanced")
    run = trainer(tmp_path, 3)
    run.fit(model, loader(train), loader(val))
    fitted = task(given)
    fitted.fit_scores(train)
    assert torch.equal(model.scores.quantiles, fitted.scores.quantiles)  # of the training batches alone
    assert torch.equal(model.summary_scores.known, fitted.summary_scores.known)
    assert model.weight.item() == pytest.approx((train.target == 0).sum() / (train.target == 1).sum())
    assert model.calibration.temperature != 1.0 and model.trained_on is None
    run.test(model, loader(val), verbose=False)
    tables = run.predict(model, loader(val))
    assert [name for table in tables for name in table["id"]] == [str(k) for k in range(20)]
    found = torch.cat([table["probability_1"] for table in tables])
    expected = model.probabilities(model.logits_of(val).logits)
    assert torch.allclose(found, expected, atol=1e-5)  # times are float32 in batches
    assert "subject" not in tables[0] and tables[0]["prediction_time"].tolist() == val.prediction_time[:16].tolist()


def test_further_outcomes_need_our_data(tmp_path):
    given = drawn(32)
    model = task(given, auxiliary_names=["risk"])
    model.fit_scores(drawn_with_risk(given))
    with pytest.raises(ValueError, match="auxiliary_names: expected data of EventDataModule"):
        trainer(tmp_path).fit(model, loader(given), loader(given))


def drawn_with_risk(given):
    risk = np.arange(len(given), dtype=np.float32)[:, None]
    return type(given)(**{**vars(given), "auxiliary": risk, "auxiliary_names": ("risk",)})


def test_other_batches_and_open_options_are_named(tmp_path):
    given = drawn(32)
    pairs = DataLoader(TensorDataset(torch.zeros(8, 3), torch.zeros(8)), batch_size=4)
    message = r"batch: expected EventBatch\(time, code, .* for EventClassificationTask, .*EventArrayData makes such"
    with pytest.raises(TypeError, match=message):
        trainer(tmp_path).fit(task(given), pairs, pairs)
    with pytest.raises(ValueError, match="codes, kind, names: expected values, or data of EventDataModule"):
        trainer(tmp_path).fit(task(given, codes=None, kind=None, names=None), loader(given), loader(given))
    wide = next(iter(loader(given)))
    broken = EventBatch(*wide[:3], wide.length + 99, *wide[4:])
    with pytest.raises(ValueError, match=r"batch.length: expected \(B,\) of at most L = 12"):
        task(given).samples_of([broken])


def test_batches_are_samples_again():
    given = drawn(20)
    again = task(given).samples_of(list(loader(given)))
    assert again.code.tolist() == given.code.tolist() and again.offsets.tolist() == given.offsets.tolist()
    assert np.array_equal(again.value, given.value, equal_nan=True)
    assert np.array_equal(again.static, given.static, equal_nan=True)
    age = given.prediction_time[given.owners()] - given.time
    assert np.allclose(-again.time, age, atol=1e-6) and not again.prediction_time.any()


def test_what_is_a_part_of_a_task_is_no_task():
    ours = [cls.__name__ for cls in registered(Task) if cls.__module__.startswith("timeseries")]
    assert ours == ["EventClassificationTask"]
