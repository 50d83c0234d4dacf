"""GatedFusion: the equation, missing sources, padding, and gates that follow the informative source."""

import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

from core import masks
from core.fusion import FusionOutput, GatedFusion


def scrambled(*args, **options):
    torch.manual_seed(0)
    fusion = GatedFusion(*args, **options).double()
    for parameter in fusion.parameters():
        nn.init.normal_(parameter)
    return fusion


def sources(count, shape=(4, 3, 5)):
    return [torch.randn(shape, dtype=torch.float64) for _ in range(count)]


@pytest.mark.parametrize("shape", [(4, 5), (4, 3, 5), (2, 2, 3, 5)])
@pytest.mark.parametrize("per", ["feature", "token"])
def test_two_sources_follow_the_equation(per, shape):
    fusion = scrambled(5, per=per)
    a, b = sources(2, shape)
    g = torch.sigmoid(torch.cat([a, b], -1) @ fusion.gate.weight.T + fusion.gate.bias)
    answer = fusion(a, b, need=("gates",))
    assert isinstance(answer, FusionOutput)
    torch.testing.assert_close(answer.out, g * a + (1 - g) * b, rtol=0, atol=1e-12)
    torch.testing.assert_close(answer.gates, torch.stack([g, 1 - g], -2), rtol=0, atol=1e-12)
    assert answer.gates.shape == (*shape[:-1], 2, 5 if per == "feature" else 1)
    torch.testing.assert_close(fusion(a, b), answer.out, rtol=0, atol=0)


@pytest.mark.parametrize("per", ["feature", "token"])
def test_three_sources_follow_the_equation(per):
    fusion = scrambled(5, 3, per=per)
    given = sources(3)
    logits = torch.cat(given, -1) @ fusion.gate.weight.T + fusion.gate.bias
    g = logits.reshape(4, 3, 3, -1).softmax(-2)
    answer = fusion(*given, need=("gates",))
    torch.testing.assert_close(answer.out, sum(g[:, :, s] * given[s] for s in range(3)), rtol=0, atol=1e-12)
    torch.testing.assert_close(answer.gates.sum(-2), torch.ones_like(answer.gates[..., 0, :]))


def test_sources_of_other_widths_are_projected():
    fusion = scrambled(5, 3, source_dims=(5, 2, 7))
    a, b, c = torch.randn(4, 5).double(), torch.randn(4, 2).double(), torch.randn(4, 7).double()
    expected = fusion(a, b, c, need=("gates",))
    same = GatedFusion(5, 3).double()
    same.gate = fusion.gate
    torch.testing.assert_close(same(a, fusion.project[1](b), fusion.project[2](c)), expected.out, rtol=0, atol=1e-12)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_a_missing_source_has_gate_zero_and_changes_nothing(count):
    fusion = scrambled(5, count)
    present = torch.ones(4, count, dtype=torch.bool)
    present[0, 0] = present[1, 1] = present[2, :-1] = present[3, :] = False

    def run(fill):
        fusion.zero_grad()
        torch.manual_seed(1)
        given = [s.masked_fill(~present[:, i, None, None], fill).requires_grad_() for i, s in enumerate(sources(count))]
        out, gates = fusion(*given, present=present, need=("gates",))
        (out.square().sum() + gates.square().sum()).backward()
        return [out, gates, *[s.grad for s in given], *[p.grad for p in fusion.parameters()]]

    expected = run(0.0)
    out, gates, *grads = expected
    assert all(torch.isfinite(tensor).all() for tensor in expected)
    for fill in (torch.nan, torch.inf, 1e30):
        for one, other in zip(run(fill), expected, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert (gates.movedim(2, 1)[~present] == 0).all()
    total = present.any(1).double()[:, None, None].expand(4, 3, 5)
    torch.testing.assert_close(gates.sum(-2), total, rtol=0, atol=1e-12)
    assert (gates[2, :, -1] == 1).all()  # the only one left has gate exactly 1
    assert (out[3] == 0).all()
    for source in range(count):
        assert (grads[source][~present[:, source]] == 0).all()


def test_the_others_are_renormalised():
    """Gates without a source are those of the softmax over the rest, its input counted as 0."""
    fusion = scrambled(5, 3)
    a, b, c = sources(3)
    answer = fusion(a, None, c, need=("gates",))
    logits = (torch.cat([a, torch.zeros_like(b), c], -1) @ fusion.gate.weight.T + fusion.gate.bias).reshape(4, 3, 3, 5)
    two = logits[:, :, [0, 2]].softmax(-2)
    torch.testing.assert_close(answer.gates[:, :, [0, 2]], two, rtol=0, atol=1e-12)
    everywhere = torch.tensor([[True, False, True]] * 4)
    torch.testing.assert_close(fusion(a, b, c, present=everywhere), answer.out, rtol=0, atol=0)
    columns = [None, torch.zeros(4, dtype=torch.bool), None]
    torch.testing.assert_close(fusion(a, b, c, present=columns), answer.out, rtol=0, atol=0)


def test_one_source_of_two_is_passed_through():
    fusion = scrambled(5)
    (a,) = sources(1)
    assert torch.equal(fusion(a, None), a)
    assert torch.equal(fusion(None, a), a)


def test_learned_row_where_everything_is_missing():
    fusion = scrambled(5, learn_missing=True)
    a, b = sources(2)
    present = torch.tensor([[True, True], [False, False], [True, False], [False, True]])
    out = fusion(a, b, present=present)
    assert torch.equal(out[1], fusion.missing.expand(3, 5))
    out[1].sum().backward()
    assert fusion.missing.grad.tolist() == [3.0] * 5 and fusion.gate.weight.grad.count_nonzero() == 0


def test_padded_rows_are_zero_in_gates_too():
    fusion = scrambled(5, learn_missing=True)
    a, b = sources(2)
    a[:, 2:] = torch.nan
    answer = fusion(a, b, mask=masks.Padding(torch.tensor([2, 2, 1, 0])), need=("gates",))
    keep = torch.arange(3) < torch.tensor([2, 2, 1, 0])[:, None]
    assert (answer.out[~keep] == 0).all() and (answer.gates[~keep] == 0).all()
    torch.testing.assert_close(answer.out[keep], fusion(a[:, :2], b[:, :2])[keep[:, :2]], rtol=0, atol=1e-12)


def test_gradcheck_with_missing_sources():
    fusion = scrambled(3, 3)
    present = torch.tensor([[True, True, False], [True, False, False], [False, False, False]])
    given = [s.requires_grad_() for s in sources(3, (3, 3))]
    assert torch.autograd.gradcheck(lambda *s: fusion(*s, present=present), given)


def test_empty_batch():
    assert GatedFusion(5)(torch.zeros(0, 3, 5), torch.zeros(0, 3, 5)).shape == (0, 3, 5)


def test_autocast():
    fusion = GatedFusion(5, 3)
    given = [s.float() for s in sources(3)]
    with torch.autocast("cpu", torch.bfloat16):
        out = fusion(*given, present=torch.tensor([[True, False, True]] * 4))
    torch.testing.assert_close(out.float(), fusion(given[0], None, given[2]), rtol=0, atol=0.05)


@pytest.mark.parametrize("per", ["feature", "token"])
@pytest.mark.parametrize("count", [2, 3])
def test_the_gate_follows_the_informative_source(count, per):
    """Planted: one source of each item carries the signal, the others noise of its size; a flag feature tells which.

    The flag says which source is right and nothing about the target, so only a gate can use it.
    """
    torch.manual_seed(0)
    features, items = 6, 768

    def draw():
        informative = torch.randint(count, (items,))
        signal = torch.randn(items, 1)
        given = []
        for source in range(count):
            right = (informative == source)[:, None]
            content = torch.where(right, signal, torch.randn(items, 1)).repeat(1, features - 1)
            given.append(torch.cat([content, right.float() + 0.3 * torch.randn(items, 1)], 1))
        return given, signal, informative

    model = nn.ModuleDict({"fusion": GatedFusion(features, count, per=per), "head": nn.Linear(features, 1)})
    optimiser = torch.optim.Adam(model.parameters(), lr=0.03)
    given, signal, _ = draw()
    for _ in range(120):
        optimiser.zero_grad()
        (model["head"](model["fusion"](*given)) - signal).square().mean().backward()
        optimiser.step()
    given, signal, informative = draw()
    with torch.no_grad():
        gates = model["fusion"](*given, need=("gates",)).gates
    used = gates[..., :-1] if per == "feature" else gates
    for source in range(count):
        assert roc_auc_score((informative == source).numpy(), used[:, source].mean(-1).numpy()) > 0.95


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: GatedFusion(5, 1), "sources: expected at least 2, got 1"),
        (lambda: GatedFusion(5, per="row"), "per: expected 'feature' or 'token', got 'row'"),
        (lambda: GatedFusion(5, 3, source_dims=(5, 5)), "source_dims: expected one for each of 3 sources, got 2"),
        (lambda: GatedFusion(5)(torch.zeros(2, 5)), "sources: expected 2, got 1"),
        (lambda: GatedFusion(5)(None, None), "sources: expected at least one tensor, got None for every one"),
        (
            lambda: GatedFusion(5)(torch.zeros(2, 5), torch.zeros(3, 5)),
            r"sources: expected \(2, 5\) for number 1, got \(3, 5\)",
        ),
        (
            lambda: GatedFusion(5)(*[torch.zeros(2, 5)] * 2, present=torch.ones(2, 3).bool()),
            r"present: expected \(2, 2\) bool, got \(2, 3\)",
        ),
        (
            lambda: GatedFusion(5)(*[torch.zeros(2, 5)] * 2, present=[torch.ones(2), None]),
            r"present: expected \(2,\) bool, got \(2,\) torch.float32",
        ),
        (lambda: GatedFusion(5)(*[torch.zeros(2, 5)] * 2, need=("weights",)), "need: expected 'gates' or nothing"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
