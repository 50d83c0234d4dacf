"""HybridBlock and LocalConvolution: a sum written out, composition by hand, padding, causality, checkpointing."""

import copy

import pytest
import torch
from torch import nn

from core import AttentionOutput, biases, masks
from core.layers import MLP, HybridBlock, LocalConvolution, MultiheadAttention, Rotary

from .padding_cases import DIM, HEADS, Case, both
from .test_padding import KEEPS, LENGTHS, make_batch, make_module, measure

CASES = {
    "convolution": Case(lambda: LocalConvolution(DIM, 3), lambda m, b: m(b.x, mask=b.padding)),
    "convolution wider than the sequence": Case(lambda: LocalConvolution(DIM, 15), lambda m, b: m(b.x, mask=b.padding)),
    "convolution causal, even": Case(
        lambda: LocalConvolution(DIM, 4, causal=True), lambda m, b: m(b.x, mask=b.padding)
    ),
    "hybrid": Case(lambda: HybridBlock(DIM, HEADS, 5), lambda m, b: m(b.x, mask=b.padding)),
    "hybrid checkpoint, scaled": Case(
        lambda: HybridBlock(DIM, HEADS, 3, checkpoint=True, layer_scale=0.5), lambda m, b: m(b.x, mask=b.padding)
    ),
    "hybrid causal": Case(
        lambda: HybridBlock(DIM, HEADS, 4, causal=True), lambda m, b: m(b.x, mask=both(masks.Causal(), b.padding))
    ),
    "hybrid rotary, biased": Case(
        lambda: HybridBlock(DIM, HEADS, 3, rotary=Rotary(DIM // HEADS), kv_heads=1),
        lambda m, b: m(b.x, mask=b.padding, positions=b.times, bias=biases.Alibi(torch.tensor([0.5, 0.1]))),
    ),
    "hybrid need": Case(lambda: HybridBlock(DIM, HEADS, 3), lambda m, b: m(b.x, mask=b.padding, need=("entropy",)).out),
    "convolution alone": Case(lambda: HybridBlock(DIM, None, 3), lambda m, b: m(b.x, mask=b.padding)),
    "attention alone": Case(lambda: HybridBlock(DIM, HEADS, None), lambda m, b: m(b.x, mask=b.padding)),
}


@pytest.mark.parametrize("keeps", KEEPS)
@pytest.mark.parametrize("name", CASES)
def test_what_stands_in_the_padding_changes_nothing(name, keeps):
    case = CASES[name]
    module = make_module(case, torch.float64)
    keep = KEEPS[keeps][0]
    expected = measure(case, module, make_batch(*KEEPS[keeps], 0.0, torch.float64))
    assert (expected[0][~keep] == 0).all() and (expected[0][keep] != 0).any()
    for fill in (torch.nan, torch.inf, 3e4):
        got = measure(case, module, make_batch(*KEEPS[keeps], fill, torch.float64))
        for one, other in zip(got, expected, strict=True):
            assert torch.equal(one, other)


@pytest.mark.parametrize("name", CASES)
def test_padded_and_masked_equals_unpadded(name):
    case = CASES[name]
    module = make_module(case, torch.float64)
    batch = make_batch(*KEEPS["lengths"], torch.nan, torch.float64)
    out, loss, grad_x, _, *grads = measure(case, module, batch)
    total, sums = torch.zeros((), dtype=torch.float64), [torch.zeros_like(grad) for grad in grads]
    for item, length in enumerate(LENGTHS):
        if length == 0:
            assert (out[item] == 0).all()
            continue
        x = batch.x[item : item + 1, :length].detach().requires_grad_()
        alone = batch._replace(x=x, times=batch.times[item : item + 1, :length], keep=None)
        one = measure(case, module, alone)
        torch.testing.assert_close(out[item, :length], one[0][0], rtol=0, atol=1e-12)
        torch.testing.assert_close(grad_x[item, :length], one[2][0], rtol=1e-12, atol=1e-12)
        total = total + one[1]
        sums = [a + b for a, b in zip(sums, one[4:], strict=True)]
    torch.testing.assert_close(loss, total, rtol=1e-12, atol=1e-12)
    for grad, expected in zip(grads, sums, strict=True):
        torch.testing.assert_close(grad, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("kernel_size", "causal"), [(3, False), (9, False), (4, True), (1, False)])
def test_convolution_is_the_sum_in_its_docstring(kernel_size, causal):
    torch.manual_seed(0)
    layer = LocalConvolution(4, kernel_size, causal=causal).double()
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.5)
    x = torch.randn(2, 6, 4, dtype=torch.float64)
    joint = x @ layer.expand.weight.T + layer.expand.bias
    g = joint[..., :4] * torch.sigmoid(joint[..., 4:])
    h = torch.zeros_like(x)
    shift = kernel_size - 1 if causal else (kernel_size - 1) // 2
    for b, i, j in torch.cartesian_prod(torch.arange(2), torch.arange(6), torch.arange(4)).tolist():
        places = [(k, i + k - shift) for k in range(kernel_size) if 0 <= i + k - shift < 6]
        h[b, i, j] = layer.depthwise.bias[j] + sum(layer.depthwise.weight[j, 0, k] * g[b, p, j] for k, p in places)
    normed = (h - h.mean(-1, keepdim=True)) / (h.var(-1, correction=0, keepdim=True) + 1e-5).sqrt()
    normed = normed * layer.norm.weight + layer.norm.bias
    expected = (normed * torch.sigmoid(normed)) @ layer.contract.weight.T + layer.contract.bias
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-12)


def test_block_is_its_branches_in_turn():
    torch.manual_seed(0)
    block = HybridBlock(8, 2, 3, layer_scale=0.5).double()
    for scale in (block.first_scale, block.attention_scale, block.convolution_scale, block.second_scale):
        nn.init.normal_(scale.gamma)
    x = torch.randn(2, 5, 8, dtype=torch.float64)
    assert isinstance(block.first_mlp, MLP) and isinstance(block.attention, MultiheadAttention)
    y = x + 0.5 * block.first_mlp(block.first_norm(x)) * block.first_scale.gamma
    y = y + block.attention(block.attention_norm(y), mask=masks.Window(2, 1)) * block.attention_scale.gamma
    y = y + block.convolution(block.convolution_norm(y)) * block.convolution_scale.gamma
    y = y + 0.5 * block.second_mlp(block.second_norm(y)) * block.second_scale.gamma
    expected = nn.functional.layer_norm(y, (8,))
    torch.testing.assert_close(block(x, mask=masks.Window(2, 1)), expected, rtol=0, atol=1e-12)


def test_gradients_against_differences():
    torch.manual_seed(0)
    block = HybridBlock(4, 2, 3, causal=True, mlp_ratio=1.0).double()
    mask = masks.Causal() & masks.Padding(torch.tensor([4, 2]))
    x = torch.randn(2, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z: block(z, mask=mask), (x,))


def test_the_two_halves_see_what_they_should():
    """Token 6 of 13 sees 2 each side by a convolution of 5, everyone by attention; a causal block no later token."""
    torch.manual_seed(0)

    def seen(block, mask=None):
        x = torch.randn(1, 13, 8, requires_grad=True)
        block(x, mask=mask)[0, 6].square().sum().backward()
        return x.grad[0].abs().sum(-1).nonzero()[:, 0].tolist()

    assert seen(HybridBlock(8, None, 5)) == [4, 5, 6, 7, 8]
    assert seen(HybridBlock(8, None, 3, causal=True)) == [4, 5, 6]
    assert seen(HybridBlock(8, 2, None)) == list(range(13))
    assert seen(HybridBlock(8, 2, 5, causal=True), masks.Causal()) == list(range(7))
    assert seen(HybridBlock(8, 2, 5), masks.Window(1, 1)) == [3, 4, 5, 6, 7, 8, 9]  # convolution over attention


def test_need_answers_the_blocks_output():
    block = HybridBlock(8, 2, 3)
    x = torch.randn(2, 5, 8)
    answer = block(x, need=("entropy", "weights"))
    assert isinstance(answer, AttentionOutput)
    torch.testing.assert_close(answer.out, block(x))
    torch.testing.assert_close(answer.weights.sum(-1), torch.ones(2, 2, 5))


def test_padding_whose_queries_are_not_its_keys():
    """Row 0 is a query alone, row 3 a key alone, row 4 neither: the convolution reads rows 0 to 3."""
    torch.manual_seed(0)
    block = HybridBlock(8, 2, 3).double()
    x = torch.randn(1, 5, 8, dtype=torch.float64)
    keys, queries = torch.tensor([[False, True, True, True, False]]), torch.tensor([[True, True, True, False, False]])
    out = block(x, mask=masks.Padding(keys, queries=queries))
    assert (out[0, 4] == 0).all()
    shorter = block(x[:, :4], mask=masks.Padding(keys[:, :4], queries=queries[:, :4]))
    torch.testing.assert_close(out[:, :4], shorter, rtol=0, atol=1e-12)


@pytest.mark.parametrize("need", [(), ("entropy",)])
def test_checkpointing_changes_nothing(need):
    torch.manual_seed(0)
    dropped = {"dropout": 0.2, "attention_dropout": 0.3, "drop_path": 0.4}
    block = HybridBlock(8, 2, 3, **dropped)
    again = HybridBlock(8, 2, 3, **dropped, checkpoint=True)
    again.load_state_dict(block.state_dict())
    x, table = torch.randn(4, 5, 8), torch.randn(2, 9, requires_grad=True)

    def run(module):
        module.zero_grad()
        table.grad = None
        torch.manual_seed(7)
        given = x.clone().requires_grad_()
        padding = masks.Padding(torch.tensor([5, 2, 0, 3]))
        answer = module(given, bias=biases.Relative(table), mask=padding, need=need)
        (answer.out if need else answer).square().sum().backward()
        return [given.grad.clone(), table.grad.clone(), *[p.grad.clone() for p in module.parameters()]]

    for one, other in zip(run(again), run(block), strict=True):
        assert torch.equal(one, other)


def test_checkpointing_keeps_less():
    kept, sizes = [], {}

    def pack(tensor):
        kept.append(tensor.numel())
        return tensor

    for flag in (False, True):
        kept.clear()
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            HybridBlock(8, 2, 3, checkpoint=flag)(torch.randn(2, 64, 8, requires_grad=True))
        sizes[flag] = sum(kept)
    assert sizes[True] < 0.1 * sizes[False]


@pytest.mark.parametrize("checkpoint", [False, True])
@pytest.mark.parametrize("shape", [(0, 4, 8), (2, 1, 8), (2, 0, 8)])
def test_empty_and_single(shape, checkpoint):
    block = HybridBlock(8, 2, 5, dropout=0.1, checkpoint=checkpoint)
    x = torch.randn(shape, requires_grad=True)
    out = block(x, mask=masks.Padding(torch.full(shape[:1], shape[1])))
    assert out.shape == shape
    out.sum().backward()
    assert x.grad.shape == shape


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_types(dtype):
    torch.manual_seed(0)
    block = HybridBlock(8, 2, 3).to(dtype)
    x, mask = torch.randn(2, 5, 8).to(dtype), masks.Padding(torch.tensor([5, 3]))
    out = block(x, mask=mask)
    assert out.dtype == dtype
    exact = copy.deepcopy(block).double()(x.double(), mask=mask)
    torch.testing.assert_close(out.double(), exact, rtol=0, atol=1e-12 if dtype == torch.float64 else 0.1)


class Padded(nn.Module):
    """A block that takes lengths, so that they are an input of the graph."""

    def __init__(self):
        super().__init__()
        self.block = HybridBlock(8, 2, 3)

    def forward(self, x, lengths):
        return self.block(x, mask=masks.Padding(lengths))


def test_exports_and_compiles_to_one_graph():
    torch.manual_seed(0)
    module = Padded().eval()
    x, lengths = torch.randn(3, 6, 8), torch.tensor([6, 2, 0])
    program = torch.export.export(
        module, (x, lengths), dynamic_shapes=({0: torch.export.Dim("batch", min=2, max=64)},) * 2
    )
    torch.testing.assert_close(program.module()(x[:2], lengths[:2]), module(x[:2], lengths[:2]))
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x, lengths), module(x, lengths), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (lambda: HybridBlock(8, 2, 4), {}, r"kernel_size: expected an odd number \(or causal=True\), got 4"),
        (lambda: HybridBlock(8, 2, 0, causal=True), {}, "kernel_size: expected at least 1, got 0"),
        (lambda: HybridBlock(8, None, 3, kv_heads=1), {}, r"heads: expected a number .*\(kv_heads\), got None"),
        (lambda: HybridBlock(8, None, 3), {"need": ("lse",)}, "bias, need, positions: expected none"),
        (
            lambda: HybridBlock(8, 2, 3),
            {"mask": masks.Causal()},
            "causal: expected True with a mask that forbids later tokens.*got False and Causal",
        ),
        (
            lambda: HybridBlock(8, 2, 3),
            {"mask": masks.Window(2, 0) & masks.Padding(torch.tensor([3]))},
            "causal: expected True with a mask that forbids later tokens",
        ),
        (lambda: LocalConvolution(6, 3), {}, r"x: expected \(B, L, 6\), got \(1, 3, 8\)"),
    ],
)
def test_errors(make, arguments, message):
    with pytest.raises(ValueError, match=message):
        make()(torch.zeros(1, 3, 8), **arguments)


def test_a_kernel_of_one_looks_nowhere_and_takes_a_causal_mask():
    block = HybridBlock(8, 2, 1)
    assert block(torch.randn(1, 3, 8), mask=masks.Causal()).shape == (1, 3, 8)
