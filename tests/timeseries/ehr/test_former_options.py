"""Former names of options, and checkpoints that hold them."""

import pytest
import torch

from timeseries import EventClassificationTask, load_task
from timeseries.ehr.recipe import create

from ..event_fakes import drawn
from .test_task import TINY, fitted, given_data, task

pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")  # lightning 2.6 on torch 2.14


def test_former_names_of_options_stay(capsys):
    class Mine(EventClassificationTask):
        """The note is printed once for each class."""

    former = Mine(architecture={**TINY, "backbone": "gru"}, baselines=True, lr=0.01)
    assert capsys.readouterr().err == "note: Mine: architecture is now called model_options\n"
    assert (former.model_name, former.model_options) == ("gru", TINY)
    now = task(model_name="gru", baselines=None)
    assert dict(former.hparams) == dict(now.hparams) and now.hparams["architecture"] is None
    assert now.baseline_names == ["logistic_regression", "gradient_boosting", "blend"]
    assert task(baselines=False).baseline_names == task(baselines=[]).baseline_names == []
    assert task(architecture={"dim": 4}).model_options == {**TINY, "dim": 4}  # typed beside a configuration
    assert task().model_name == "attention"
    with pytest.raises(ValueError, match=r"model_name: expected .* 'gru', got 'attention'"):
        task(model_name="attention", model_options={"backbone": "gru"})
    with pytest.raises(ValueError, match=r"baselines: expected names among logistic_regression, .*, got 'svm'"):
        task(baselines=["svm"])
    recipe = {"model": {"init_args": {"architecture": {"dim": 8, "heads": 2}}}}
    assert create(recipe, architecture={"heads": 4}).model_options == {"dim": 8, "heads": 4}


def test_a_checkpoint_of_before_has_a_model(tmp_path):
    """Python's checkpoints named neither class nor `model_options`."""
    data, model = given_data(drawn(60)), task(model_name="gru")
    fitted(tmp_path, model, data, 1).save_checkpoint(tmp_path / "new.ckpt")
    stored = torch.load(tmp_path / "new.ckpt", weights_only=True)
    options = stored["hyper_parameters"]
    options["architecture"] = {"backbone": options.pop("model_name"), **options.pop("model_options")}
    options["baselines"] = False
    del stored["task"], stored["data"]
    torch.save(stored, tmp_path / "old.ckpt")
    test = data.samples["test"]
    assert torch.equal(load_task(tmp_path / "old.ckpt").logits_of(test).logits, model.logits_of(test).logits)
    del options["codes"]
    torch.save(stored, tmp_path / "old.ckpt")
    with pytest.raises(ValueError, match="expected a checkpoint of a trained task, got one without codes"):
        load_task(tmp_path / "old.ckpt")
