import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from sklearn.isotonic import IsotonicRegression
from torch.nn import functional as F

from timeseries.probabilities.outcomes import Outcome
from timeseries.probabilities.recalibration import Recalibration, fit_temperature

from ..event_fakes import drawn, samples

NAN = float("nan")
BINARY = Outcome("binary", ("died",))


def test_each_kind_is_read_off_the_training_samples():
    assert Outcome.of(drawn(10), 5) == Outcome("binary", ("1",))
    three = samples([[]] * 3, [0, 2, 1], kind="multiclass", target_names=("x", "y", "z"))
    assert Outcome.of(three, 5) == Outcome("multiclass", ("x", "y", "z"))
    labels = samples([[]] * 2, target=[[1, 0], [NAN, 1]], kind="multilabel", target_names=("p", "q"))
    assert Outcome.of(labels, 5).outputs == 2
    durations = samples([[]] * 4, target=[[1, 1], [2, 1], [3, 0], [4, 1]], kind="time_to_event")
    timed = Outcome.of(durations, 3)
    assert timed.outputs == len(timed.edges) == 3 and timed.edges[-1] > 4


def test_losses_are_those_of_torch():
    z = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    y = torch.tensor([0.0, 1, 1, 0, 1, 0])
    got = BINARY.loss(z[:, :1], y, torch.tensor([2.0]))
    p = z[:, 0].sigmoid()
    assert torch.allclose(got, -(2 * y * p.log() + (1 - y) * (1 - p).log()).mean())
    classes = Outcome("multiclass", ("a", "b", "c"))
    k = torch.tensor([0.0, 1, 2, 2, 1, 0])
    assert torch.allclose(classes.loss(z, k), F.cross_entropy(z, k.long()))
    weight = torch.tensor([1.0, 2.0, 0.5])
    expected = (-z.log_softmax(1)[torch.arange(6), k.long()] * weight[k.long()]).mean()
    assert torch.allclose(classes.loss(z, k, weight), expected)


def test_unknown_labels_count_for_nothing():
    outcome = Outcome("multilabel", ("p", "q"))
    z = torch.tensor([[0.3, -1.0], [2.0, 0.5]], dtype=torch.float64, requires_grad=True)
    target = torch.tensor([[1.0, NAN], [0.0, 1.0]], dtype=torch.float64)
    loss = outcome.loss(z, target)
    s = torch.sigmoid(z.detach())
    expected = -(math.log(s[0, 0]) + math.log(1 - s[1, 0]) + math.log(s[1, 1])) / 3
    assert float(loss.detach()) == pytest.approx(expected)
    loss.backward()
    assert z.grad[0, 1] == 0 and torch.isfinite(z.grad).all()


def test_balance():
    assert BINARY.balance(np.array([0, 0, 0, 1.0])) == [3.0]
    assert BINARY.balance(np.zeros(4)) == [1.0]
    assert Outcome("multiclass", ("a", "b", "c")).balance(np.array([0, 0, 0, 1.0])) == pytest.approx([2 / 3, 2.0, 0.0])
    known = np.array([[1, NAN], [0, 0], [0, 0]])
    assert Outcome("multilabel", ("a", "b")).balance(known) == [2.0, 1.0]
    with pytest.raises(ValueError, match="class_weight"):
        Outcome("time_to_event", ("by",), (1.0,)).balance(np.zeros((2, 2)))


def test_probabilities():
    z = torch.tensor([[0.0], [math.log(3)]])
    assert BINARY.probabilities(z).tolist() == pytest.approx([0.5, 0.75])
    assert torch.allclose(
        Outcome("multiclass", ("a", "b")).probabilities(torch.zeros(1, 2)), torch.tensor([[0.5, 0.5]])
    )
    timed = Outcome("time_to_event", ("x", "y"), (1.0, 2.0))
    assert timed.probabilities(torch.zeros(1, 2))[0].tolist() == pytest.approx([0.5, 0.75])


@pytest.mark.parametrize(
    ("outcome", "target"),
    [
        (BINARY, torch.tensor([0.0, 1.0, 1.0, 0.0])),
        (Outcome("multiclass", ("a", "b")), torch.tensor([0.0, 1.0, 1.0, 0.0])),
        (Outcome("multiclass", ("a", "b", "c")), torch.tensor([0.0, 1.0, 2.0, 0.0])),
        (Outcome("multilabel", ("a", "b")), torch.tensor([[0.0, 1], [1, NAN], [1, 0], [0, 1]])),
        (Outcome("time_to_event", ("x", "y"), (1.0, 2.0)), torch.tensor([[0.5, 1], [1.5, 1], [1.7, 0], [9, 0]])),
    ],
)
def test_perfect_predictions_have_perfect_metrics(outcome, target):
    if outcome.kind == "multiclass":
        z = 8 * F.one_hot(target.long(), outcome.outputs).float()
    elif outcome.kind == "time_to_event":
        z = torch.tensor([[9.0, 9.0], [-2.0, 9.0], [-3.0, -3.0], [-9.0, -9.0]])
    else:
        z = 8 * target.nan_to_num().reshape(4, -1) - 4
    metrics, main = outcome.metrics()
    metrics.update(*outcome.metric_inputs(outcome.probabilities(z), target))
    assert float(metrics.compute()[main]) == pytest.approx(1.0)
    reverse, _ = outcome.metrics()
    reverse.update(*outcome.metric_inputs(outcome.probabilities(-z), target))
    assert float(reverse.compute()[main]) < 0.5


def overconfident(n=5000, factor=2.5):
    rng = np.random.default_rng(0)
    z = rng.normal(-1, 1.5, n)
    y = (rng.random(n) < 1 / (1 + np.exp(-z))).astype(np.float32)
    return torch.tensor(factor * z)[:, None], torch.from_numpy(y)


def test_temperature_is_that_of_scipy_and_undoes_overconfidence():
    z, y = overconfident()
    got = fit_temperature(BINARY, z, y)
    peer = minimize_scalar(lambda t: float(BINARY.loss(z / t, y.double())), bounds=(0.1, 10), method="bounded")
    assert got == pytest.approx(peer.x, rel=1e-3)
    assert got == pytest.approx(2.5, rel=0.05)


@pytest.mark.parametrize("kind", ["multiclass", "multilabel", "time_to_event"])
def test_temperature_of_every_kind_lowers_its_loss(kind):
    rng = torch.Generator().manual_seed(0)
    z = 4 * torch.randn(300, 3, generator=rng)
    names, p = ("a", "b", "c"), z / 4  # the logits are four times too large
    outcome = Outcome(kind, names, (1.0, 2.0, 3.0) if kind == "time_to_event" else ())
    if kind == "multiclass":
        y = torch.multinomial(p.softmax(1), 1, generator=rng)[:, 0].float()
    elif kind == "multilabel":
        y = torch.bernoulli(p.sigmoid(), generator=rng)
    else:
        happens = torch.cat([torch.bernoulli(p.sigmoid(), generator=rng), torch.ones(300, 1)], 1)
        interval = happens.argmax(1)  # the first that holds the event; beyond the third: nobody knows when
        y = torch.stack([interval + 0.5, (interval < 3).float()], 1)
    t = fit_temperature(outcome, z, y)
    assert t > 1.5
    best = float(outcome.loss(z / t, y))
    assert best < float(outcome.loss(z, y))
    assert best <= min(float(outcome.loss(z / (t * f), y)) for f in (0.9, 1.1)) + 1e-6


def test_isotonic_is_scikit_learns_and_survives_a_checkpoint():
    z, y = overconfident(400)
    fitted = Recalibration.fit("isotonic", BINARY, z, y)
    new = torch.linspace(-12, 12, 50, dtype=torch.float64)[:, None]
    peer = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(z[:, 0].numpy(), y.numpy())
    assert torch.allclose(fitted.probabilities(BINARY, new), torch.tensor(peer.predict(new[:, 0].numpy())).float())
    assert Recalibration.from_state(fitted.state()) == fitted
    assert "isotonic" in str(fitted) and str(Recalibration(2.0)) == "temperature 2.000"


def test_recalibration_by_hand_and_refusals():
    z = torch.tensor([[2.0]])
    assert Recalibration().probabilities(BINARY, z).item() == pytest.approx(1 / (1 + math.exp(-2)))
    assert Recalibration(2.0).probabilities(BINARY, z).item() == pytest.approx(1 / (1 + math.exp(-1)))
    with pytest.raises(ValueError, match="recalibrate"):
        Recalibration.fit("isotonic", Outcome("multiclass", ("a", "b")), torch.zeros(2, 2), torch.tensor([0.0, 1.0]))
    with pytest.raises(ValueError, match="recalibrate"):
        Recalibration.fit("platt", BINARY, z, torch.ones(1))
    with pytest.raises(ValueError, match="temperature"):
        Recalibration(0.0)
    with pytest.raises(ValueError, match="values"):
        Recalibration(1.0, (1.0,), ())


def test_a_constant_target_leaves_what_was_given_and_a_bound_is_told():
    z = torch.tensor([[2.0], [-1.0], [0.5]])
    given = Recalibration(1.3)
    for method in ("temperature", "isotonic"):
        assert Recalibration.fit(method, BINARY, z, torch.ones(3), given) == given
        assert Recalibration.fit(method, BINARY, z, torch.zeros(3)) == Recalibration()
    labels = Outcome("multilabel", ("p", "q"))
    assert Recalibration.fit("temperature", labels, z.expand(3, 2), torch.tensor([[1.0, NAN]] * 3), given) == given
    timed = Outcome("time_to_event", ("x", "y"), (1.0, 2.0))
    assert Recalibration.fit("temperature", timed, z.expand(3, 2), torch.tensor([[9.0, 0.0]] * 3), given) == given
    with pytest.warns(UserWarning, match=r"temperature: the loss is least .* 0\.05"):
        fit_temperature(BINARY, z, torch.tensor([1.0, 0.0, 1.0]))
    with pytest.warns(UserWarning, match=r"temperature: the loss is least .* 20\.00"):
        fit_temperature(BINARY, z, torch.tensor([0.0, 1.0, 0.0]))


CLASSES = Outcome("multiclass", ("high", "low", "mid"))
LABELS = Outcome("multilabel", ("p", "q"))


def test_classes_and_labels_go_by_their_names():
    some = samples([[]] * 4, [0, 1, NAN, 1], kind="multiclass", target_names=("low", "mid"))
    ours = CLASSES.adapt(some)
    assert np.array_equal(ours.target, [1, 2, NAN, 2], equal_nan=True) and ours.target_names == CLASSES.names
    assert CLASSES.adapt(ours) is ours
    table = [[1, 0], [NAN, 1]]
    turned = LABELS.adapt(samples([[]] * 2, table, kind="multilabel", target_names=("q", "p")))
    assert np.array_equal(turned.target, [[0, 1], [1, NAN]], equal_nan=True) and turned.target_names == ("p", "q")
    one = LABELS.adapt(samples([[]] * 2, [[1], [0]], kind="multilabel", target_names=("q",)))
    assert np.array_equal(one.target, [[NAN, 1], [NAN, 0]], equal_nan=True)
    died = samples([[]] * 2, [0, 1], target_names=("died",))
    assert BINARY.adapt(died) is died


def test_numbers_are_names_where_there_are_none():
    numbered = Outcome("multiclass", ("0", "1", "2"))
    bare = samples([[]] * 3, [2, 1, 0], kind="multiclass")
    assert numbered.adapt(bare).target.tolist() == [2, 1, 0]
    with pytest.raises(ValueError, match=r"target_names: .*high, low, mid.*the data have '0'"):
        CLASSES.adapt(bare)
    assert BINARY.adapt(samples([[]] * 2, [0, 1])).target.tolist() == [0, 1]
    assert Outcome("binary", ("1",)).adapt(samples([[]] * 2, [0, 1], target_names=("x",))).target.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("outcome", "target", "names", "strange"),
    [
        (CLASSES, [0, 1], ("low", "none"), "none"),
        (Outcome("multiclass", ("0", "1")), [0, 2], (), "2"),
        (LABELS, [[0, 1], [1, 0]], ("p", "r"), "r"),
        (BINARY, [0, 1], ("sepsis",), "sepsis"),
    ],
)
def test_what_the_model_does_not_know_is_named(outcome, target, names, strange):
    held = samples([[]] * 2, target, kind=outcome.kind, target_names=names)
    with pytest.raises(ValueError, match=f"target_names: expected .*the data have '{strange}'"):
        outcome.adapt(held)
    unknown = replace(held, target=np.full_like(held.target, np.nan))
    assert np.isnan(outcome.adapt(unknown).target).all()  # to be predicted: no target can be mistaken


def test_the_other_kind_is_refused():
    with pytest.raises(ValueError, match="kind: the model predicts a binary outcome, the data have multiclass"):
        BINARY.adapt(samples([[]] * 2, [0, 1], kind="multiclass"))
