"""Masks against definitions written pair by pair, and the rules that they keep."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from core import masks

from ..cases import Sizes, mask_cases

SIZES = [(2, 3, 4, 4), (2, 2, 3, 7), (1, 1, 1, 1), (2, 1, 6, 4), (0, 2, 3, 3), (1, 2, 1, 5)]


@pytest.mark.parametrize(("sizes", "name"), [(sizes, name) for sizes in SIZES for name in mask_cases(Sizes(*sizes))])
def test_dense_formula(name, sizes):
    s = Sizes(*sizes)
    mask, allowed = mask_cases(s)[name]
    got = mask.materialize(*sizes)
    assert got.dtype == torch.bool
    assert got.ndim == 4
    assert torch.equal(got.expand(sizes), s.dense(allowed).bool())


@given(
    st.tuples(st.integers(0, 2), st.integers(1, 2), st.integers(1, 6), st.integers(1, 6)),
    st.integers(0, 10**6),
    st.data(),
)
def test_de_morgan_and_order(sizes, seed, data):
    s = Sizes(*sizes, seed=seed)
    patterns = [m for m, _ in mask_cases(s).values() if not any(leaf.is_padding for leaf in m.leaves())]
    a, b = data.draw(st.sampled_from(patterns)), data.draw(st.sampled_from(patterns))
    dense = [m.materialize(*sizes).expand(sizes) for m in (a & b, b & a, ~(~a | ~b), a, b)]
    assert torch.equal(dense[0], dense[1])
    assert torch.equal(dense[0], dense[2])
    assert torch.equal(dense[0], dense[3] & dense[4])


def test_polarity_is_sdpa_s():
    assert masks.Causal().materialize(1, 1, 2, 2)[0, 0].tolist() == [[True, False], [True, True]]


def test_last_query_is_aligned_with_last_key():
    assert masks.Causal().materialize(1, 1, 2, 4)[0, 0].tolist() == [[True] * 3 + [False], [True] * 4]
    assert masks.Causal().materialize(1, 1, 3, 1)[0, 0].tolist() == [[False], [False], [True]]


class TestPadding:
    lengths = torch.tensor([1, 2])

    def test_lengths_equal_keep(self):
        keep = torch.tensor([[True, False, False], [True, True, False]])
        for Lq in (1, 3):
            assert torch.equal(
                masks.Padding(self.lengths).materialize(2, 1, Lq, 3), masks.Padding(keep).materialize(2, 1, Lq, 3)
            )

    @pytest.mark.parametrize(
        "build",
        [
            lambda p: masks.Causal() | p,
            lambda p: p | masks.Causal(),
            lambda p: ~p,
            lambda p: ~(p & masks.Causal()),
            lambda p: masks.Window(1, 1) | (masks.Causal() & p),
        ],
    )
    def test_refused_under_or_and_not(self, build):
        with pytest.raises(ValueError, match=r"mask: expected \(pattern\) & Padding.*got Padding under [|~]"):
            build(masks.Padding(self.lengths))

    def test_split(self):
        padding, causal, window = masks.Padding(self.lengths), masks.Causal(), masks.Window(1, 1)
        assert masks.split(None) == (None, None)
        assert masks.split(causal) == (causal, None)
        assert masks.split(padding) == (None, padding)
        pattern, found = masks.split(causal & padding & window)
        assert found is padding
        assert torch.equal(pattern.materialize(2, 1, 3, 3), (causal & window).materialize(2, 1, 3, 3))

    @pytest.mark.parametrize("a_form", ["lengths", "keep"])
    @pytest.mark.parametrize("b_form", ["lengths", "keep"])
    @pytest.mark.parametrize("queries", ["neither", "a", "b", "both", "self"])
    def test_two_paddings_keep_what_both_keep(self, a_form, b_form, queries):
        forms = {"lengths": [torch.tensor([1, 3]), torch.tensor([2, 2])], "keep": list(torch.rand(2, 2, 3) > 0.3)}
        a_keys, b_keys = forms[a_form][0], forms[b_form][1]
        rows = forms["lengths"]
        a = masks.Padding(a_keys, {"a": rows[1], "both": rows[1], "self": a_keys}.get(queries))
        b = masks.Padding(b_keys, {"b": rows[0], "both": rows[0], "self": b_keys}.get(queries))
        _, merged = masks.split(a & masks.Causal() & b)
        expected = a.materialize(2, 1, 3, 3) & b.materialize(2, 1, 3, 3)
        assert torch.equal(merged.materialize(2, 1, 3, 3).expand(2, 1, 3, 3), expected.expand(2, 1, 3, 3))
        if queries == "self":
            assert merged.queries is merged.keys

    def test_keep(self):
        padding = masks.Padding(self.lengths, torch.tensor([2, 0]))
        assert padding.keep_keys(3).tolist() == [[True, False, False], [True, True, False]]
        assert padding.keep_queries(2).tolist() == [[True, True], [False, False]]
        assert masks.Padding(self.lengths).keep_queries(2) is None


class TestNeighbours:
    line = torch.tensor([[0.0], [1.0], [3.0], [3.0], [10.0]])

    def test_with_and_without_self(self):
        assert masks.Neighbours.from_positions(self.line, 2).index.tolist() == [[0, 1], [1, 0], [2, 3], [3, 2], [4, 2]]
        assert masks.Neighbours.from_positions(self.line, 2, include_self=False).index.tolist() == [
            [1, 2],  # distances 1, 3, 3, 10: the tie goes to the lower index
            [0, 2],
            [3, 1],
            [2, 1],
            [2, 3],
        ]

    def test_self_is_first_among_coincident_points(self):
        index = masks.Neighbours.from_positions(torch.zeros(4, 3), 2).index
        assert index.tolist() == [[0, 1], [1, 0], [2, 0], [3, 0]]

    def test_blocks_change_nothing(self):
        x = torch.randn(2, 33, 3)
        whole = masks.Neighbours.from_positions(x, 5).index
        for block in (1, 7, 32, 33, 100):
            assert torch.equal(masks.Neighbours.from_positions(x, 5, block=block).index, whole)

    def test_sort_of_squared_distances(self):
        x = torch.randn(3, 20, 2, dtype=torch.float64)
        squared = (x[:, :, None] - x[:, None, :]).square().sum(-1)
        assert torch.equal(masks.Neighbours.from_positions(x, 6).index, squared.argsort(dim=-1, stable=True)[..., :6])

    def test_padded_points_are_nobody_s_neighbours(self):
        x = torch.cat([self.line, torch.full((2, 1), torch.nan)])[None]
        keep = torch.tensor([[True] * 5 + [False] * 2])
        index = masks.Neighbours.from_positions(x, 6, keep=keep).index
        assert index[0, :5, :5].sort(-1).values.tolist() == [[0, 1, 2, 3, 4]] * 5
        assert (index[0, :, 5] == -1).all()
        assert (index[0, 5:] == -1).all()

    def test_without_keep_a_point_at_nan_sees_itself_alone(self):
        index = masks.Neighbours.from_positions(torch.tensor([[0.0], [torch.nan], [1.0]]), 2).index
        assert index.tolist() == [[0, 2], [1, -1], [2, 0]]

    @pytest.mark.parametrize(("k", "include_self", "most"), [(0, True, 5), (6, True, 5), (5, False, 4)])
    def test_k_out_of_range(self, k, include_self, most):
        with pytest.raises(ValueError, match=f"k: expected 1 to {most} .*got {k}"):
            masks.Neighbours.from_positions(self.line, k, include_self)


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: masks.Padding([1, 2]), TypeError, r"Padding\.keys: expected a torch\.Tensor.*got a list"),
        (lambda: masks.Padding(torch.ones(2)), TypeError, r"Padding\.keys: expected an integ.*got torch\.float32"),
        (lambda: masks.Padding(torch.ones(2, 3).long()), TypeError, r": expected torch\.bool, got torch\.int64"),
        (
            lambda: masks.Padding(torch.ones(1, 2, 3).bool()),
            ValueError,
            r"Padding\.keys: .*got shape \(1, 2, 3\)",
        ),
        (lambda: masks.Window(-1, 2), ValueError, r"Window\.left: expected 0 or more.*got -1"),
        (lambda: masks.Dilated(1, 1, 0), ValueError, r"Dilated\.dilation: expected at least 1.*got 0"),
        (lambda: masks.Global(torch.ones(2)), TypeError, r"Global\.index: expected an integer dtype, got"),
        (lambda: masks.Edges(torch.zeros(3, 2).long()), ValueError, r"Edges\.edge_index: expected.*got shape \(3, 2\)"),
        (lambda: masks.Edges(torch.zeros(2, 2).long(), torch.zeros(3).long()), ValueError, r"Edges\.batch: expected"),
        (
            lambda: masks.Dense(torch.zeros(1, 1, 2, 2)),
            TypeError,
            r"Dense\.tensor: expected torch\.bool, got .*float32",
        ),
        (lambda: masks.Neighbours(torch.zeros(2).long()), ValueError, r"Neighbours\.index: expected.*got shape \(2,\)"),
    ],
)
def test_refused_when_made(build, error, message):
    with pytest.raises(error, match=message):
        build()


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (masks.Padding(torch.tensor([1, 5])), r"Padding\.keys: expected lengths from 0 to 4.*got 5"),
        (masks.Padding(torch.tensor([1])), r"Padding\.keys: expected \(2,\) for B=2, Lk=4.*got shape \(1,\)"),
        (
            masks.Padding(torch.tensor([1, 2]), torch.ones(2, 4).bool()),
            r"Padding\.queries: .*got shape \(2, 4\)",
        ),
        (masks.Global(torch.tensor([4])), r"Global\.index: expected positions \(or -1, unused\) from -1 to 3.*got 4"),
        (
            masks.NotAfter(torch.zeros(2, 3)),
            r"NotAfter\.key_times: expected a tensor where Lq \(3\) differs from Lk",
        ),
        (masks.NotAfter(torch.zeros(2, 4)), r"NotAfter\.times: expected \(B, Lq\) = \(2, 3\).*got shape \(2, 4\)"),
        (masks.Neighbours(torch.tensor([[0], [4], [1]])), r"Neighbours\.index: expected.*got 4"),
        (masks.Neighbours(torch.zeros(2, 1).long()), r"Neighbours\.index: expected \(3, k\).*got shape \(2, 1\)"),
        (masks.Edges(torch.tensor([[4], [0]])), r"Edges\.edge_index\[0\]: expected keys from 0 to 3.*got 4"),
        (masks.Edges(torch.tensor([[0], [3]])), r"Edges\.edge_index\[1\]: expected queries from 0 to 2.*got 3"),
        (masks.Edges(torch.tensor([[0], [0]]), torch.tensor([2])), r"Edges\.batch: expected items from 0 to 1.*got 2"),
        (masks.Edges(torch.tensor([[0], [0]]), None, torch.tensor([1])), r"Edges\.head: expected heads.*got 1"),
        (masks.Segments(torch.zeros(2, 3).long()), r"Segments\.ids: expected \(B, Lk\) = \(2, 4\).*got shape \(2, 3\)"),
        (masks.Dense(torch.ones(2, 1, 4, 4).bool()), r"masks\.Dense\.tensor: expected 4-D.*got shape \(2, 1, 4, 4\)"),
        (masks.Causal() & masks.Global(torch.tensor([7])), r"Global\.index: expected.*got 7"),
        (~masks.Global(torch.tensor([7])), r"Global\.index: expected.*got 7"),
    ],
)
def test_refused_when_used(mask, message):
    with pytest.raises(ValueError, match=message):
        mask.materialize(2, 1, 3, 4)


def test_combining_with_something_else_is_a_type_error():
    with pytest.raises(TypeError):
        masks.Causal() & torch.ones(2, 2, dtype=torch.bool)
    with pytest.raises(TypeError):
        masks.Causal() | True
