import math

import numpy as np
import pytest
import torch

import core
from tests.tolerance import rounding
from timeseries.ehr.model.gru import GRUEncoder, width_for
from timeseries.ehr.model.model import EventModel
from timeseries.ehr.model.pretrain import Forecast, next_window
from timeseries.ehr.model.tokens import Tokenizer

from ...event_fakes import drawn, samples

NAN = float("nan")


def tokens(given, unit="bin", hours=4.0, index=None):
    tokenizer = Tokenizer(unit, hours)
    encoded = tokenizer.encode(given, tokenizer.fit(given))
    return encoded.batch(np.arange(len(given)) if index is None else np.asarray(index))


def model(given, seed=0, **options):
    torch.manual_seed(seed)
    codes = len(given.codes) + len(given.static_names)
    return EventModel(codes, 2, **{"dim": 16, "heads": 2, **options}).eval()


@pytest.mark.parametrize("backbone", ["attention", "gru"])
def test_a_state_knows_nothing_of_later_tokens(backbone):
    given = drawn(12)
    net = model(given, backbone=backbone)
    batch = tokens(given)
    x = net.embed_tokens(batch).detach().requires_grad_()
    states, _ = net.encode(x, batch.time, batch.keep)
    for item in range(12):
        columns = batch.keep[item].nonzero()[:, 0].tolist()
        for t in columns:
            (gradient,) = torch.autograd.grad(states[item, t, 0], x, retain_graph=True)
            moved = gradient.abs().sum(-1) > 0
            assert not moved[torch.arange(12) != item].any()  # nor of other samples
            assert moved[item, t]
            later = [s for s in columns if batch.time[item, s] > batch.time[item, t]]
            assert not moved[item, later].any()
        (gradient,) = torch.autograd.grad(states[item, -1, 0], x, retain_graph=True)
        assert (gradient[item, columns].abs().sum(-1) > 0).all()  # the query sees all


def test_answers_do_not_depend_on_the_batch():
    given = drawn(20)
    for options in ({}, {"pooling": "mean"}, {"pooling": "attention"}, {"backbone": "gru"}, {"embedding": "fourier"}):
        net = model(given, **options)
        together = net(tokens(given)).logits
        alone = torch.cat([net(tokens(given, index=[n])).logits for n in range(20)])
        # Two blocks of 16 features (six sums of 16, 8 in a logit, some 20 tokens twice, 64 in the MLP), the embedding
        # and the pooling: some 600 operations on features of a LayerNorm, whose mean square is 1.
        assert torch.allclose(together, alone, rtol=0, atol=rounding(600)), options


def test_attention_is_the_formula_of_the_decay():
    given = drawn(6)
    net = model(given, depth=1, half_lives=(2.0, 8.0))
    batch = tokens(given)
    x = net.embed_tokens(batch)
    _, layers = net.encode(x, batch.time, batch.keep, need=("weights",))
    attention = net.encoder.blocks[0].attention
    y = net.encoder.blocks[0].attention_norm(x)
    q, k = (layer(y).unflatten(-1, (2, 8)).transpose(1, 2) for layer in projections(attention))
    rate = torch.tensor([math.log(2) / 2.0, math.log(2) / 8.0])
    apart = (batch.time[:, :, None] - batch.time[:, None]).abs()
    logits = q @ k.transpose(-1, -2) / math.sqrt(8) - rate[:, None, None] * apart[:, None]
    allowed = (batch.time[:, None] <= batch.time[:, :, None]) & batch.keep[:, None] & batch.keep[:, :, None]
    expected = logits.masked_fill(~allowed[:, None], -torch.inf).softmax(-1).nan_to_num()
    assert torch.allclose(layers[0].weights, expected, atol=1e-5)


def projections(attention):
    """The layers that make queries and keys."""
    found = dict(attention.named_children())
    return found["q_proj"], found["k_proj"]


def test_half_lives_are_spread_and_learn():
    given = drawn(8)
    net = model(given, heads=4, half_lives=(1.0, 27.0))
    assert torch.allclose(net.half_lives, torch.tensor([[1.0, 3.0, 9.0, 27.0]] * 2))
    net.train()(tokens(given)).logits.sum().backward()
    assert all(bias.log_half.grad.abs().sum() > 0 for bias in net.decay)
    assert model(given, half_lives=None).half_lives is None
    assert not any("log_half" in name for name, _ in model(given, learn_half_lives=False).named_parameters())


def test_fusion():
    given = drawn(10)
    summary = torch.randn(10, 3, 3)
    for fusion in ("gate", "concat"):
        net = model(given, summaries=3, fusion=fusion)
        out = net(tokens(given), summary)
        assert out.logits.shape == out.events.shape == out.summary.shape == (10, 2)
        assert (out.gates is None) == (fusion == "concat")
        if out.gates is not None:
            assert isinstance(net.fuse, core.GatedFusion)
            assert ((out.gates > 0) & (out.gates < 1)).all()
        with pytest.raises(ValueError, match="summary"):
            net(tokens(given))
    alone = model(given)(tokens(given))
    assert alone.events is None and alone.summary is None


def test_samples_without_events_have_an_answer_and_gradients():
    given = samples([[], []], static=np.full((2, 1), NAN, dtype=np.float32), static_names=("age",))
    net = model(given).train()
    out = net(tokens(given)).logits
    out.sum().backward()
    assert torch.isfinite(out).all()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in net.parameters())


def test_dropped_codes_are_dropped_in_training_only():
    given = drawn(10)
    net = model(given, code_dropout=1.0 - 1e-9, dropout=0.0)
    batch = tokens(given)
    blank = net.embed_tokens(batch._replace(count=torch.zeros_like(batch.count)))
    assert torch.allclose(net.train().embed_tokens(batch), blank)
    assert not torch.allclose(net.eval().embed_tokens(batch), blank)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"embedding": "x"}, "embedding"),
        ({"backbone": "x"}, "backbone"),
        ({"pooling": "x"}, "pooling"),
        ({"fusion": "x"}, "fusion"),
        ({"half_lives": (2.0, 1.0)}, "half_lives"),
        ({"time_scales": (0.0, 1.0)}, "time_scales"),
        ({"half_lives": (1.0,)}, "half_lives"),
    ],
)
def test_refuses(options, name):
    with pytest.raises(ValueError, match=name):
        EventModel(3, 1, dim=8, heads=2, **options)


def test_a_gru_has_no_attention():
    given = drawn(3)
    net, batch = model(given, backbone="gru"), tokens(given)
    with pytest.raises(ValueError, match="no attention"):
        net.encode(net.embed_tokens(batch), batch.time, batch.keep, need=("weights",))


def test_gru_reads_over_gaps_as_torch_does_without():
    torch.manual_seed(0)
    encoder = GRUEncoder(4, 2, 5).eval()
    x = torch.randn(2, 6, 4)
    keep = torch.tensor([[True, False, True, True, False, True], [True] * 6])
    out = encoder(x, keep)
    plain = encoder.recurrent(x[:1, [0, 2, 3, 5]])[0]
    expected = encoder.norm(encoder.project(plain))
    assert torch.allclose(out[0, [0, 2, 3, 5]], expected[0], atol=1e-6)
    assert (out[0, [1, 4]] == 0).all()


@pytest.mark.parametrize(("dim", "depth", "wanted"), [(64, 2, 66_816), (32, 1, 12_000), (16, 3, 20_000)])
def test_gru_of_the_same_size(dim, depth, wanted):
    width = width_for(wanted, dim, depth)
    count = sum(p.numel() for p in GRUEncoder(dim, depth, width).parameters())
    assert abs(count / wanted - 1) < 0.03
    assert (
        count == 3 * width * (dim + width + 2) + (depth - 1) * 3 * width * (2 * width + 2) + (width + 1) * dim + 2 * dim
    )


def test_next_window_by_hand():
    given = samples([[(1.0, "a", 1.0), (3.0, "b", NAN), (5.0, "a", 2.0), (5.5, "a", 4.0), (9.5, "b", 3.0)]])
    tokenizer = Tokenizer("event")
    scores = tokenizer.fit(given)
    batch = tokenizer.encode(given, scores).batch(np.array([0]))
    z = {v: float(scores.score(np.array([v]), np.array([0]))[0]) for v in (2.0, 4.0)}
    found = next_window(batch, 4.5, 2)
    # tokens at 1, 3, 5, 5.5, 9.5 h and the query; windows (1, 5.5], (3, 7.5], (5, 9.5], (5.5, 10], (9.5, 14]
    assert found.valid[0].tolist() == [True, True, True, True, True, False]
    assert found.present[0].tolist() == [[1, 1], [1, 0], [1, 1], [0, 1], [0, 0], [0, 0]]
    assert (
        found.has_value[0].tolist() == [[True, False], [True, False], [True, True], [False, True]] + [[False] * 2] * 2
    )
    assert found.score[0, :3, 0].tolist() == pytest.approx([(z[2.0] + z[4.0]) / 2, (z[2.0] + z[4.0]) / 2, z[4.0]])


def test_no_window_holds_what_its_token_knows():
    given = drawn(60, longest=30)
    batch = tokens(given)
    found = next_window(batch, 6.0, 3)
    changed = batch._replace(event_score=batch.event_score + 1.0)  # values of all events
    for item in range(60):
        for column in batch.keep[item].nonzero()[:-1, 0].tolist():
            known = batch.event_time <= batch.time[item, column]
            past = changed._replace(event_score=torch.where(known, changed.event_score, batch.event_score))
            if item < 5:
                assert torch.equal(next_window(past, 6.0, 3).score[item, column], found.score[item, column])
    assert found.present.sum() > 50


def test_forecast_is_the_loss_of_its_formula_and_learns():
    given = drawn(40, longest=30)
    net = model(given, dropout=0.0)
    forecast = Forecast(16, 3, 6.0)
    batch = tokens(given)
    loss, size = forecast(net, batch)
    target = next_window(batch, 6.0, 3)
    states, _ = net.encode(net.embed_tokens(batch), batch.time, batch.keep)
    score, present = forecast.head(states).chunk(2, -1)
    squares, crosses = [], []
    for place in target.valid.nonzero().tolist():
        b, t = place
        for c in range(3):
            p = float(present[b, t, c].detach().sigmoid())
            crosses.append(-math.log(p if target.present[b, t, c] else 1 - p))
            if target.has_value[b, t, c]:
                squares.append(float(score[b, t, c].detach() - target.score[b, t, c]) ** 2)
    assert size == int(target.valid.sum())
    assert float(loss.detach()) == pytest.approx(np.mean(squares) + np.mean(crosses), rel=1e-4)
    optimizer = torch.optim.Adam([*net.parameters(), *forecast.parameters()], lr=0.01)
    for _ in range(15):
        optimizer.zero_grad()
        now, _ = forecast(net, batch)
        now.backward()
        optimizer.step()
    assert float(now.detach()) < 0.8 * float(loss.detach())


def test_nothing_to_forecast():
    given = samples([[(10.0, "a", 1.0)], []])
    loss, size = Forecast(16, 2, 6.0)(model(given), tokens(given))
    assert size == 0 and float(loss.detach()) == 0.0
    loss.backward()
    with pytest.raises(ValueError, match="hours"):
        Forecast(4, 2, 0.0)
