import csv
import json
from functools import partial

import lightning as L
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping
from sklearn.metrics import roc_auc_score

from core.training import read_checkpoint
from core.training.cli import main
from timeseries import EventClassificationTask, EventEnsemble, EventSamples, Split, SyntheticEventsData, load_task
from timeseries.ehr.baselines.tabular import TabularBaselines
from timeseries.ehr.data.base import EventDataModule, LoadedEvents
from timeseries.ehr.recipe import create, pretrain, train

from ..event_fakes import drawn, samples

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),  # lightning 2.6 on torch 2.14
    pytest.mark.filterwarnings("ignore::DeprecationWarning:jsonargparse"),  # lightning's command line
    pytest.mark.filterwarnings("ignore:.*skip_none.*:DeprecationWarning"),
]

TINY = {"dim": 8, "depth": 1, "heads": 2, "summary_hidden": 8, "dropout": 0.0, "summary_dropout": 0.0}


class Fixed(EventDataModule):
    """Samples that the test makes: the first 60% train, 20% validate, 20% test."""

    given: EventSamples

    def load(self):
        n = len(self.given)
        parts = np.split(np.arange(n), [round(0.6 * n), round(0.8 * n)])
        return LoadedEvents(self.given, Split(self.given.subjects, *parts))


def given_data(given, **options):
    data = Fixed(batch_size=16, **options)
    data.given = given  # not an argument: those are saved in checkpoints
    return data


def task(**options):
    return EventClassificationTask(**{"model_options": TINY, "baselines": [], "lr": 0.01, **options})


def fitted(tmp_path, model, data, epochs=2, **options):
    trainer = L.Trainer(
        default_root_dir=tmp_path,
        max_epochs=epochs,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **options,
    )
    trainer.fit(model, data)
    return trainer


def test_learns_what_the_samples_say(tmp_path):
    data, model = given_data(drawn(300)), task()
    trainer = fitted(tmp_path, model, data, 10)
    (scores,) = trainer.test(model, data, verbose=False)
    logits = model.logits_of(data.samples["test"]).logits[:, 0].numpy()
    assert scores["test/auroc"] > 0.85
    assert scores["test/auroc"] == pytest.approx(roc_auc_score(data.samples["test"].target, logits), abs=1e-6)


def test_all_that_is_fitted_comes_from_the_training_part(tmp_path):
    """Changing the values of the other parts changes nothing that was learned."""
    given = drawn(120)
    states = []
    for change in (0.0, 1e3):
        data = given_data(given)
        data.setup()
        others = np.concatenate([data.split.val, data.split.test])
        value = given.value.copy()
        value[np.isin(given.owners(), others)] += change
        static = given.static.copy()
        static[others] += change
        changed = type(given)(**{**vars(given), "value": value, "static": static})
        torch.manual_seed(0)
        model = task(recalibrate=None)
        fitted(tmp_path, model, given_data(changed), 1)
        states.append(model.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    torch.manual_seed(0)
    model = task(recalibrate=None)
    value = given.value + 1e3
    fitted(tmp_path, model, given_data(type(given)(**{**vars(given), "value": value})), 1)
    assert not torch.equal(states[0]["scores.quantiles"], model.scores.quantiles)  # the training part's do change it


def test_pretraining_sees_no_target(tmp_path):
    given = drawn(100)
    flipped = type(given)(**{**vars(given), "target": 1 - given.target})
    states = []
    for one in (given, flipped):
        torch.manual_seed(0)
        model = task(pretrain_epochs=2, recalibrate=None)
        model.pretraining_alone = True
        fitted(tmp_path, model, given_data(one), 2)
        states.append(model.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_learning_rate_has_two_hills(tmp_path):
    model = task(pretrain_epochs=2, pretrain_lr=0.02, lr=0.01, warmup_fraction=0.1)
    seen = []

    class Watch(L.Callback):
        def on_train_batch_start(self, trainer, *_):
            seen.append(trainer.optimizers[0].param_groups[0]["lr"])

    fitted(tmp_path, model, given_data(drawn(200)), 6, callbacks=[Watch()])
    per_epoch = len(seen) // 6
    first, second = seen[: 2 * per_epoch], seen[2 * per_epoch :]
    assert max(first) == pytest.approx(0.02) and max(second) == pytest.approx(0.01)
    assert first[-1] < 0.002 and second[0] < 0.01 and second[-1] < 0.001
    assert second.index(max(second)) == round(0.1 * len(second))


def test_early_stopping_waits_for_the_outcome(tmp_path):
    stop = EarlyStopping("val/auroc", mode="max", patience=1)
    model = task(pretrain_epochs=4, lr=1e-9, pretrain_lr=1e-9, recalibrate=None)
    trainer = fitted(tmp_path, model, given_data(drawn(100)), 12, callbacks=[stop])
    assert 4 < trainer.current_epoch < 12  # nothing is learned: it stops, but only after the pretraining


@pytest.mark.parametrize("kind", ["multiclass", "multilabel", "time_to_event"])
def test_other_outcomes(tmp_path, kind):
    given = drawn(160)
    rng = np.random.default_rng(0)
    y = given.target
    target = {
        "multiclass": y + (rng.random(160) < 0.3),
        "multilabel": np.stack([y, np.where(rng.random(160) < 0.2, np.nan, 1 - y)], 1),
        "time_to_event": np.stack([np.where(y == 1, 2.0, 20.0) * rng.uniform(0.5, 1.5, 160), rng.random(160) < 0.8], 1),
    }[kind].astype(np.float32)
    data = given_data(type(given)(**{**vars(given), "target": target, "kind": kind}))
    model = task(intervals=4)
    trainer = fitted(tmp_path, model, data, 10)
    (scores,) = trainer.test(model, data, verbose=False)
    main_metric = scores["test/concordance" if kind == "time_to_event" else "test/auroc"]
    assert main_metric > 0.6
    table = trainer.predict(model, data)[0]
    names = [name for name in table if name.startswith("probability_")]
    assert len(names) == model.outcome.outputs == {"multiclass": 3, "multilabel": 2, "time_to_event": 4}[kind]
    p = torch.stack([table[name] for name in names], 1)
    assert ((p >= 0) & (p <= 1)).all()
    if kind == "time_to_event":
        assert (p.diff(dim=1) >= 0).all()  # the event by the end of later intervals is more likely


def test_class_weights_and_what_undoes_them(tmp_path):
    given = drawn(300)
    rare = (given.target == 0) | (np.arange(300) % 4 == 0)
    given = given.select(rare)
    data, model = given_data(given), task(class_weight="balanced", recalibrate="isotonic")
    fitted(tmp_path, model, data, 4)
    train = data.samples["train"].target
    assert model.weight.item() == pytest.approx((train == 0).sum() / (train == 1).sum(), rel=1e-5)
    logits = model.logits_of(data.samples["val"]).logits
    raw, calibrated = logits[:, 0].sigmoid().mean(), model.probabilities(logits).mean()
    share = float(data.samples["val"].target.mean())
    assert abs(float(calibrated) - share) < 1e-3 < float(raw) - share  # isotonic regression keeps the mean


def config(tmp_path, **more):
    entries = {
        "seed_everything": 0,
        "ema": 0.9,
        "model": {
            "class_path": "EventClassificationTask",
            "init_args": {"model_options": TINY, "pretrain_epochs": 1, "lr": 0.01, "bin_hours": [8.0, 96.0]},
        },
        "data": {
            "class_path": "SyntheticEventsData",
            "init_args": {"count": 150, "events_per_code": 6, "batch_size": 32},
        },
        "trainer": {"max_epochs": 3, "accelerator": "cpu", "devices": 1, "enable_progress_bar": False},
        **more,
    }
    path = tmp_path / "run.yaml"
    path.write_text(json.dumps(entries))
    return ["--config", str(path), "--trainer.default_root_dir", str(tmp_path / "runs")]


def test_from_the_command_line_to_a_table(tmp_path, monkeypatch):
    monkeypatch.setattr("timeseries.ehr.baselines.scores.TabularBaselines", partial(TabularBaselines, folds=2, trees=5))
    options = config(tmp_path)
    main(["fit", *options])
    run = tmp_path / "runs" / "run" / "version_0"
    best = run / "best.ckpt"
    main(["test", *options, "--ckpt_path", str(best)])
    metrics = json.loads((run / "metrics.json").read_text())
    baselines = json.loads((run / "baselines.json").read_text())
    assert set(baselines) == {"logistic_regression", "gradient_boosting", "blend"}
    assert set(baselines["blend"]) == {"test/accuracy", "test/auroc", "test/auprc"}
    main(["predict", *options, "--ckpt_path", str(best), "--out", str(tmp_path / "table.csv")])
    with (tmp_path / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["id", "subject", "prediction_time", "target", "probability_outcome"]
    main(
        ["test", *options, "--data.all_test", "true", "--data.data_seed", "1", "--ckpt_path", str(best)]
    )  # nobody to fit baselines on

    # the checkpoint alone gives the same probabilities: vocabulary, quantiles, weights, temperature are in it
    model = load_task(best)
    temperature = read_checkpoint(best)["calibration"]["temperature"]
    assert model.calibration.temperature == temperature != 1.0
    data = SyntheticEventsData(count=150, events_per_code=6)
    data.setup()
    test = data.samples["test"]
    p = model.probabilities(model.logits_of(test).logits).numpy()
    assert [row["id"] for row in rows] == test.ids()
    assert np.allclose(p, [float(row["probability_outcome"]) for row in rows], atol=1e-6)
    assert metrics["test/auroc"] == pytest.approx(roc_auc_score(test.target, p), abs=1e-6)
    both = EventEnsemble.load([best, best])
    assert np.allclose(both.probabilities_of(test).numpy(), p, atol=1e-6)


def test_a_trained_model_numbers_new_data_as_in_training(tmp_path):
    """Codes in another order, and one that it has never seen: the same answers for the same events."""
    given = drawn(100)
    model = task(recalibrate=None)
    fitted(tmp_path, model, given_data(given, unseen="ignore"), 1)
    order = ("zz", "c", "b", "a")
    names = [given.codes[k] for k in given.code]
    other = type(given)(
        **{**vars(given), "codes": order, "code": np.array([order.index(name) for name in names], dtype=np.int32)}
    )
    data = given_data(other, unseen="ignore")
    L.Trainer(
        logger=False, accelerator="cpu", devices=1, enable_progress_bar=False, enable_model_summary=False
    ).validate(model, data, verbose=False)
    assert data.codes == model.vocabulary.codes
    here, there = (model.logits_of(one).logits for one in (whole_of(given, model), data.whole))
    assert torch.equal(here, there)


def whole_of(given, model):
    data = given_data(given, unseen="ignore")
    data.setup()
    data.use_vocabulary(model.vocabulary)
    return data.whole


def test_pretrained_weights_are_taken_and_others_refused(tmp_path):
    recipe = {
        "model": {"init_args": {"model_options": TINY, "pretrain_epochs": 1, "lr": 0.01, "baselines": []}},
        "trainer": {"max_epochs": 2, "limit_val_batches": 0},
        "ema": None,
    }
    data = given_data(drawn(80))
    data.setup()
    path = pretrain(recipe, data, tmp_path / "first.ckpt", seed=1, summary=[])
    stored = read_checkpoint(path)["state_dict"]
    model = train(recipe, data, seed=2, pretrained=path, epochs=1, lr=0.0)
    assert torch.equal(model.model.embed.table, stored["model.embed.table"])
    name = "encoder.blocks.0.attention.q_proj.weight"
    assert torch.equal(model.model.state_dict()[name], stored[f"model.{name}"])
    with pytest.raises(ValueError, match="pretrained: expected"):
        train(recipe, data, pretrained=path, model_options={"dim": 16})
    with pytest.raises(ValueError, match="codes and statics"):
        train(recipe, given_data(drawn(80, codes=("a", "q", "c"))), pretrained=path)


def test_best_validation_is_kept(tmp_path):
    recipe = {
        "model": {"init_args": {"model_options": TINY, "lr": 0.05, "baselines": []}},
        "trainer": {"max_epochs": 6},
        "ema": 0.5,
        "early_stopping": 3,
    }
    data = given_data(drawn(150))
    data.setup()
    model = train(recipe, data)
    val = data.samples["val"]
    logits = model.logits_of(val).logits
    assert model.calibration.temperature != 1.0
    best = next(callback for callback in model.trainer.callbacks if hasattr(callback, "state")).best.score
    assert roc_auc_score(val.target, logits[:, 0].numpy()) == pytest.approx(best, abs=1e-6)
    assert not model.training


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"branch_weight": -1.0}, "branch_weight"),
        ({"class_weight": "x"}, "class_weight"),
        ({"recalibrate": "platt"}, "recalibrate"),
        ({"pretrain_epochs": -1}, "pretrain_epochs"),
        ({"temperature": 0.0}, "temperature"),
        ({"unit": "day"}, "unit"),
        ({"bin_hours": -1.0}, "hours"),
    ],
)
def test_refuses_options(options, name):
    with pytest.raises(ValueError, match=name):
        task(**options)


def test_refuses_another_outcome_and_no_data(tmp_path):
    model = task()
    fitted(tmp_path, model, given_data(drawn(60)), 1)
    classes = samples([[(1.0, "a", 1.0)]] * 60, [k % 3 for k in range(60)], kind="multiclass", codes=("a", "b", "c"))
    with pytest.raises(ValueError, match="binary outcome, as the model predicts, got multiclass"):
        fitted(tmp_path, model, given_data(classes), 1)
    with pytest.raises(ValueError, match="codes, kind, names"):
        task().setup("fit")


def test_recipes_are_laid_over(tmp_path):
    recipe = {"model": {"init_args": {"model_options": {"dim": 8, "heads": 2}, "lr": 0.1}}}
    made = create(recipe, model_options={"heads": 4}, lr=0.2)
    assert made.model_options == {"dim": 8, "heads": 4} and made.lr == 0.2
