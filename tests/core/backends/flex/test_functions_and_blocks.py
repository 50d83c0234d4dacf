"""What the flex backend gives the kernel: masks and biases as functions of one pair, and the blocks to visit."""

import math

import pytest
import torch
from torch.nn.attention import flex_attention as torch_flex

from core import biases, masks
from core.backends.flex import flex
from core.symbols import Sizes as Places
from core.symbols import Symbolic

from ...cases import Sizes, bias_cases, mask_cases
from .problems import everywhere, problem


class TestFunctionsOfOnePair:
    @pytest.mark.parametrize("sizes", [(2, 2, 6, 6), (1, 2, 3, 7), (2, 1, 7, 3), (1, 1, 1, 1)])
    def test_masks_equal_their_definitions(self, sizes):
        s = Sizes(*sizes, seed=1)
        for name, (mask, definition) in mask_cases(s).items():
            mod = mask.elementwise(Places(*sizes, torch.device("cpu")))
            assert torch.equal(everywhere(mod, s), s.dense(definition).bool()), name

    @pytest.mark.parametrize("sizes", [(2, 2, 6, 6), (1, 2, 3, 7), (2, 1, 7, 3), (1, 1, 1, 1)])
    def test_biases_equal_their_definitions(self, sizes):
        s = Sizes(*sizes, seed=2)
        for name, (build, learnable, definition) in bias_cases(s).items():
            value = everywhere(build(*learnable).elementwise(Places(*sizes, torch.device("cpu"))), s)
            assert value.dtype == torch.float32, name
            torch.testing.assert_close(value.double(), s.dense(definition), rtol=1e-5, atol=1e-5, msg=name)

    def test_large_integer_times_lose_nothing(self):
        times = torch.tensor([[1_700_000_000_000_000_001, 1_700_000_000_000_000_003]])
        mod = biases.TimeDecay(times, 1.0).elementwise(Places(1, 1, 2, 2, torch.device("cpu")))
        assert everywhere(mod, Sizes(1, 1, 2, 2))[0, 0].tolist() == [[0.0, -2.0], [-2.0, 0.0]]

    def test_an_infinite_time_masks_and_has_no_gradient(self):
        rate = torch.ones(1, requires_grad=True)
        bias = biases.TimeDecay(torch.tensor([[0.0, torch.inf]]), rate)
        mod = bias.elementwise(Places(1, 1, 2, 2, torch.device("cpu")))
        value = everywhere(mod, Sizes(1, 1, 2, 2))[0, 0, 0]
        assert value.tolist() == [0.0, -math.inf]
        assert torch.autograd.grad(value.exp().sum(), rate)[0].tolist() == [0.0]

    def test_only_nodes_that_list_pairs_need_tables(self):
        """Of core's own; a node that has no elementwise form yet is read from a table, too."""
        s, formless = Sizes(1, 2, 4, 4), {masks.Edges, masks.Neighbours, biases.EdgeBias}
        nodes = [mask for mask, _ in mask_cases(s).values()]
        nodes += [build(*learnable) for build, learnable, _ in bias_cases(s).values()]
        for whole in nodes:
            leaves = list(whole.leaves())
            slow = [leaf for leaf in leaves if type(leaf).elementwise is Symbolic.elementwise]
            assert list(whole.tables()) == slow
            assert {type(leaf) for leaf in leaves} & formless <= {type(leaf) for leaf in slow}
        simple = masks.Causal(), masks.Window(1, 1), masks.Segments(torch.zeros(1, 4).long()), biases.Alibi(1.0)
        assert not [table for one in simple for table in one.tables()]
        many = biases.DistanceDecay(torch.zeros(1, 4, 9), 1.0)
        assert list((many + biases.Alibi(1.0)).tables()) == [many]


class TestBlocks:
    @pytest.mark.parametrize("sizes", [(2, 2, 300, 300), (1, 1, 130, 400), (1, 2, 256, 128), (1, 1, 5, 7)])
    @pytest.mark.parametrize("walk", [1, 1 << 26])
    def test_equal_those_that_torch_finds_pair_by_pair(self, monkeypatch, sizes, walk):
        monkeypatch.setattr(flex, "WALK", walk)
        B, H, Lq, Lk = sizes
        lengths = torch.randint(0, Lk + 1, (B,), generator=torch.Generator().manual_seed(0))
        for mask in (
            masks.Causal(),
            masks.Window(140, 3),
            masks.Causal() & masks.Padding(lengths),
            masks.Dense(torch.rand(B, H, Lq, Lk) < 1e-4),
            ~masks.Window(0, 0),
        ):
            q, k = torch.zeros(B, H, Lq, 1), torch.zeros(B, H, Lk, 1)
            got = flex._block_mask(problem(q, k, k, mask=mask), Places(B, H, Lq, Lk, q.device))
            dense = mask.materialize(B, H, Lq, Lk)
            pairs = torch_flex.create_block_mask(got.mask_mod, *dense.shape[:2], Lq, Lk, device="cpu")
            assert torch.equal(got.to_dense(), pairs.to_dense())
            assert torch.equal(got.kv_num_blocks, pairs.kv_num_blocks)
            assert torch.equal(got.full_kv_num_blocks, pairs.full_kv_num_blocks)
            assert got.shape == (*dense.shape[:2], Lq, Lk)

    def test_are_kept_for_masks_without_tensors_alone(self, monkeypatch):
        monkeypatch.setattr(flex, "MOST_BLOCK_MASKS", 2)
        q = torch.zeros(1, 1, 8, 1)
        flex._block_masks.clear()
        sizes = Places(1, 1, 8, 8, q.device)

        def count(mask):
            flex._block_mask(problem(q, q, q, mask=mask), sizes)
            return len(flex._block_masks)

        assert count(masks.Window(1, 1)) == 1
        assert count(masks.Window(1, 1)) == 1
        assert count(masks.Window(1, 2)) == 2
        assert count(masks.Window(1, 3)) == 2
        assert count(masks.Padding(torch.tensor([3]))) == 2
        flex._block_masks.clear()

    def test_follow_lengths_that_change_in_place(self):
        q = torch.zeros(1, 1, 300, 1)
        lengths = torch.tensor([300])
        mask = masks.Padding(lengths)
        for length, blocks in ((300, 3), (100, 1)):
            lengths.fill_(length)
            got = flex._block_mask(problem(q, q, q, mask=mask), Places(1, 1, 300, 300, q.device))
            assert int(got.to_dense()[0, 0, 0].sum()) == blocks
