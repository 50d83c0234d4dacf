"""`attend` against a definition in plain numbers, and the promises of its contract."""

import math
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

import core
from core import biases, masks, scores

from .cases import BACKENDS, Sizes, bias_cases, mask_cases, softmax_rows


def plain_attention(q, k, v, allowed, logit, scale, temperature):
    """Attention by Python loops over plain numbers: out, lse, entropy and weights."""
    B, H, Lq, _ = q.shape
    Hk, Lk, Dv = v.shape[1:]
    out, weights = torch.zeros(B, H, Lq, Dv).double(), torch.zeros(B, H, Lq, Lk).double()
    lse, entropy = torch.zeros(B, H, Lq).double(), torch.zeros(B, H, Lq).double()
    for b, h, i in product(range(B), range(H), range(Lq)):
        g = h // (H // Hk)
        logits = [
            (
                scale * sum(x * y for x, y in zip(q[b, h, i].tolist(), k[b, g, j].tolist(), strict=True))
                + logit(b, h, i, j)
            )
            / temperature
            if allowed(b, h, i, j)
            else -math.inf
            for j in range(Lk)
        ]
        w = list(softmax_rows(logits))
        weights[b, h, i] = torch.tensor(w, dtype=torch.float64)
        lse[b, h, i] = math.log(sum(math.exp(x) for x in logits)) if any(w) else -math.inf
        entropy[b, h, i] = -sum(x * math.log(x) for x in w if x > 0)
        for d in range(Dv):
            out[b, h, i, d] = sum(x * float(v[b, g, j, d]) for j, x in enumerate(w))
    return out, lse, entropy, weights


@pytest.mark.parametrize("sizes", [(2, 2, 3, 4), (1, 2, 4, 4), (1, 2, 5, 3)], ids=str)
def test_definition_in_plain_numbers(sizes):
    s = Sizes(*sizes)
    for (mask, allowed), (build, learnable, logit) in zip(
        mask_cases(s).values(), [*bias_cases(s).values()] * 2, strict=False
    ):
        q, k, v = s.normal(s.B, 2, s.Lq, 3), s.normal(s.B, 1, s.Lk, 3), s.normal(s.B, 1, s.Lk, 2)
        expected = plain_attention(q, k, v, allowed, logit, 0.7, 1.3)
        arguments = {"mask": mask, "bias": build(*learnable), "scale": 0.7, "temperature": 1.3}
        got = core.attend(q, k, v, **arguments, need=("lse", "entropy", "weights"))
        for x, y in zip(got, (*expected, None), strict=True):
            torch.testing.assert_close(x, y, rtol=1e-10, atol=1e-10)
        fused = core.attend(q, k, v, **arguments, backend="fused")
        torch.testing.assert_close(fused, expected[0], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("backend", BACKENDS)
class TestScores:
    def test_dot_is_sdpa(self, backend):
        q, k, v = torch.randn(3, 2, 4, 5, 8, dtype=torch.float64)
        torch.testing.assert_close(core.attend(q, k, v, backend=backend), F.scaled_dot_product_attention(q, k, v))

    def test_cosine(self, backend):
        q, k, v = torch.randn(3, 2, 4, 5, 8, dtype=torch.float64)
        weights = (10.0 * F.cosine_similarity(q[:, :, :, None], k[:, :, None], dim=-1)).softmax(-1)
        got = core.attend(q, k, v, score=scores.Cosine(), scale=10.0, backend=backend)
        torch.testing.assert_close(got, weights @ v)

    def test_gaussian_is_nadaraya_watson(self, backend):
        q, k, v = torch.randn(3, 2, 4, 5, 8, dtype=torch.float64)
        h = 0.8
        kernel = torch.exp(-(q[:, :, :, None] - k[:, :, None]).square().sum(-1) / (2 * h**2))
        expected = (kernel @ v) / kernel.sum(-1, keepdim=True)
        got = core.attend(q, k, v, score=scores.Gaussian(), temperature=h**2, backend=backend)
        torch.testing.assert_close(got, expected)

    def test_gaussian_equals_dot_for_unit_norm_keys(self, backend):
        q, k, v = torch.randn(3, 2, 4, 5, 8, dtype=torch.float64)
        k = F.normalize(k, dim=-1)
        a = core.attend(q, k, v, score=scores.Gaussian(), temperature=0.3, backend=backend)
        b = core.attend(q, k, v, score=scores.Dot(), scale=1.0, temperature=0.3, backend=backend)
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)

    def test_zero_vector_under_cosine(self, backend):
        q, k, v = (torch.randn(1, 1, 3, 4, requires_grad=True) for _ in range(3))
        zero = torch.zeros_like(q, requires_grad=True)
        out = core.attend(zero, k, v, score=scores.Cosine(), backend=backend)
        torch.testing.assert_close(out, v.mean(2, keepdim=True).expand_as(out))
        assert all(g.isfinite().all() for g in torch.autograd.grad(out.sum(), (zero, k, v)))


@pytest.mark.parametrize("score", [scores.Dot(), scores.Cosine(), scores.Gaussian()], ids=str)
@pytest.mark.parametrize("name", ["scale", "temperature"])
def test_learnable_scale_and_temperature_per_head(name, score):
    q, k, v = torch.randn(3, 2, 4, 5, 8, dtype=torch.float64)
    bias = biases.Alibi(0.3)
    answers = []
    for backend in BACKENDS:
        number = torch.tensor([0.5, 1.0, 2.0, 3.0], dtype=torch.float64, requires_grad=True)
        out = core.attend(q, k, v, score=score, bias=bias, backend=backend, **{name: number})
        answers.append((out, *torch.autograd.grad(out.square().sum(), number)))
        one = core.attend(
            q[:, 2:3], k[:, 2:3], v[:, 2:3], score=score, bias=bias, backend=backend, **{name: number[2].item()}
        )
        torch.testing.assert_close(out[:, 2:3], one)
    for answer in answers[1:]:
        torch.testing.assert_close(answer, answers[0], rtol=1e-10, atol=1e-10)


class TestNeed:
    def test_answers(self):
        x = torch.randn(1, 2, 3, 4)
        assert isinstance(core.attend(x, x, x), torch.Tensor)
        got = core.attend(x, x, x, need=("entropy",))
        assert isinstance(got, core.AttentionOutput)
        assert got.lse is None
        assert got.weights is None
        assert got.pair_weights is None
        assert got.entropy.shape == (1, 2, 3)

    def test_uniform_entropy_by_hand(self):
        x = torch.zeros(1, 1, 5, 2)
        got = core.attend(x, x, x, need=("entropy", "lse"))
        torch.testing.assert_close(got.entropy, torch.full((1, 1, 5), math.log(5)))
        torch.testing.assert_close(got.lse, torch.full((1, 1, 5), math.log(5)))

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
    def test_dtypes(self, dtype):
        x = torch.randn(1, 1, 3, 4, dtype=dtype)
        got = core.attend(x, x, x, need=("lse", "entropy", "weights"))
        wide = torch.float64 if dtype == torch.float64 else torch.float32
        assert (got.out.dtype, got.lse.dtype, got.entropy.dtype, got.weights.dtype) == (dtype, wide, wide, dtype)

    def test_pair_weights_of_edges(self):
        s = Sizes(2, 2, 3, 4)
        q, k, v = s.normal(2, 2, 3, 4), s.normal(2, 2, 4, 4), s.normal(2, 2, 4, 4)
        edges, item, head = s.integers(0, 3, 2, 6), s.integers(0, 2, 6), s.integers(0, 2, 6)
        for mask in (masks.Edges(edges), masks.Edges(edges, item), masks.Edges(edges, item, head)):
            got = core.attend(q, k, v, mask=mask & masks.Causal(), need=("weights", "pair_weights"))
            for h, (e, (j, i)) in product(range(2), enumerate(edges.T.tolist())):
                if mask.batch is None:
                    assert torch.equal(got.pair_weights[:, h, e], got.weights[:, h, i, j])
                else:
                    foreign = mask.head is not None and mask.head[e] != h
                    expected = 0.0 if foreign else got.weights[item[e], h, i, j]
                    assert got.pair_weights[h, e] == expected

    def test_pair_weights_of_neighbours(self):
        s = Sizes(2, 2, 3, 4)
        q, k, v = s.normal(2, 2, 3, 4), s.normal(2, 2, 4, 4), s.normal(2, 2, 4, 4)
        index = torch.tensor([[0, 3], [2, -1], [-1, -1]])
        got = core.attend(q, k, v, mask=masks.Neighbours(index), need=("weights", "pair_weights"))
        assert got.pair_weights.shape == (2, 2, 3, 2)
        assert torch.equal(got.pair_weights[:, :, 0], got.weights[:, :, 0][..., [0, 3]])
        assert (got.pair_weights[:, :, 1] == torch.tensor([1.0, 0.0])).all()
        assert (got.pair_weights[:, :, 2] == 0).all()

    @pytest.mark.parametrize(
        "mask",
        [None, masks.Causal(), masks.Edges(torch.zeros(2, 1).long()) & masks.Neighbours(torch.zeros(2, 1).long())],
    )
    def test_pair_weights_need_one_list_of_pairs(self, mask):
        x = torch.randn(1, 1, 2, 4)
        with pytest.raises(ValueError, match=r"mask: expected exactly one Edges or Neighbours for .*got [02]"):
            core.attend(x, x, x, mask=mask, need=("pair_weights",))


X = torch.randn(2, 2, 3, 4)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"q": [1.0]}, TypeError, "q: expected a torch.Tensor.*got a list"),
        ({"q": X[0]}, ValueError, r"q: expected 4-D.*got shape \(2, 3, 4\)"),
        ({"q": X.long()}, TypeError, "q: expected a floating-point dtype.*got torch.int64"),
        ({"k": X.double()}, ValueError, "k: expected torch.float32 as q has.*got torch.float64"),
        ({"v": X.to("meta")}, ValueError, "v: expected a tensor on cpu as q is.* on meta"),
        ({"k": X[:1]}, ValueError, "k: expected batch size 2 as q has, got 1"),
        ({"k": X[..., :3]}, ValueError, "k: expected 4 features as q has, got 3"),
        ({"q": X[..., :0], "k": X[..., :0]}, ValueError, "q: expected at least 1 feature, got 0"),
        ({"v": X[:, :, :2]}, ValueError, r"v: expected \(heads, length\) \(2, 3\) as k has, got \(2, 2\)"),
        ({"q": torch.randn(2, 3, 3, 4)}, ValueError, "q: expected a multiple of k's 2 heads, got 3"),
        ({"mask": torch.ones(3, 3).bool()}, TypeError, "mask: expected a core.masks.Mask.*got a Tensor"),
        ({"bias": torch.ones(3, 3)}, TypeError, "bias: expected a core.biases.Bias.*got a Tensor"),
        ({"bias": masks.Causal()}, TypeError, "bias: expected a core.biases.Bias.*got a Causal"),
        (
            {"mask": masks.Padding(torch.tensor([1, 2], device="meta"))},
            ValueError,
            r"Padding\.keys: expected a tensor on cpu.* on meta",
        ),
        (
            {"bias": biases.Alibi(torch.ones(2, device="meta"))},
            ValueError,
            r"slopes: expected a tensor on cpu.* on meta",
        ),
        ({"score": "dot"}, TypeError, "score: expected scores.Dot.*got 'dot'"),
        ({"scale": "big"}, TypeError, "scale: expected a number or a tensor.*got a str"),
        ({"scale": math.nan}, ValueError, "scale: expected a finite number.*got nan"),
        ({"temperature": 0.0}, ValueError, "temperature: expected a finite number above 0.*got 0.0"),
        ({"temperature": torch.ones(3)}, ValueError, r"temperature: expected a scalar or \(H,\).*got shape \(3,\)"),
        ({"dropout_p": 1.0}, ValueError, "dropout_p: expected .*got 1.0"),
        ({"need": "lse"}, TypeError, r"need: expected a tuple such as \('lse',\).*got the string 'lse'"),
        ({"need": ("lse", "maps")}, ValueError, "need: expected names from lse, entropy.*got 'maps'"),
        ({"backend": "flash"}, ValueError, "backend: expected 'auto' or one of 'fused', .*got 'flash'"),
        (
            {"backend": "fused", "need": ("weights",)},
            ValueError,
            "got 'fused', which cannot: the kernel does not answer weights",
        ),
        ({"backend": "fused", "dropout_p": 0.1}, ValueError, "got 'fused', which cannot: dropout"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        core.attend(**{"q": X, "k": X, "v": X, **arguments})
    with pytest.raises(error, match=message):
        core.plan(**{"q": X, "k": X, "v": X, **arguments})


@given(
    st.integers(0, 3),
    st.sampled_from([1, 2, 4]),
    st.sampled_from([1, 2]),
    st.integers(1, 5),
    st.integers(1, 5),
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(0, 10**6),
)
def test_rows_sum_to_one_and_mix_the_values(B, groups, Hk, Lq, Lk, D, Dv, seed):
    g = torch.Generator().manual_seed(seed)
    q, k, v = (torch.randn(B, h, L, d, generator=g) for h, L, d in ((groups * Hk, Lq, D), (Hk, Lk, D), (Hk, Lk, Dv)))
    got = core.attend(q, k, v, need=("weights", "entropy"))
    torch.testing.assert_close(got.weights.sum(-1), torch.ones(B, groups * Hk, Lq))
    torch.testing.assert_close(got.out, got.weights @ v.repeat_interleave(groups, 1))
    assert (got.entropy <= math.log(Lk) + 1e-5).all()
    torch.testing.assert_close(core.attend(q, k, v), got.out)
