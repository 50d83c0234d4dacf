"""Masks and biases that define their one method and nothing else: right on every backend that serves them."""

import pytest
import torch
from torch import Tensor

import core
from core import biases, masks
from core.backends import BACKENDS
from core.symbols import Pairs, blocks, node

from ..cases import Sizes

SERVING = [name for name in BACKENDS if name != "flex"]  # which serves on CUDA alone
SIZES = Sizes(B=2, H=2, Lq=9, Lk=11, seed=3)


@node
class Even(masks.Mask):
    """allowed(i, j) = j is even."""

    def block(self, part):
        return (part.col_positions() % 2 == 0).expand(1, 1, part.n_rows, part.n_cols)


@node
class Slope(biases.Bias):
    """bias(b, h, i, j) = -rate[h] * (j - i)^2 * (b + 1)."""

    rate: Tensor

    def block(self, part):
        items = torch.arange(part.items.start, part.items.stop, device=part.device)[:, None, None, None] + 1.0
        return -self.rate[:, None, None] * part.offsets().square() * items


def listed():
    """Edges that give each query several keys, of each parity, and in which the heads differ."""
    generator = torch.Generator().manual_seed(5)
    key, query = torch.randint(0, 11, (60,), generator=generator), torch.randint(0, 9, (60,), generator=generator)
    return masks.Edges(torch.stack([key, query]), head=torch.arange(60) % 2)


def problem():
    q, k = SIZES.normal(2, 2, 9, 4).float(), SIZES.normal(2, 2, 11, 4).float()
    rate = torch.tensor([0.02, 0.3])
    return [x.clone().requires_grad_() for x in (q, k, k, rate)]


def band():
    return masks.Window(3, 2) | masks.Global(torch.tensor([5]))


@pytest.mark.parametrize("backend", SERVING)
@pytest.mark.parametrize("pattern", [listed, band])
def test_one_method_is_enough(backend, pattern):
    inputs = problem()
    q, k, v, rate = inputs
    arguments = {"mask": Even() & pattern(), "bias": Slope(rate)}
    reasons = {c.backend: c.reasons for c in core.plan(q, k, v, **arguments).candidates}
    if reasons[backend]:
        with pytest.raises(ValueError, match="which cannot: the mask"):
            core.attend(q, k, v, **arguments, backend=backend)
        return
    answers = []
    for name in ("reference", backend):
        out = core.attend(q, k, v, **arguments, backend=name)
        answers.append([out, *torch.autograd.grad(out.square().sum(), inputs)])
    for expected, got in zip(*answers, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5 * float(expected.detach().abs().max()))


def test_gathered_and_banded_serve_them():
    q, k, v, rate = problem()
    for pattern, backend in ((listed(), "gathered"), (band(), "banded")):
        arguments = {"mask": Even() & pattern, "bias": Slope(rate), "backend": backend}
        assert core.plan(q, k, v, **arguments).backend == backend


def test_pair_weights_are_those_of_the_reference():
    q, k, v, rate = problem()
    arguments = {"mask": Even() & listed(), "bias": Slope(rate), "need": ("pair_weights",)}
    got, expected = (core.attend(q, k, v, backend=name, **arguments) for name in ("gathered", "reference"))
    torch.testing.assert_close(got.pair_weights, expected.pair_weights)


def test_what_goes_over_all_pairs_is_counted():
    """Of the 9 x 11 pairs of each of 2 items, for the mask and for the bias, beside the listed pairs of 2 heads."""
    q, k, v, rate = problem()

    def cells(mask, bias):
        return next(
            c.cost.cells for c in core.plan(q, k, v, mask=mask, bias=bias).candidates if c.backend == "gathered"
        )

    alone = cells(listed(), None)
    assert alone == 60 * 2 * 2
    assert cells(listed() & Even(), None) == alone + 2 * 9 * 11
    assert cells(listed() & Even(), Slope(rate)) == alone + 2 * (2 * 9 * 11)
    assert cells(listed() & masks.Causal(), biases.Alibi(1.0)) == alone


@pytest.mark.parametrize("most", [1, 25, 1 << 21])
def test_pairs_are_picked_out_of_blocks(monkeypatch, most):
    """In any order and shape, whatever the blocks; here of one row, of some rows, and of several items."""
    monkeypatch.setattr(blocks, "CELLS", most)
    rate = torch.tensor([0.5, 0.25], requires_grad=True)
    item, query, key = torch.tensor([[1], [0]]), torch.tensor([[2, 0, 8]]), torch.tensor([[4, 4, 10]])
    pairs = Pairs.at(2, 2, 9, 11, item, query, key)
    got = Slope(rate).at(pairs)
    squares = torch.tensor([[0.0, 4.0, 0.0]])  # the query i stands at i + 2
    expected = -torch.tensor([0.5, 0.25])[:, None, None] * squares * torch.tensor([[2.0], [1.0]])
    torch.testing.assert_close(got, expected)
    (gradient,) = torch.autograd.grad(got.sum(), rate)
    assert gradient.tolist() == [-12.0, -12.0]
    assert Even().at(pairs).tolist() == [[[True, True, True]] * 2]


def test_no_pairs_are_picked_out_of_nothing():
    empty = torch.zeros(0, dtype=torch.int64)
    assert Even().at(Pairs.at(0, 2, 9, 11, empty, empty, empty)).shape == (1, 0)
    assert Slope(torch.ones(2)).at(Pairs.at(2, 2, 9, 11, empty, empty, empty)).shape == (1, 0)


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        (("_block",), r"Odd: expected a method block\(part\), got _block"),
        (("block", "_at"), r"Odd: expected a method at\(pairs\), got _at"),
        (("block", "_validate"), r"Odd: expected a method check_sizes\(B, H, Lq, Lk\), got _validate"),
        ((), r"Odd: expected a method block\(part\), got none"),
    ],
)
@pytest.mark.parametrize("base", [masks.Mask, biases.Bias])
def test_what_is_missing_is_said_where_the_class_is_made(base, methods, message):
    with pytest.raises(TypeError, match=message):
        node(type("Odd", (base,), dict.fromkeys(methods, lambda self, *arguments: None)))
