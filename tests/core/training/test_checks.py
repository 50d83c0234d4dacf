"""The checks pass on a sound task and sound data, and each fails on one that breaks what it looks at."""

from pathlib import Path

import numpy as np
import pytest
import torch

from core.training import checks

from .toy import ToyData, ToySet, ToyTask

pytestmark = [pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")]


class SoundData(ToyData):
    def setup(self, stage: str) -> None:
        if self.train_set is None:
            super().setup(stage)

    def describe_split(self) -> str:
        return "by number"


def data() -> SoundData:
    return SoundData(n=32)


@pytest.mark.parametrize("check", checks.DATA, ids=checks.name)
def test_sound_data_pass(check) -> None:
    check(data)


@pytest.mark.parametrize("check", checks.TASK, ids=checks.name)
def test_a_sound_task_passes(check, tmp_path: Path) -> None:
    check(ToyTask, data, tmp_path)


class WithoutSource(SoundData):
    source = ""


class Restless(SoundData):
    def fingerprint(self) -> str:
        return f"sha256:{np.random.default_rng().integers(1 << 60)}"


class Shifting(SoundData):
    def setup(self, stage: str) -> None:
        self.seed = int(np.random.default_rng().integers(1 << 30))
        ToyData.setup(self, stage)


class Silent(SoundData):
    def describe_split(self) -> str:
        return ""


class Leaking(SoundData):
    def setup(self, stage: str) -> None:
        super().setup(stage)
        self.test_set = ToySet(self.x[8:20], self.y[8:20], augment=False, offset=8)


class Numberless(SoundData):
    def setup(self, stage: str) -> None:
        super().setup(stage)
        self.train_set = ["a", "b"]
        self.collate = list


@pytest.mark.parametrize(
    ("make", "check", "message"),
    [
        (Leaking, checks.data_parts_do_not_leak, "items of train and test: expected none in common, got 12, such as 8"),
        (Numberless, checks.data_batches_are_reproducible, "train_dataloader"),
        (WithoutSource, checks.data_states_its_origin, "licence, source"),
        (Restless, checks.data_have_a_stable_fingerprint, "fingerprint"),
        (Shifting, checks.data_can_be_set_up_twice, "train_set"),
        (Shifting, checks.data_batches_are_reproducible, "first batch"),
        (Silent, checks.data_parts_do_not_leak, "describe_split"),
    ],
)
def test_each_check_of_data_can_fail(make, check, message) -> None:
    with pytest.raises(checks.CheckError, match=message):
        check(lambda: make(n=32))


class Unplain(ToyTask):
    def __init__(self, **options) -> None:
        super().__init__(**options)
        self.hparams["thing"] = torch.zeros(1)


class Twice(ToyTask):
    def predict_step(self, batch, batch_idx=0):
        return {"id": torch.zeros_like(batch["id"]), "probability": super().predict_step(batch)["probability"]}


class Ragged(ToyTask):
    def predict_step(self, batch, batch_idx=0):
        return {"id": batch["id"], "probability": super().predict_step(batch)["probability"][:1]}


class Impossible(ToyTask):
    def predict_step(self, batch, batch_idx=0):
        return {"id": batch["id"], "probability": super().predict_step(batch)["probability"] + 1}


class Forgetful(ToyTask):
    def on_load_checkpoint(self, checkpoint) -> None:
        super().on_load_checkpoint(checkpoint)
        checkpoint["state_dict"] = {k: torch.zeros_like(v) for k, v in checkpoint["state_dict"].items()}


class Welcoming(ToyTask):
    batch_type = dict
    data_type = SoundData

    def meet(self, data) -> None:
        self.adapt_to(data)


class Shouting(ToyTask):
    def baselines(self, stage):
        return {"The Majority": {"test/accuracy": 1.0}}


@pytest.mark.parametrize(
    ("make", "check", "message"),
    [
        (Unplain, checks.task_options_are_plain, "hparams.*thing"),
        (Twice, checks.task_predicts_a_table, "id: expected different"),
        (Ragged, checks.task_predicts_a_table, "one length"),
        (Impossible, checks.task_predicts_a_table, "probability: expected 0"),
        (Forgetful, checks.task_comes_back_from_its_checkpoint, "probability after loading"),
        (Welcoming, checks.task_refuses_other_data, "to refuse another data module"),
        (Shouting, checks.task_baselines_are_named, "snake_case"),
    ],
)
def test_each_check_of_a_task_can_fail(make, check, message, tmp_path: Path) -> None:
    with pytest.raises(checks.CheckError, match=message):
        check(make, data, tmp_path)


def test_a_run_without_split_in_its_environment_fails(tmp_path: Path) -> None:
    with pytest.raises(checks.CheckError, match=r"environment\.json"):
        checks.run_leaves_its_environment(ToyTask, lambda: Silent(n=32), tmp_path)
