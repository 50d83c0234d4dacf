"""Epochs without targets before those with: what counts for the best, and two processes."""

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import lightning as L
import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from core.training import read_checkpoint
from core.training.cli import main
from timeseries.ehr.model.pretrain import idle_parameters
from timeseries.ehr.recipe import pretrain, train

from ..event_fakes import drawn
from .test_task import TINY, config, fitted, given_data, task

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),  # lightning 2.6 on torch 2.14
    pytest.mark.filterwarnings("ignore::DeprecationWarning:jsonargparse"),  # lightning's command line
    pytest.mark.filterwarnings("ignore:.*skip_none.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:temperature. the loss is least"),  # the models are tiny
]
ROOT = Path(__file__).parents[3]


def test_the_best_model_has_learned_the_outcome(tmp_path):
    """No epoch of the outcome moves anything: each is worse than those before, or as good."""
    model = {"model_options": TINY, "pretrain_epochs": 3, "lr": 1e-9, "pretrain_lr": 0.02, "bin_hours": [8.0, 96.0]}
    options = config(tmp_path, model={"class_path": "EventClassificationTask", "init_args": model})
    main(["fit", *options, "--trainer.max_epochs", "6", "--ema", "null", "--early_stopping", "1"])
    folder = tmp_path / "runs/run/version_0"
    assert read_checkpoint(folder / "best.ckpt")["epoch"] == 3
    assert 3 < read_checkpoint(folder / "last.ckpt")["epoch"] < 6  # early stopping waits, but not for ever


def test_a_recipe_keeps_no_model_of_the_pretraining(tmp_path):
    recipe = {
        "model": {"init_args": {"model_options": TINY, "pretrain_epochs": 3, "lr": 1e-9, "baselines": []}},
        "trainer": {"max_epochs": 5},
        "ema": None,
        "early_stopping": 1,
    }
    data = given_data(drawn(100))
    data.setup()
    model = train(recipe, data, recalibrate=None)
    kept = next(callback for callback in model.trainer.callbacks if hasattr(callback, "state"))
    assert model.trainer.current_epoch == 5  # 3 for the first validation that counts, 4 for the one that is not better
    logits = model.logits_of(data.samples["val"]).logits[:, 0].numpy()
    assert kept.best.score == pytest.approx(roc_auc_score(data.samples["val"].target, logits), abs=1e-6)


def test_the_calibration_of_the_pretraining_is_the_given_one(tmp_path):
    model = task(pretrain_epochs=2, temperature=1.5)
    model.pretraining_alone = True
    fitted(tmp_path, model, given_data(drawn(100)), 2)
    assert model.calibration.temperature == 1.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 2}, r"trainer\.max_epochs: expected more than model\.pretrain_epochs = 2, .* got 2"),
        ({"epochs": 9, "max_steps": 6}, r"trainer\.max_steps: .* model\.pretrain_epochs = 2 \(6 steps\), .* got 6"),
    ],
)
def test_no_training_ends_before_the_outcome(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        fitted(tmp_path, task(pretrain_epochs=2), given_data(drawn(100)), **options)


def test_a_dry_run_and_a_pretraining_may(tmp_path):
    fitted(tmp_path, task(pretrain_epochs=2), given_data(drawn(100)), fast_dev_run=True)
    fitted(tmp_path, task(pretrain_epochs=2, recalibrate=None), given_data(drawn(100)), 9, max_steps=7)
    recipe = {"model": {"init_args": {"model_options": TINY, "pretrain_epochs": 1}}, "trainer": {"max_epochs": 2}}
    data = given_data(drawn(60))
    data.setup()
    assert "forecast.head.weight" in read_checkpoint(pretrain(recipe, data, tmp_path / "first.ckpt"))["state_dict"]


@pytest.mark.parametrize("architecture", [{}, {"backbone": "gru"}, {"pooling": "attention", "fusion": "concat"}])
def test_idle_parameters_are_those_without_a_gradient(tmp_path, architecture):
    model = task(pretrain_epochs=1, model_options={**TINY, **architecture}, bin_hours=[4.0, 8.0], recalibrate=None)
    seen = []

    class Watch(L.Callback):
        def on_before_optimizer_step(self, trainer, module, optimizer):
            names = {id(p): name for name, p in module.named_parameters()}
            without = {name for name, p in module.named_parameters() if p.grad is None}
            seen.append(without)
            idle = idle_parameters(module.model, module.forecast, module.pretraining)
            assert without == {names[id(p)] for p in idle} != set()

    fitted(tmp_path, model, given_data(drawn(100)), 2, callbacks=[Watch()])
    assert seen[0] != seen[-1] and "forecast.head.weight" in seen[-1]


@pytest.mark.slow
def test_two_processes(tmp_path):
    """They train, and AdamW leaves out in each phase what it leaves out in one process."""
    model = {"model_options": TINY, "pretrain_epochs": 2, "lr": 0.01, "bin_hours": [8.0, 96.0]}
    options = config(tmp_path, model={"class_path": "EventClassificationTask", "init_args": model})
    found = []
    for name, more in (
        ("one", ["--data.batch_size", "32"]),
        ("two", ["--data.batch_size", "16", "--trainer.strategy", "ddp", "--trainer.devices", "2"]),
    ):
        command = [sys.executable, "-m", "core.training", "fit", *options, "--trainer.max_epochs", "3", "--ema", "null"]
        path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        env = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
        command += ["--run_name", name, *more]
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, done.stderr
        folder = tmp_path / "runs" / name / "version_0"
        found.append((read_checkpoint(folder / "last.ckpt"), json.loads((folder / "metrics.json").read_text())))
    (one, first), (two, second) = found
    steps = [
        {k: float(state["step"]) for k, state in saved["optimizer_states"][0]["state"].items()} for saved in (one, two)
    ]
    assert steps[0] == steps[1]
    assert len(set(steps[0].values())) == 3  # the forecast's head, the outcome's heads, and what both phases train
    assert set(first) == set(second)
    assert all(np.isfinite(value.numpy()).all() for value in two["state_dict"].values())


def test_one_process_has_no_zeros(tmp_path):
    """The loss of a single process is that of the step itself, whatever the other phase's parameters are."""
    model = task(pretrain_epochs=1, recalibrate=None)
    data = given_data(drawn(100))

    class Spoil(L.Callback):
        def on_train_start(self, trainer, module):
            with torch.no_grad():
                module.model.head.weight.fill_(torch.nan)

        def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
            if module.pretraining:
                assert torch.isfinite(outputs["loss"])

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted(tmp_path, model, data, 2, callbacks=[Spoil()], limit_val_batches=0)
