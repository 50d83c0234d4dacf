import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging

from core.training.checkpoint.averaging import WeightAverage

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),  # lightning 2.6 on torch 2.14
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
]


class Counting(L.LightningModule):
    """One weight that gradient descent moves by 1 a step, and buffers of three kinds."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(0.0))
        self.register_buffer("length", torch.tensor(101))
        self.register_buffer("seen", torch.tensor(True))
        self.register_buffer("real", torch.tensor(0.0))

    def training_step(self, batch, batch_idx):
        self.real += 2
        return -self.weight

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1.0)


def trained(callback, tmp_path, steps=3):
    model = Counting()
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    quiet |= {"enable_model_summary": False, "accelerator": "cpu", "default_root_dir": tmp_path}
    trainer = L.Trainer(max_epochs=1, callbacks=[callback], **quiet)
    trainer.fit(model, torch.utils.data.DataLoader(range(steps)))
    return model


def test_real_numbers_are_averaged_and_whole_ones_kept(tmp_path):
    model = trained(WeightAverage(0.9), tmp_path)  # the first step is taken as it is
    assert model.weight.item() == pytest.approx(0.9 * (0.9 * 1 + 0.1 * 2) + 0.1 * 3)
    assert model.real.item() == pytest.approx(0.9 * (0.9 * 2 + 0.1 * 4) + 0.1 * 6)
    assert model.length.item() == 101 and model.seen.item()
    rounded = trained(EMAWeightAveraging(decay=0.9), tmp_path)
    assert rounded.length.item() == 100  # what is to be avoided


def test_weights_are_lightnings_to_the_bit(tmp_path):
    ours = trained(WeightAverage(0.9), tmp_path, steps=20)
    theirs = trained(EMAWeightAveraging(decay=0.9), tmp_path, steps=20)
    assert torch.equal(ours.weight, theirs.weight) and torch.equal(ours.real, theirs.real)


def test_its_state_in_checkpoints_is_lightnings():
    assert WeightAverage().state_key == EMAWeightAveraging().state_key
