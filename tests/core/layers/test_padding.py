"""What stands in the padding changes nothing; padded and masked equals unpadded; padded rows are exactly 0."""

import pytest
import torch
from torch import Tensor, nn

from core import masks
from core.layers.padding import fences, valid_rows, with_queries, zero_rows

from .padding_cases import CASES, DIM, FILL_ONLY, Batch, Case

LENGTH, LENGTH_Y = 6, 5
LENGTHS, LENGTHS_Y = [6, 4, 1, 0], [3, 5, 1, 2]


def make_batch(keep: Tensor, keep_y: Tensor, fill: float, dtype: torch.dtype) -> Batch:
    generator = torch.Generator().manual_seed(0)
    batch = keep.shape[0]
    x = torch.randn(batch, LENGTH, DIM, generator=generator, dtype=torch.float64).to(dtype)
    y = torch.randn(batch, LENGTH_Y, DIM, generator=generator, dtype=torch.float64).to(dtype)
    times = (torch.rand(batch, LENGTH, generator=generator, dtype=torch.float64) * 10).to(dtype)
    x = x.masked_fill(~keep[..., None], fill).requires_grad_()
    y = y.masked_fill(~keep_y[..., None], fill).requires_grad_()
    return Batch(x, y, times.masked_fill(~keep, fill), keep, keep_y)


def make_module(case: Case, dtype: torch.dtype) -> nn.Module:
    torch.manual_seed(1)
    module = case.make().to(dtype)
    with torch.no_grad():  # no zero biases: they would hide a missing fence
        for parameter in module.parameters():
            parameter.add_(torch.randn(parameter.shape, dtype=torch.float64).to(dtype) * 0.3)
    return module


def loss_of(out: Tensor) -> Tensor:
    weights = torch.cos(torch.arange(out.shape[-1], dtype=out.dtype))
    return (out * weights).sum() + out.square().sum() / 2


def measure(case: Case, module: nn.Module, batch: Batch) -> list[Tensor]:
    """Output, loss, and the gradients of both inputs and of every parameter."""
    module.zero_grad()
    out = case.run(module, batch)
    loss = loss_of(out)
    loss.backward()
    inputs = [torch.zeros_like(z) if z.grad is None else z.grad for z in (batch.x, batch.y)]
    return [out.detach(), loss.detach(), *inputs, *[p.grad for p in module.parameters()]]


def rows_of(lengths: list[int], length: int) -> Tensor:
    return torch.arange(length) < torch.tensor(lengths)[:, None]


KEEPS = {
    "lengths": (rows_of(LENGTHS, LENGTH), rows_of(LENGTHS_Y, LENGTH_Y)),
    "holes": (
        torch.tensor([[0, 1, 1, 0, 1, 0], [1, 0, 0, 1, 1, 1], [0, 0, 0, 0, 0, 1]]).bool(),
        torch.tensor([[0, 1, 1, 0, 1], [0, 0, 0, 0, 0], [1, 1, 0, 0, 1]]).bool(),
    ),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("keeps", KEEPS)
@pytest.mark.parametrize("name", [*CASES, *FILL_ONLY])
def test_padding_changes_nothing(name, keeps, dtype):
    case = (CASES | FILL_ONLY)[name]
    module = make_module(case, dtype)
    expected = measure(case, module, make_batch(*KEEPS[keeps], 0.0, dtype))
    assert all(torch.isfinite(tensor).all() for tensor in expected)
    for fill in (torch.nan, torch.inf, -torch.inf, 3e4):
        got = measure(case, module, make_batch(*KEEPS[keeps], fill, dtype))
        for one, other in zip(got, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=0)


@pytest.mark.parametrize("keeps", KEEPS)
@pytest.mark.parametrize("name", [name for name, case in (CASES | FILL_ONLY).items() if case.rows])
def test_padded_rows_are_zero_and_have_no_gradient(name, keeps):
    case = (CASES | FILL_ONLY)[name]
    keep, keep_y = KEEPS[keeps]
    out, _, grad_x, grad_y, *_ = measure(
        case, make_module(case, torch.float64), make_batch(keep, keep_y, torch.nan, torch.float64)
    )
    assert (out[~keep] == 0).all()
    assert (out[keep] != 0).any()
    assert (grad_x[~keep] == 0).all()
    assert (grad_y[~keep_y] == 0).all()


@pytest.mark.parametrize("name", CASES)
def test_padded_and_masked_equals_unpadded(name):
    case = CASES[name]
    module = make_module(case, torch.float64)
    batch = make_batch(*KEEPS["lengths"], torch.nan, torch.float64)
    out, loss, grad_x, grad_y, *grads = measure(case, module, batch)

    losses, sums = torch.zeros((), dtype=torch.float64), [torch.zeros_like(grad) for grad in grads]
    for item, (length, length_y) in enumerate(zip(LENGTHS, LENGTHS_Y, strict=True)):
        if length == 0:
            assert (out[item] == 0).all()
            continue
        alone = Batch(
            batch.x[item : item + 1, :length].detach().requires_grad_(),
            batch.y[item : item + 1, :length_y].detach().requires_grad_(),
            batch.times[item : item + 1, :length],
            None,
            None,
        )
        one = measure(case, module, alone)
        expected = one[0][0]
        torch.testing.assert_close(out[item][:length] if case.rows else out[item], expected, rtol=0, atol=1e-12)
        torch.testing.assert_close(grad_x[item, :length], one[2][0], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(grad_y[item, :length_y], one[3][0], rtol=1e-12, atol=1e-12)
        losses = losses + one[1]
        sums = [total + grad for total, grad in zip(sums, one[4:], strict=True)]
    torch.testing.assert_close(loss, losses, rtol=1e-12, atol=1e-12)
    for grad, total in zip(grads, sums, strict=True):
        torch.testing.assert_close(grad, total, rtol=1e-12, atol=1e-12)


def test_zero_rows_selects():
    x = torch.tensor([[[1.0], [torch.nan]]], requires_grad=True)
    out = zero_rows(x, torch.tensor([[True, False]]))
    assert out.tolist() == [[[1.0], [0.0]]]
    (out * torch.tensor([[[2.0], [torch.nan]]])).nansum().backward()
    assert x.grad.tolist() == [[[2.0], [0.0]]]
    assert zero_rows(x, None) is x


def test_self_attention_completes_the_padding_on_both_sides():
    x = torch.zeros(2, 4, 3)
    lengths = torch.tensor([4, 2])
    fence = fences(masks.Causal() & masks.Padding(lengths), x, x)
    pattern, padding = masks.split(fence.mask)
    assert isinstance(pattern, masks.Causal)
    assert padding.keys is lengths and padding.queries is lengths
    assert fence.queries is fence.keys
    assert fence.keys.tolist() == [[True] * 4, [True, True, False, False]]


def test_cross_attention_leaves_the_queries_as_they_are():
    x, y = torch.zeros(2, 4, 3), torch.zeros(2, 5, 3)
    padding = masks.Padding(torch.tensor([5, 1]))
    assert fences(padding, x, y).queries is None
    assert fences(padding, x, y).mask is padding
    assert fences(None, x, y) == (None, None, None)
    causal = masks.Causal()
    assert fences(causal, x, x) == (causal, None, None)


def test_explicit_queries_are_kept():
    x = torch.zeros(1, 3, 2)
    keys, queries = torch.tensor([[True, True, False]]), torch.tensor([[False, True, True]])
    fence = fences(masks.Padding(keys, queries=queries), x, x)
    assert torch.equal(fence.keys, keys) and torch.equal(fence.queries, queries)
    assert with_queries(masks.Padding(keys, queries=queries), keys, x).queries is queries


def test_with_queries_builds_the_mask_of_cross_attention():
    keep, y = torch.tensor([[True, False]]), torch.zeros(1, 3, 2)
    assert with_queries(None, None, y) is None
    alone = with_queries(None, keep, y)
    assert alone.materialize(1, 1, 2, 3)[0, 0].tolist() == [[True] * 3, [False] * 3]
    joined = with_queries(masks.Window(1, 1) & masks.Padding(torch.tensor([2])), keep, y)
    assert joined.materialize(1, 1, 2, 3)[0, 0].tolist() == [[True, True, False], [False] * 3]


def test_valid_rows_takes_padding_alone():
    x = torch.zeros(2, 3, 1)
    assert valid_rows(None, x) is None
    assert valid_rows(masks.Padding(torch.tensor([1, 3])), x).sum().item() == 4
    with pytest.raises(ValueError, match=r"mask: expected masks\.Padding alone.*Causal"):
        valid_rows(masks.Causal() & masks.Padding(torch.tensor([1, 3])), x)


def test_padding_of_another_size_is_named():
    x = torch.zeros(2, 3, 1)
    with pytest.raises(ValueError, match=r"mask: expected Padding\(keys\).*\(2, 3\).*\(3, 3\)"):
        fences(masks.Padding(torch.tensor([1, 2, 3])), x, x)
    with pytest.raises(ValueError, match=r"\(2, 3\).*\(2, 4\)"):
        valid_rows(masks.Padding(torch.ones(2, 4, dtype=torch.bool)), x)
