"""The flex backend, on the CPU through flex_attention's eager definition; compiled: test_flex_cuda.py."""

import importlib
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.attention import flex_attention as torch_flex

import core
from core import biases, masks, scores
from core.backends import BACKENDS
from core.backends.flex import flex
from core.symbols import Sizes as Places
from core.symbols import node

from ...cases import Sizes, bias_cases, cases, mask_cases
from .problems import LEARNED, SCORES, assert_equal, draw, everywhere, gradients, problem

KERNEL = flex._kernel  # as it is without the fixtures here


@pytest.fixture(scope="class")
def on_the_cpu():
    """Let flex_attention's eager definition serve on the CPU; it passes no gradient to what a bias learns."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BACKENDS, "flex", flex.Flex())
        patch.setattr(flex, "DEVICES", ("cuda", "cpu"))
        patch.setattr(flex, "_kernel", lambda problem: flex._attend)
        patch.setattr(torch_flex, "_FLEX_ATTENTION_DISABLE_COMPILE_DEBUG", True, raising=False)
        patch.setattr(torch_flex, "_validate_device", lambda *tensors: None)
        yield patch


def record_joint_graphs(patch):
    """Answer the list into which the graph of each score and its gradient goes, as the kernel's backward inlines it."""
    operators = importlib.import_module("torch._higher_order_ops.flex_attention")
    graphs, make = [], operators.create_fw_bw_graph

    def recording(*arguments):
        forward, joint = make(*arguments)
        graphs.append(joint.graph)
        return forward, joint

    patch.setattr(operators, "create_fw_bw_graph", recording)
    return graphs


def assert_inlines(graph):
    """What the kernel's backward takes: elementwise operations, reads at an index, and sums that go straight out."""
    aten, added_up = torch.ops.aten, torch.ops.flex_lib.zeros_and_scatter.default
    reads = {
        aten.index.Tensor,
        aten.detach.default,
        aten._to_copy.default,
        aten.scalar_tensor.default,
        aten.full.default,
    }
    for step in graph.nodes:
        if step.op == "call_function" and step.target is added_up:
            assert all(user.op == "output" for user in step.users), f"{step} is not a gradient: a tensor is read twice"
        elif step.op == "call_function":
            assert torch.Tag.pointwise in step.target.tags or step.target in reads, step.target


@pytest.mark.usefixtures("on_the_cpu")
class TestEager:
    @settings(max_examples=cases(120))
    @given(
        sizes=st.tuples(st.integers(1, 2), st.sampled_from([1, 2]), st.integers(1, 9), st.integers(1, 9)),
        heads=st.sampled_from([1, 2]),
        D=st.integers(1, 20),
        Dv=st.integers(1, 20),
        score=st.sampled_from(SCORES),
        dtype=st.sampled_from([torch.float32, torch.float32, torch.bfloat16, torch.float16]),
        by_head=st.booleans(),
        seed=st.integers(0, 10**6),
        data=st.data(),
    )
    def test_equals_reference(self, sizes, heads, D, Dv, score, dtype, by_head, seed, data):
        B, Hk, Lq, Lk = sizes
        s = Sizes(B, Hk * heads, Lq, Lk, seed=seed)
        some_masks, some_biases = mask_cases(s), bias_cases(s)
        mask = data.draw(st.none() | st.sampled_from(sorted(some_masks)), label="mask")
        bias = data.draw(st.none() | st.sampled_from(sorted(some_biases)), label="bias")
        arguments = {
            "mask": None if mask is None else some_masks[mask][0],
            "bias": None if bias is None else some_biases[bias][0](*some_biases[bias][1]),
            "score": score,
            "scale": s.normal(s.H).abs().float() if by_head else 0.3,
            "temperature": s.normal(s.H).abs().float() + 0.5 if by_head else 2.0,
        }
        qkv = draw(s, D, Dv, heads, dtype)
        need = ("lse",) if bias or dtype != torch.float32 else ("lse", "entropy")
        with torch.no_grad():
            got = core.attend(*qkv, backend="flex", need=need, **arguments)
            expected = core.attend(*qkv, backend="reference", need=need, **arguments)
        tolerance = {torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 2e-3}[dtype]
        answers = [(x, y) for x, y in zip(got, expected, strict=True) if y is not None]
        assert len(answers) == 1 + len(need)
        assert all(x.dtype == y.dtype for x, y in answers)
        assert_equal(*zip(*answers, strict=True), tolerance)

    def test_gradients_of_queries_keys_and_values(self):
        s = Sizes(2, 4, 6, 7, dtype=torch.float32)
        for mask, _ in mask_cases(s).values():
            for score in (scores.Dot(), scores.Cosine()):
                qkv, weights = draw(s, heads=2), s.normal(2, 4, 6, 5)
                answers = [gradients(b, qkv, None, (), weights, mask=mask, score=score) for b in ("flex", "reference")]
                assert_equal(*answers)

    def test_gradients_of_entropy(self):
        s = Sizes(1, 2, 5, 5, dtype=torch.float32)
        qkv, weights = draw(s), s.normal(1, 2, 5)
        answers = []
        for backend in ("flex", "reference"):
            entropy = core.attend(*qkv, mask=masks.Causal(), backend=backend, need=("entropy",)).entropy
            answers.append((entropy, *torch.autograd.grad((entropy * weights).sum(), qkv[:2])))
        assert_equal(*answers)

    def test_what_no_query_sees_changes_nothing(self):
        s = Sizes(2, 2, 6, 6, dtype=torch.float32)
        lengths = torch.tensor([4, 6])
        mask = masks.Window(2, 2) & masks.Padding(lengths, lengths)
        weights = s.normal(2, 2, 6, 5)
        clean = draw(s)
        strange = [x.detach().clone() for x in clean]
        for x, value in zip(strange, (torch.nan, torch.inf, torch.nan), strict=True):
            x[0, :, 4:] = value
        expected = gradients("flex", clean, None, (), weights, mask=mask)
        weights[0, :, 4:] = torch.nan  # nor does what comes back to dead rows
        out, lse, *got = gradients("flex", strange, None, (), weights.clone(), mask=mask)
        assert (out[0, :, 4:] == 0).all() and (lse[0, :, 4:] == -math.inf).all()
        assert_equal((out, lse, *got), expected)
        assert all((x[0, :, 4:] == 0).all() for x in got)

    def test_minus_infinity_in_a_bias_masks(self):
        s = Sizes(1, 2, 4, 4, dtype=torch.float32)
        qkv = draw(s)
        hidden = torch.zeros(1, 4)
        hidden[0, 2] = -torch.inf
        with torch.no_grad():
            qkv[1][0, :, 2], qkv[2][0, :, 2] = torch.nan, torch.inf
        bias, mask = biases.KeyBias(hidden), masks.Dense(hidden[:, None, None, :] == 0)
        weights = s.normal(1, 2, 4, 5)
        got = gradients("flex", qkv, None, (), weights, bias=bias, temperature=0.5)
        assert_equal(got, gradients("reference", qkv, None, (), weights, mask=mask, temperature=0.5))
        nothing = core.attend(*qkv, bias=biases.KeyBias(torch.full((1, 4), -torch.inf)), backend="flex", need=("lse",))
        assert (nothing.out == 0).all() and (nothing.lse == -math.inf).all()

    def test_who_sees_a_nan_answers_nan_and_the_others_do_not(self):
        s = Sizes(1, 1, 6, 6, dtype=torch.float32)
        qkv = [x.detach() for x in draw(s)]
        qkv[1][0, 0, 3] = torch.nan
        out = core.attend(*qkv, mask=masks.Causal(), backend="flex")
        expected = core.attend(*qkv, mask=masks.Causal(), backend="reference")
        assert out.isnan().any(dim=-1)[0, 0].tolist() == [False, False, False, True, True, True]
        assert_equal([out], [expected])

    def test_autocast(self):
        s = Sizes(1, 2, 5, 5, dtype=torch.float32)
        qkv, bias = draw(s), biases.Alibi(torch.tensor([0.5, 1.0]))
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            got, expected = (core.attend(*qkv, bias=bias, backend=b, need=("lse",)) for b in ("flex", "reference"))
        assert got.out.dtype == torch.bfloat16 and got.lse.dtype == torch.float32
        assert_equal(got[:2], expected[:2], 2e-2)


@pytest.mark.usefixtures("on_the_cpu")
@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile", "ignore:The .grad attribute")
class TestLearned:
    """Through Dynamo, which finds what the functions capture, as on a GPU; then the eager definition computes."""

    @pytest.mark.parametrize("name", LEARNED)
    def test_gradients(self, monkeypatch, name):
        monkeypatch.setattr(torch_flex, "_FLEX_ATTENTION_DISABLE_COMPILE_DEBUG", False, raising=False)
        graphs = record_joint_graphs(monkeypatch)
        s = Sizes(2, 2, 5, 6, seed=4, dtype=torch.float32)
        build, learnable, _ = bias_cases(s)[name]
        learned = (*learnable, torch.tensor([0.5, 2.0]))
        arguments = {"mask": mask_cases(s)["causal and padding"][0], "score": scores.Gaussian()}
        qkv, weights = draw(s), s.normal(2, 2, 5, 5)

        def both(*t):
            return {"bias": build(*t[:-1]), "temperature": t[-1]}

        answers = [gradients(b, qkv, both, learned, weights, **arguments) for b in ("flex", "reference")]
        assert_equal(*answers)
        assert graphs
        for graph in graphs:
            assert_inlines(graph)

    def test_half_precision_learns_what_all_rows_share(self, monkeypatch):
        monkeypatch.setattr(torch_flex, "_FLEX_ATTENTION_DISABLE_COMPILE_DEBUG", False, raising=False)
        s = Sizes(1, 2, 200, 200, dtype=torch.float32)
        qkv, weights = draw(s, dtype=torch.bfloat16), s.normal(1, 2, 200, 5)
        times, learned = s.normal(1, 200).cumsum(dim=1), [torch.tensor([0.1, 0.2]), torch.tensor([0.5, 2.0])]

        def both(rate, temperature):
            return {"bias": biases.TimeDecay(times, rate), "temperature": temperature}

        got, expected = (gradients(b, qkv, both, learned, weights, mask=masks.Causal()) for b in ("flex", "reference"))
        assert [x.dtype for x in got] == [x.dtype for x in expected]
        assert_equal(got[-2:], expected[-2:], 1e-4)

    def test_compiles_once_for_a_structure_whatever_its_values(self, monkeypatch):
        compiled = []

        def compile(f, **options):
            assert options == {"fullgraph": True, "dynamic": False}
            compiled.append(f.__name__)
            return f

        monkeypatch.setattr(torch, "compile", compile)
        monkeypatch.setattr(flex, "MOST_KERNELS", 3)
        flex._kernels.clear()

        def kernel(L=4, length=3, slope=1.0, window=2, learns=False):
            q = torch.zeros(1, 1, L, 4)
            mask = masks.Window(window, 0) & masks.Padding(torch.tensor([length]))
            bias = biases.Alibi(torch.tensor(slope, requires_grad=learns))
            return KERNEL(problem(q, q, q, mask=mask, bias=bias))

        first = kernel()
        assert kernel(length=4, slope=2.0) is first
        others = [kernel(L=5), kernel(window=1), kernel(learns=True)]
        assert len({first, *others}) == 4 == len(set(compiled))
        assert len(flex._kernels) == 3
        assert kernel() is not first  # used longest ago
        flex._kernels.clear()

    def test_in_one_graph_of_a_compiled_function(self):
        s = Sizes(2, 2, 5, 6, dtype=torch.float32)
        build, learnable, _ = bias_cases(s)["sum"]
        qkv, mask = draw(s), masks.Causal() & masks.Padding(torch.tensor([3, 6]))

        def f(q, k, v, *learned):
            return core.attend(q, k, v, mask=mask, bias=build(*learned), backend="flex")

        with torch.no_grad():
            got = torch.compile(f, backend="eager", fullgraph=True)(*qkv, *learnable)
            assert_equal([got], [core.attend(*qkv, mask=mask, bias=build(*learnable), backend="reference")])


class TestPlan:
    def reasons(self, q=None, v=None, **arguments):
        q = torch.zeros(1, 2, 4, 4) if q is None else q
        return flex.Flex().not_supported_reasons(problem(q, q, q if v is None else v, **arguments))

    def test_on_the_cpu_it_never_serves(self):
        assert self.reasons() == ["torch trains flex_attention on CUDA alone"]
        assert core.plan(*[torch.zeros(1, 2, 4, 4)] * 3, bias=biases.Alibi(1.0)).backend != "flex"

    def test_refusals(self, monkeypatch):
        monkeypatch.setattr(flex, "DEVICES", ("cpu",))
        assert self.reasons() == []
        assert self.reasons(torch.zeros(1, 2, 4, 4).double()) == ["float64: the kernel computes in float32"]
        assert self.reasons(dropout_p=0.1) == ["dropout: the kernel has none"]
        assert self.reasons(need=("weights",)) == ["the kernel does not answer weights"]
        assert self.reasons(need=("entropy", "lse")) == []
        assert "mean of a bias" in self.reasons(need=("entropy",), bias=biases.Alibi(1.0))[0]
        assert "half precision" in self.reasons(torch.zeros(1, 2, 4, 4).half(), need=("entropy",))[0]
        assert "no queries" in self.reasons(torch.zeros(0, 2, 4, 4))[0]
        assert "256" in self.reasons(torch.zeros(1, 2, 4, 257))[0]

    def test_export_is_refused(self, monkeypatch):
        monkeypatch.setattr(flex, "DEVICES", ("cpu",))
        found = []

        class Model(torch.nn.Module):
            def forward(self, q):
                found.extend(flex.Flex().not_supported_reasons(problem(q, q, q)))
                return q + 1

        torch.export.export(Model(), (torch.zeros(1, 2, 4, 4),), strict=False)
        assert found == ["torch.export: other runtimes do not know the kernel"]

    def test_tables_of_all_pairs_are_refused_where_they_are_large(self, monkeypatch):
        monkeypatch.setattr(flex, "DEVICES", ("cpu",))
        monkeypatch.setattr(flex, "TABLE_BYTES", 4 * 2 * 4 * 4)
        edges = torch.tensor([[0, 1], [1, 2]])
        assert self.reasons(mask=masks.Edges(edges)) == []
        assert self.reasons(bias=biases.EdgeBias(edges, torch.ones(2, 2))) == []
        q = torch.zeros(1, 2, 12, 4)
        assert "'gathered'" in self.reasons(q, mask=masks.Causal() | masks.Edges(edges))[0]
        assert "EdgeBias" in self.reasons(q, bias=biases.EdgeBias(edges, torch.ones(2)) + biases.Alibi(1.0))[0]
        assert "Neighbours" in self.reasons(q, mask=masks.Neighbours(torch.zeros(12, 1, dtype=torch.long)))[0]

    def test_a_mask_of_another_package_is_read_from_a_table(self, monkeypatch):
        @node
        class Parity(masks.Mask):
            def block(self, part):
                return (part.offsets() % 2 == 0)[None, None]

        mod = (Parity() | masks.Window(1, 1)).elementwise(Places(1, 1, 4, 6, torch.device("cpu")))
        s = Sizes(1, 1, 4, 6)
        expected = s.dense(lambda b, h, i, j: (j - i - 2) % 2 == 0 or abs(j - i - 2) <= 1)
        assert torch.equal(everywhere(mod, s), expected.bool())

    def test_cost_counts_the_blocks_that_are_left(self):
        q = torch.empty(1, 1, 4096, 64, device="meta")

        def cells(mask):
            return flex.Flex().cost(problem(q, q, q, mask=mask)).cells / 4096**2

        assert cells(None) == 1.0
        assert 0.5 < cells(masks.Causal()) < 0.52
        assert cells(masks.Causal() & masks.Window(127, 0)) == pytest.approx((127 + 256) / 4096, rel=1e-3)
        assert cells(masks.Causal() | masks.Window(127, 0)) < 0.62
        assert cells(~masks.Causal()) == 1.0
        cost = flex.Flex().cost(problem(q, q, q, bias=biases.Alibi(1.0)))
        assert cost.is_linear and cost.route == "flex"
