"""Further outcomes: their loss by hand, what they teach, and that no prediction knows them."""

from dataclasses import replace
from math import exp, inf, log, nan

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from timeseries import EventClassificationTask, load_task
from timeseries.ehr.auxiliary import AuxiliaryLoss
from timeseries.events.readers.physionet_outcomes import AUXILIARY, parse_outcomes
from timeseries.events.synthetic import plant

from ..event_fakes import drawn, samples
from .test_task import fitted, given_data, task

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),  # lightning 2.6 on torch 2.14
]


def test_loss_by_hand() -> None:
    loss = AuxiliaryLoss(("a", "b")).fit(np.array([[0, 10], [1, 30], [nan, nan]], dtype=np.float32))
    assert loss.binary.tolist() == [True, False]
    assert loss.mean[1] == 20 and loss.deviation[1] == 10
    logits = torch.tensor([[0.0, 2.0], [1.0, 5.0], [7.0, 0.5]])
    known = torch.tensor([[1.0, 30.0], [0.0, nan], [nan, 20.0]])
    binary = (log(2) + log(1 + exp(1))) / 2
    number = (0.5 * (2 - 1) ** 2 + 0.5 * 0.5**2) / 2
    assert loss(logits, known).item() == pytest.approx(binary + number, rel=1e-6)
    assert loss(logits, torch.full((3, 2), nan)).item() == 0


def test_unknown_outcomes_give_no_gradient() -> None:
    loss = AuxiliaryLoss(("a", "b")).fit(np.array([[0, 1], [1, 2.5]], dtype=np.float32))
    logits = torch.zeros(2, 2, requires_grad=True)
    loss(logits, torch.tensor([[nan, nan], [1.0, nan]])).backward()
    assert logits.grad is not None
    assert (logits.grad != 0).tolist() == [[False, False], [True, False]] and logits.grad.isfinite().all()


def test_loss_refuses() -> None:
    with pytest.raises(ValueError, match=r"auxiliary: expected \(N, 2\), got \(3, 1\)"):
        AuxiliaryLoss(("a", "b")).fit(np.zeros((3, 1)))
    with pytest.raises(ValueError, match="got none of 'b'"):
        AuxiliaryLoss(("a", "b")).fit(np.array([[0, nan], [1, nan]]))


def test_samples_carry_them() -> None:
    given = replace(drawn(4), auxiliary=np.arange(8, dtype=np.float32).reshape(4, 2), auxiliary_names=("a", "b"))
    assert given.select([2, 0]).auxiliary.tolist() == [[4, 5], [0, 1]]
    assert type(given).concat([given, given.select([1])]).auxiliary.tolist()[-1] == [2, 3]
    assert given.fingerprint() != replace(given, auxiliary=given.auxiliary + 1).fingerprint()
    assert given.fingerprint() != replace(given, auxiliary_names=("a", "c")).fingerprint()
    plain = samples([[]], [1.0], codes=("x",))
    assert plain.auxiliary.shape == (1, 0)
    with pytest.raises(ValueError, match="same auxiliary_names"):
        type(given).concat([given, drawn(2)])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"auxiliary_names": ("a", "a")}, "auxiliary_names: expected every name once"),
        ({"auxiliary_names": ("a",)}, r"auxiliary: expected shape \(4, 1\), got \(4, 2\)"),
        ({"auxiliary": np.full((4, 2), inf, dtype=np.float32)}, "auxiliary: expected a finite number"),
    ],
)
def test_samples_refuse(change: dict, message: str) -> None:
    given = replace(drawn(4), auxiliary=np.zeros((4, 2), dtype=np.float32), auxiliary_names=("a", "b"))
    with pytest.raises(ValueError, match=message):
        replace(given, **change)


def test_outcomes_of_the_challenge_by_hand() -> None:
    text = (
        "RecordID,SAPS-I,SOFA,Length_of_stay,Survival,In-hospital_death\n"
        "1,6,1,5,-1,0\n2,16,8,8,6,1\n3,-1,-1,13,200,0\n4,9,2,-1,-1,1\n"
    )
    found = parse_outcomes(text, "Outcomes-x.txt")
    assert AUXILIARY[:7] == (*(f"death within {d} d" for d in (4, 7, 14, 30, 90, 365)), "death on record")
    assert [found[k].died for k in "1234"] == [0, 1, 0, 1]
    assert found["1"].auxiliary == (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 6, 1)
    assert found["2"].auxiliary == (0, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 16, 8)
    np.testing.assert_equal(found["3"].auxiliary, (0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 0, nan, nan))
    np.testing.assert_equal(found["4"].auxiliary, (*[nan] * 6, 1, *[nan] * 4, 9, 2))
    bare = parse_outcomes("RecordID,In-hospital_death\n1,0\n", "Outcomes-x.txt")["1"]
    assert bare.died == 0 and np.isnan(bare.auxiliary).all()
    with pytest.raises(ValueError, match=r"Outcomes-x\.txt, line 3: expected numbers, got '2,x,8,8,6,1'"):
        parse_outcomes(text.replace("2,16", "2,x"), "Outcomes-x.txt")


def test_they_are_learned_and_the_target_too(tmp_path) -> None:
    planted = plant(600, half_lives=(8.0,), noise_codes=0, events_per_code=10.0, seed=1)
    truth = np.stack([planted.logit, planted.logit > 1], axis=1).astype(np.float32)
    given = replace(planted.samples, auxiliary=truth, auxiliary_names=("logit", "high"))
    data, model = given_data(given), task(auxiliary_weight=0.5, branch_weight=0.5)
    fitted(tmp_path, model, data, 12)
    test = data.samples["test"]
    out = model.logits_of(test)
    assert out.logits.shape == (len(test), 1) and out.auxiliary.shape == (len(test), 3, 2)
    for branch in range(3):
        assert np.corrcoef(out.auxiliary[:, branch, 0], test.auxiliary[:, 0])[0, 1] > 0.8
        assert roc_auc_score(test.auxiliary[:, 1], out.auxiliary[:, branch, 1]) > 0.85
    assert roc_auc_score(test.target, out.logits[:, 0]) > 0.75


def auxiliary_data(change: float = 0.0, parts: tuple[str, ...] = (), names: tuple[str, ...] = ("risk",)):
    """Samples with an outcome beside the target; those of some parts can be changed."""
    given = replace(drawn(120), auxiliary=drawn(120).target[:, None] * 3 + 1, auxiliary_names=names)
    data = given_data(given)
    data.setup()
    changed = given.auxiliary.copy()
    for part in parts:
        changed[getattr(data.split, part)] += change
    return given_data(replace(given, auxiliary=changed))


def test_only_those_of_the_training_part_count(tmp_path) -> None:
    states = []
    for change, parts in ((0.0, ()), (nan, ("val", "test")), (5.0, ("val", "test")), (5.0, ("train",))):
        torch.manual_seed(0)
        model = task(recalibrate=None, auxiliary_weight=0.5)
        fitted(tmp_path, model, auxiliary_data(change, parts), 1)
        states.append(model.state_dict())
    for other in states[1:3]:
        assert all(torch.equal(states[0][name], other[name]) for name in states[0])
    assert not torch.equal(states[0]["auxiliary_loss.mean"], states[3]["auxiliary_loss.mean"])


def test_without_weight_they_are_not_there(tmp_path) -> None:
    states = []
    for data in (auxiliary_data(), given_data(drawn(120))):
        torch.manual_seed(0)
        model = task(recalibrate=None, auxiliary_weight=0.0)
        fitted(tmp_path, model, data, 1)
        states.append(model.state_dict())
        assert model.logits_of(data.samples["test"]).auxiliary is None
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_checkpoint_knows_them_and_predicts_without(tmp_path) -> None:
    data, model = auxiliary_data(), task(auxiliary_weight=0.5)
    trainer = fitted(tmp_path, model, data, 1)
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    again = load_task(tmp_path / "model.ckpt")
    assert isinstance(again, EventClassificationTask) and again.auxiliary_names == ["risk"]
    test = data.samples["test"]
    bare = replace(test, auxiliary=np.zeros((len(test), 0), dtype=np.float32), auxiliary_names=())
    assert torch.equal(again.logits_of(bare).logits, model.logits_of(test).logits)
    with pytest.raises(ValueError, match="auxiliary_names: expected risk, as the model has, got other in the data"):
        fitted(tmp_path, again, auxiliary_data(names=("other",)), 1)


def test_weight_is_checked() -> None:
    with pytest.raises(ValueError, match="auxiliary_weight: expected at least 0, got -1"):
        task(auxiliary_weight=-1)
