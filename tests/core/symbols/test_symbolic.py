"""Masks and biases as pytrees, in compiled and exported programs, moved, copied and printed."""

import copy
import io

import pytest
import torch
from torch.utils import _pytree as pytree

import core
from core import biases, masks
from core.symbols import Pairs, Part

from ..cases import Sizes, bias_cases, mask_cases

S = Sizes(2, 2, 4, 4)
NODES = {
    **{f"mask {name}": mask for name, (mask, _) in mask_cases(S).items()},
    **{f"bias {name}": build(*learnable) for name, (build, learnable, _) in bias_cases(S).items()},
}


@pytest.mark.parametrize("name", NODES)
def test_pytree_round_trip(name):
    node = NODES[name]
    leaves, spec = pytree.tree_flatten(node)
    tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
    assert [id(t) for t in tensors] == [id(t) for _, t in node.tensors()]
    again = pytree.tree_unflatten(leaves, spec)
    assert type(again) is type(node)
    assert torch.equal(again.materialize(2, 2, 4, 4), node.materialize(2, 2, 4, 4))
    pytree.tree_map(lambda _: object(), node)  # a transformation may put anything at the leaves


@pytest.mark.parametrize("name", NODES)
def test_to_copy_and_print(name):
    node = NODES[name]
    moved = node.to("meta")
    assert {t.device.type for _, t in moved.tensors()} <= {"meta"}
    assert torch.equal(copy.deepcopy(node).materialize(2, 2, 4, 4), node.materialize(2, 2, 4, 4))
    assert repr(node).startswith(type(node).__name__ + "(")
    assert len(repr(node)) < 400


@pytest.mark.parametrize("sizes", [(2, 2, 4, 4), (3, 1, 5, 7)], ids=str)
@pytest.mark.parametrize("kind", [mask_cases, bias_cases])
def test_a_part_is_a_part_of_the_whole(sizes, kind):
    s = Sizes(*sizes)
    whole = Part.whole(*sizes, torch.device("cpu"))
    for case in kind(s).values():
        node = case[0] if kind is mask_cases else case[0](*case[1])
        full = node.materialize(*sizes).expand(sizes)
        assert node.spread(whole) == node.block(whole).shape[:2]
        for items, rows, cols in [((0, 1), (1, 3), (2, 4)), ((1, 2), (0, 4), (0, 1)), ((0, 2), (3, 4), (1, 4))]:
            for step in (1, 2, 3):
                part = whole._replace(items=slice(*items), rows=slice(*rows, step), cols=slice(*cols, step))
                expected = full[part.items, :, part.rows, part.cols]
                assert (part.n_rows, part.n_cols) == expected.shape[2:]
                assert torch.equal(node.block(part).expand(expected.shape), expected)


@pytest.mark.parametrize("sizes", [(2, 2, 4, 4), (3, 1, 5, 7), (1, 2, 6, 3)], ids=str)
@pytest.mark.parametrize("kind", [mask_cases, bias_cases])
def test_listed_pairs_are_those_of_the_whole(sizes, kind):
    B, _, Lq, Lk = sizes
    s = Sizes(*sizes)
    listed = (s.integers(0, B, 20), s.integers(0, Lq, 20), s.integers(0, Lk, 20))
    grid = (torch.arange(B)[:, None, None], torch.arange(Lq)[:, None], torch.arange(Lk))
    for case in kind(s).values():
        node = case[0] if kind is mask_cases else case[0](*case[1])
        full = node.materialize(*sizes).expand(sizes)
        for b, i, j in (listed, grid):
            expected = full.movedim(1, 0)[:, b, i, j]
            got = node.at(Pairs.at(*sizes, b, i, j)).expand(expected.shape)
            torch.testing.assert_close(got, expected, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("sizes", [(2, 2, 8, 8), (3, 1, 5, 9)], ids=str)
def test_extents_say_the_truth(sizes):
    """NOTHING and EVERYTHING are claims about every pair; structural masks make both where they hold."""
    s, found = Sizes(*sizes), set()
    whole = Part.whole(*sizes, torch.device("cpu"))
    for name, (mask, _) in mask_cases(s).items():
        full = mask.materialize(*sizes).expand(sizes)
        for item in range(sizes[0]):
            for i in range(sizes[2]):
                for j in range(sizes[3]):
                    part = whole._replace(items=slice(item, item + 1), rows=slice(i, i + 1), cols=slice(j, j + 1))
                    extent = mask.extent(part)
                    found.add((name, extent))
                    if extent is not masks.Extent.SOME:
                        assert full[item, 0, i, j] == (extent is masks.Extent.EVERYTHING)
                    for step in (1, 2, 3):
                        rows = slice(i, min(i + 3 * step, sizes[2]), step)
                        big = part._replace(rows=rows, cols=slice(j, min(j + 2 * step, sizes[3]), step))
                        block = full[big.items, :, big.rows, big.cols]
                        extent = mask.extent(big)
                        assert extent is not masks.Extent.NOTHING or not block.any()
                        assert extent is not masks.Extent.EVERYTHING or block.all()
    for name in ("causal", "window", "not causal", "padding lengths", "causal and padding"):
        assert {(name, masks.Extent.NOTHING), (name, masks.Extent.EVERYTHING)} <= found


def test_frozen():
    with pytest.raises(AttributeError):
        masks.Window(1, 1).left = 2


def test_repr_shows_shapes_not_contents():
    node = masks.Causal() & masks.Padding(torch.tensor([1, 2]))
    assert repr(node) == "And(parts=(Causal(), Padding(keys=<(2,) int64>)))"
    assert repr(biases.Alibi(torch.ones(3, requires_grad=True))) == "Alibi(slopes=<(3,) float32, requires_grad>)"


class Model(torch.nn.Module):
    """A causal, padded, decaying attention with a learnable rate, as users write it."""

    def __init__(self, dropout_p=0.0, need=()):
        super().__init__()
        self.rate = torch.nn.Parameter(torch.tensor([0.1, 0.5]))
        self.dropout_p, self.need = dropout_p, need

    def forward(self, x, times, lengths):
        mask = masks.Causal() & masks.Padding(lengths, lengths)
        bias = biases.TimeDecay(times, self.rate)
        return core.attend(x, x, x, mask=mask, bias=bias, dropout_p=self.dropout_p, need=self.need)


INPUTS = (torch.randn(2, 2, 5, 4), torch.rand(2, 5), torch.tensor([3, 5]))


@pytest.mark.parametrize("need", [(), ("entropy",)])
def test_compile_in_one_graph(need):
    model = Model(need=need)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    got, expected = compiled(*INPUTS), model(*INPUTS)
    pick = (lambda a: a.entropy) if need else (lambda a: a)
    torch.testing.assert_close(pick(got), pick(expected))
    a, b = (torch.autograd.grad(pick(y).square().sum(), model.rate)[0] for y in (got, expected))
    torch.testing.assert_close(a, b)


@pytest.mark.parametrize("node", [masks.Causal() & masks.Padding(torch.tensor([3, 5])), masks.Window(1, 0)], ids=str)
def test_compile_takes_masks_as_arguments(node):
    def f(x, mask):
        return core.attend(x, x, x, mask=mask)

    x = INPUTS[0]
    torch.testing.assert_close(torch.compile(f, fullgraph=True, backend="aot_eager")(x, node), f(x, node))


def test_export_serves_other_batches_and_lengths():
    model = Model()
    B, L = torch.export.Dim("B", min=1, max=64), torch.export.Dim("L", min=2, max=512)
    shapes = ({0: B, 2: L}, {0: B, 1: L}, {0: B})
    program = torch.export.export(model, INPUTS, dynamic_shapes=shapes)
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    loaded = torch.export.load(file).module()
    other = (torch.randn(3, 2, 9, 4), torch.rand(3, 9), torch.tensor([0, 9, 4]))
    torch.testing.assert_close(loaded(*other), model(*other))


def test_vmap_over_problems():
    """An ensemble of problems in one call equals one call for each."""
    x = torch.randn(3, 2, 2, 5, 4)
    got = torch.func.vmap(lambda y: core.attend(y, y, y, mask=masks.Causal(), backend="reference"))(x)
    torch.testing.assert_close(got, torch.stack([core.attend(y, y, y, mask=masks.Causal()) for y in x]))
