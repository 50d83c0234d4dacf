"""What nobody may see changes nothing: rows without a key answer 0, and what is not finite reaches those who see it."""

import math

import pytest
import torch

import core
from core import biases, masks, scores

from .cases import BACKENDS


class TestDeadRows:
    """A query with no allowed key: out 0, weights 0, entropy 0, lse -inf, all gradients 0."""

    @pytest.mark.parametrize("backend", BACKENDS)
    @pytest.mark.parametrize(
        "mask",
        [
            masks.Padding(torch.tensor([0, 2])),
            masks.Padding(torch.tensor([3, 3]), torch.tensor([0, 1])),
            masks.Padding(torch.tensor([0, 2]), torch.tensor([0, 2])),
            masks.Causal() & masks.Padding(torch.tensor([[False, False, True], [True, True, True]])),
            masks.Dense(torch.zeros(1, 1, 3, 3, dtype=torch.bool)),
            masks.Edges(torch.tensor([[0], [1]])),
            masks.Edges(torch.zeros(2, 0, dtype=torch.int64)),
        ],
        ids=str,
    )
    @pytest.mark.parametrize("bias", [None, biases.Alibi(0.5)], ids=str)
    def test_output_and_gradients_are_zero(self, backend, mask, bias):
        q, k, v = (torch.randn(2, 2, 3, 4, dtype=torch.float64, requires_grad=True) for _ in range(3))
        dead = ~mask.materialize(2, 2, 3, 3).expand(2, 2, 3, 3).any(-1)
        assert dead.any()
        out = core.attend(q, k, v, mask=mask, bias=bias, backend=backend)
        assert (out[dead] == 0).all()
        for g in torch.autograd.grad((out * torch.randn_like(out))[dead].sum(), (q, k, v)):
            assert (g == 0).all()

    def test_statistics(self):
        x = torch.randn(1, 1, 2, 4, requires_grad=True)
        got = core.attend(x, x, x, mask=masks.Padding(torch.tensor([0])), need=("lse", "entropy", "weights"))
        assert got.lse.tolist() == [[[-math.inf, -math.inf]]]
        assert (got.entropy == 0).all()
        assert (got.weights == 0).all()
        (gradient,) = torch.autograd.grad(got.entropy.sum() + got.weights.sum() + got.out.sum(), x)
        assert (gradient == 0).all()

    def test_no_key_at_all(self):
        q, none = torch.randn(1, 2, 3, 4), torch.randn(1, 2, 0, 4)
        for backend in BACKENDS:
            assert (core.attend(q, none, none, backend=backend) == 0).all()
        assert (core.attend(q, none, none, need=("lse",)).lse == -math.inf).all()

    def test_minus_infinity_in_a_bias_masks_the_pair(self):
        adjacency = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
        q, k, v = torch.randn(3, 2, 2, 3, 4, dtype=torch.float64)
        for backend in BACKENDS:
            value = adjacency.log()[None, None].requires_grad_()
            a = core.attend(q, k, v, bias=biases.Dense(value), backend=backend)
            b = core.attend(q, k, v, mask=masks.Dense(adjacency[None, None] > 0), backend=backend)
            torch.testing.assert_close(a, b)
            (gradient,) = torch.autograd.grad(a.square().sum(), value)
            assert (gradient[0, 0][adjacency == 0] == 0).all()


POISON = [math.nan, math.inf, -math.inf]


class TestNothingLeaks:
    @pytest.mark.parametrize("backend", BACKENDS)
    @pytest.mark.parametrize("poison", POISON)
    @pytest.mark.parametrize("score", [scores.Dot(), scores.Cosine(), scores.Gaussian()], ids=str)
    @pytest.mark.parametrize("pattern", [None, masks.Causal(), masks.Window(1, 1), masks.NotAfter(torch.zeros(2, 4))])
    def test_keys_that_no_query_sees(self, backend, poison, pattern, score):
        lengths = torch.tensor([2, 3])
        mask = masks.Padding(lengths, lengths)
        mask = mask if pattern is None else pattern & mask
        clean = [torch.randn(2, 2, 4, 3, dtype=torch.float64) for _ in range(3)]
        padded = torch.arange(4) >= lengths[:, None]
        answers = []
        for fill in (0.0, poison):
            inputs = [x.masked_fill(padded[:, None, :, None], fill).requires_grad_() for x in clean]
            times = torch.rand(2, 4, generator=torch.Generator().manual_seed(1)).masked_fill(padded, fill)
            rate = torch.tensor([0.5, 0.1], dtype=torch.float64, requires_grad=True)
            out = core.attend(*inputs, mask=mask, bias=biases.TimeDecay(times, rate), score=score, backend=backend)
            answers.append((out, *torch.autograd.grad(out.square().sum(), (*inputs, rate))))
        for a, b in zip(*answers, strict=True):
            assert torch.equal(a, b)
            assert b.isfinite().all()

    @pytest.mark.parametrize("backend", BACKENDS)
    def test_without_bias_too(self, backend):
        lengths = torch.tensor([2, 3])
        clean = [torch.randn(2, 2, 4, 3) for _ in range(3)]
        padded = (torch.arange(4) >= lengths[:, None])[:, None, :, None]
        for mask in (masks.Padding(lengths, lengths), masks.Causal() & masks.Padding(lengths, lengths)):
            answers = []
            for fill in (0.0, math.nan):
                inputs = [x.masked_fill(padded, fill).requires_grad_() for x in clean]
                out = core.attend(*inputs, mask=mask, backend=backend)
                answers.append((out, *torch.autograd.grad(out.square().sum(), inputs)))
            for a, b in zip(*answers, strict=True):
                assert torch.equal(a, b)

    @pytest.mark.parametrize("backend", BACKENDS)
    def test_keys_of_an_item_without_queries(self, backend):
        """All queries of item 0 are padding: its keys are seen by nobody, whatever they hold."""
        mask = masks.Padding(torch.tensor([3, 3]), torch.tensor([0, 3]))
        q, k, v = (torch.randn(2, 1, 3, 2) for _ in range(3))
        k[0], v[0] = math.nan, math.nan
        inputs = [x.requires_grad_() for x in (q, k, v)]
        out = core.attend(*inputs, mask=mask, backend=backend)
        assert out.isfinite().all()
        for g in torch.autograd.grad(out.sum(), inputs):
            assert g.isfinite().all()
            assert (g[0] == 0).all()

    @pytest.mark.parametrize("poison", POISON)
    @pytest.mark.parametrize("where", ["q", "k", "v", "bias"])
    @pytest.mark.parametrize("backend", sorted(set(BACKENDS) - {"fused"}))
    @pytest.mark.parametrize("score", [scores.Dot(), scores.Gaussian()], ids=str)
    def test_isolation_pair_by_pair(self, backend, poison, where, score):
        """Under Causal, what is not finite at position 2 reaches rows 2 and later; row 0 and 1 are as without it."""
        clean = {name: torch.randn(1, 1, 4, 3, dtype=torch.float64) for name in "qkv"}
        clean["bias"] = torch.randn(1, 1, 4, 4, dtype=torch.float64)
        answers = []
        for fill in (0.0, poison):
            x = {name: t.clone() for name, t in clean.items()}
            if where == "bias":
                x["bias"][0, 0, 2:, 2], x["bias"][0, 0, :2, 2:] = 0.0, fill
            else:
                x[where][0, 0, 2, 1] = fill
            for t in x.values():
                t.requires_grad_()
            got = core.attend(
                x["q"],
                x["k"],
                x["v"],
                mask=masks.Causal(),
                bias=biases.Dense(x["bias"]),
                score=score,
                backend=backend,
                need=("lse", "entropy"),
            )
            seen = [got.out, got.lse, got.entropy]
            loss = sum(t[:, :, :2].square().sum() for t in seen)
            gradients = torch.autograd.grad(loss, list(x.values()))
            answers.append([*(t[:, :, :2] for t in seen), *gradients])
            if fill == poison and where in "kv":
                assert got.out[0, 0, 2:].isnan().any(dim=-1).all(), (
                    "a value that is not finite is not hidden from those who see it"
                )
        for a, b in zip(*answers, strict=True):
            assert torch.equal(a, b)
