import math

import pytest
import torch
from timm.scheduler import create_scheduler_v2

from vision.classification.data import DigitsData
from vision.classification.schedules import NAMES, NamedSchedule

from .test_task import task, trainer


def optimizer_with(*lrs):
    parameters = [torch.nn.Parameter(torch.zeros(1)) for _ in lrs]
    return torch.optim.SGD([{"params": [p], "lr": lr} for p, lr in zip(parameters, lrs, strict=True)], lr=1.0)


def rates(name, steps=12, warmup=0, options=None):
    """Rates of two groups in the first steps of a training of 12, 4 an epoch; and the schedule."""
    optimizer = optimizer_with(1.0, 0.1)
    schedule = NamedSchedule(name, optimizer, 12, 4, warmup, options or {})
    seen = []
    for _ in range(steps):
        seen.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        schedule.step()
    return torch.tensor(seen, dtype=torch.float64), schedule


def test_cosine_by_hand():
    seen, _ = rates("cosine")
    expected = [0.5 * (1 + math.cos(math.pi * step / 12)) for step in range(12)]
    torch.testing.assert_close(seen[:, 0], torch.tensor(expected, dtype=torch.float64))
    torch.testing.assert_close(seen[:, 1], seen[:, 0] / 10)


def test_step_by_hand():
    seen, _ = rates("step", options={"decay_rate": 0.5, "decay_epochs": 1})
    assert seen[:, 0].tolist() == [1.0] * 4 + [0.5] * 4 + [0.25] * 4


def test_warm_up_is_linear_to_the_peak():
    seen, _ = rates("step", warmup=4, options={"warmup_lr": 0.0, "decay_epochs": 10})
    assert seen[:, 0].tolist() == [0.0, 0.25, 0.5, 0.75] + [1.0] * 8


@pytest.mark.parametrize("name", NAMES)
def test_equals_timm(name):
    options = {"min_lr": 0.01} if name in ("cosine", "tanh", "poly") else {}
    seen, _ = rates(name, options=options)
    optimizer = optimizer_with(1.0)
    settings = {"num_epochs": 3, "updates_per_epoch": 4, "step_on_epochs": False}
    theirs, _ = create_scheduler_v2(optimizer, sched=name, **settings, **options)
    for step in range(12):
        theirs.step_update(step)
        assert seen[step, 0].item() == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_resumed_goes_on_where_it_stopped(name):
    whole, _ = rates(name, warmup=2)
    _, stopped = rates(name, steps=5, warmup=2)
    optimizer = optimizer_with(1.0, 0.1)
    resumed = NamedSchedule(name, optimizer, 12, 4, 2, {})
    resumed.load_state_dict(stopped.state_dict())
    optimizer.step()
    resumed.step()
    assert [group["lr"] for group in optimizer.param_groups] == whole[6].tolist()


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("plateau", {}, r"scheduler: expected one of cosine, tanh"),
        ("cosine", {"speed": 1}, r"scheduler_options: .*speed"),
        ("cosine", {"num_epochs": 1}, r"scheduler_options: expected none that follow from .*, got num_epochs"),
    ],
)
def test_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        rates(name, options=options)


@pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")  # of lightning 2.6 on torch 2.14
def test_a_task_takes_it_by_name(tmp_path):
    options = {"decay_rate": 0.1, "decay_epochs": 1}
    chosen = task(num_classes=10, scheduler="step", scheduler_options=options, warmup_fraction=0.0, lr=0.01)
    training = trainer(tmp_path, max_epochs=2, limit_train_batches=3, limit_val_batches=0)
    training.fit(chosen, DigitsData(batch_size=64, val_fraction=0.0))
    assert isinstance(chosen.lr_schedulers(), NamedSchedule)
    assert training.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.01 * 0.1**2)
    with pytest.raises(ValueError, match=r"scheduler: expected one of cosine"):
        task(scheduler="plateau")
