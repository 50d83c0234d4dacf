"""The flex backend as it runs, compiled: `pytest -m cuda`, on a machine with an NVIDIA GPU."""

import pytest
import torch

import core
from core import masks

from ...cases import Sizes, bias_cases, mask_cases
from .problems import LEARNED, SCORES, assert_equal, draw, gradients

MASKS = ("none", "causal", "window or global", "segments", "not after", "all three", "padding both", "dense")
PAIRS = [(mask, bias) for mask in MASKS for bias in ("none", "sum")]
PAIRS += [("causal and padding", bias) for bias in (*LEARNED, "time gaussian", "dense", "key per head", "alibi")]


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
@pytest.mark.filterwarnings("ignore")  # of the compiler
class TestOnCuda:
    def case(self, L, mask, bias, dtype, heads=1, D=32):
        s = Sizes(2, 2, L, L, seed=3, dtype=torch.float32)
        found = None if mask == "none" else mask_cases(s)[mask][0].to("cuda")
        build, learnable, _ = (None, (), None) if bias == "none" else bias_cases(s)[bias]

        def both(*t):
            # the cases hold tensors of the CPU beside what is learned
            return {"bias": build(*(x.cpu() for x in t[:-1])).to("cuda") if build else None, "temperature": t[-1]}

        learned = [t.to("cuda") for t in (*learnable, torch.tensor([0.8, 2.0]))]
        qkv = [x.to("cuda") for x in draw(s, D, D, heads, dtype)]
        return qkv, both, learned, s.normal(2, 2, L, D).to("cuda"), found

    @pytest.mark.parametrize("mask, bias", PAIRS)
    def test_equals_reference(self, mask, bias):
        qkv, both, learned, weights, found = self.case(150, mask, bias, torch.float32, heads=2)
        answers = [gradients(b, qkv, both, learned, weights, mask=found) for b in ("flex", "reference")]
        assert_equal(*answers, 2e-5)

    @pytest.mark.parametrize("L", [1, 127, 128, 129, 512])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    def test_lengths_and_types(self, L, dtype):
        qkv, both, learned, weights, found = self.case(L, "causal and padding", "relative", dtype, D=24)
        answers = [gradients(b, qkv, both, learned, weights, mask=found) for b in ("flex", "reference")]
        assert_equal(*answers, 2e-5 if dtype == torch.float32 else 2e-2)

    @pytest.mark.parametrize("score", SCORES)
    def test_scores(self, score):
        qkv, _, _, weights, found = self.case(150, "causal and padding", "none", torch.float32)
        answers = [gradients(b, qkv, None, (), weights, mask=found, score=score) for b in ("flex", "reference")]
        assert_equal(*answers, 2e-5)

    def test_entropy_and_autocast(self):
        qkv, _, _, weights, found = self.case(150, "causal and padding", "none", torch.float32)
        answers = []
        for backend in ("flex", "reference"):
            entropy = core.attend(*qkv, mask=found, backend=backend, need=("entropy",)).entropy
            answers.append((entropy, *torch.autograd.grad((entropy * weights[..., 0]).sum(), qkv[:2])))
        assert_equal(*answers, 2e-5)
        with torch.autocast("cuda", torch.bfloat16):
            got, expected = (core.attend(*qkv, mask=found, backend=b) for b in ("flex", "reference"))
        assert got.dtype == torch.bfloat16
        assert_equal([got], [expected], 2e-2)

    def test_auto_takes_it(self):
        qkv, both, learned, _, found = self.case(150, "causal and padding", "sum", torch.float32)
        assert core.plan(*qkv, mask=found, **both(*learned)).backend == "flex"

    def test_what_no_query_sees_changes_nothing(self):
        qkv, _, _, weights, _ = self.case(150, "none", "none", torch.float32)
        mask = masks.Padding(torch.tensor([100, 150]), torch.tensor([100, 150])).to("cuda")
        expected = gradients("flex", qkv, None, (), weights, mask=mask)
        strange = [x.detach().clone() for x in qkv]
        for x in strange:
            x[0, :, 100:] = torch.nan
        got = gradients("flex", strange, None, (), weights, mask=mask)
        assert_equal(got, expected)
        assert all((x[0, :, 100:] == 0).all() for x in (got[0], *got[2:]))
