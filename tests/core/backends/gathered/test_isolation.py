"""Attention over listed pairs leaks nothing between them."""

import pytest
import torch

import core
from core import biases, masks, scores

from ...cases import Sizes
from .listed import answers


@pytest.mark.parametrize("what", ["q", "k", "v", "bias"])
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("score", [scores.Dot(), scores.Gaussian()])
@pytest.mark.parametrize("by_head", [False, True])
def test_what_is_not_finite_reaches_only_those_that_list_it(what, bad, score, by_head):
    """Every answer and every gradient as the reference has it, and the rows that do not see it as in a finite world."""
    s = Sizes(2, 2, 6, 6, seed=3)
    edges = s.integers(0, 6, 2, 12)
    mask = masks.Edges(edges, head=s.integers(0, 2, 12) if by_head else None) & masks.Padding(torch.tensor([6, 5]))
    q, k, v, bias = s.normal(2, 2, 6, 3), s.normal(2, 1, 6, 3), s.normal(2, 1, 6, 2), s.normal(1, 2, 6, 6)
    temperature = torch.tensor([0.5, 2.0], dtype=torch.float64, requires_grad=True)
    rows = torch.zeros(2, 2, 6, dtype=torch.bool)  # those that see it
    allowed = mask.materialize(2, 2, 6, 6).expand(2, 2, 6, 6)
    target = {"q": q, "k": k, "v": v, "bias": bias}[what].clone()
    if what == "bias":
        place = (0, 1, 2, int(edges[0, edges[1] == 2][0]))
        target[place] = bad
        if bad != -torch.inf:
            rows[:, 1, 2] = allowed[:, 1, 2, place[3]]
    elif what == "q":
        target[0, 1, 2, 0] = bad
        rows[0, 1, 2] = allowed[0, 1, 2].any()
    else:
        target[0, 0, 4, 1] = bad
        rows[0] = allowed[0, :, :, 4]
    spoiled = {"q": q, "k": k, "v": v, "bias": bias, what: target}
    results = []
    for backend in ("reference", "gathered"):
        got = answers(
            backend,
            [spoiled[n] for n in "qkv"],
            [spoiled["bias"]],
            biases.Dense,
            ("lse", "entropy", "pair_weights"),
            mask=mask,
            score=score,
            temperature=temperature,
        )
        results.append(got)
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10, equal_nan=True)
    out = results[1][0]
    assert torch.equal(out.isnan().any(-1), rows)
    if not (what == "bias" and bad == -torch.inf):
        clean = core.attend(
            q, k, v, mask=mask, bias=biases.Dense(bias), score=score, temperature=temperature, backend="gathered"
        )
        torch.testing.assert_close(out[~rows], clean[~rows], rtol=1e-12, atol=1e-12)


def test_dead_rows_answer_zero_whatever_flows_back():
    x = torch.randn(1, 2, 4, 3, dtype=torch.float64, requires_grad=True)
    mask = masks.Edges(torch.tensor([[0, 1], [1, 1]]), head=torch.tensor([0, 0]))
    got = core.attend(x, x, x, mask=mask, need=("lse", "entropy", "pair_weights"), backend="gathered")
    alive = torch.tensor([[[False, True, False, False], [False] * 4]])
    assert (got.out[~alive] == 0).all()
    assert (got.entropy[~alive] == 0).all()
    assert (got.lse[~alive] == -torch.inf).all()
    assert (got.pair_weights[0, 1] == 0).all()
    spoiled = torch.where(alive, 1.0, torch.nan).double()
    (gradient,) = torch.autograd.grad((got.out, got.lse, got.entropy), x, (torch.ones_like(got.out), spoiled, spoiled))
    assert gradient.isfinite().all()
    assert (gradient[0, 1] == 0).all()
