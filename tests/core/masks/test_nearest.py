"""Neighbours by other distances than the Euclidean one: p-norms, functions, matrices of distances."""

import math

import pytest
import torch

from core.masks import Neighbours


def slowly(distance, L, k, include_self):
    """The k nearest by sorting tuples, point by point; itself first, or not at all."""
    rows = []
    for i in range(L):
        others = sorted((distance(i, j), j) for j in range(L) if j != i)
        chosen = [j for d, j in others if d < math.inf]
        rows.append((([i] if include_self else []) + chosen + [-1] * k)[:k])
    return rows


@pytest.mark.parametrize("include_self", [True, False])
@pytest.mark.parametrize("p", [0.5, 1, 2, 3.0, math.inf])
def test_p_norms(p, include_self):
    x = torch.randn(2, 17, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    index = Neighbours.from_positions(x, 4, include_self, metric=p).index

    def distance(b):
        def f(i, j):
            apart = [abs(s - t) for s, t in zip(x[b, i].tolist(), x[b, j].tolist(), strict=True)]
            return max(apart) if p == math.inf else sum(d**p for d in apart) ** (1 / p)

        return f

    assert index.tolist() == [slowly(distance(b), 17, 4, include_self) for b in range(2)]


def test_norms_differ_where_they_should():
    """From the origin (3, 3) is nearer than (0, 5) by the Euclidean norm, (0, 5) by Manhattan's."""
    x = torch.tensor([[0.0, 0.0], [3.0, 3.0], [0.0, 5.0]])
    first = {p: int(Neighbours.from_positions(x, 1, False, metric=p).index[0, 0]) for p in (1, 2, math.inf)}
    assert first == {1: 2, 2: 1, math.inf: 1}


@pytest.mark.parametrize("include_self", [True, False])
def test_a_function_is_given_x_as_it_is(include_self):
    """Hamming distance of words, which stay integers; ties go to the lower index, in blocks of any size."""
    words = torch.randint(0, 3, (15, 6), generator=torch.Generator().manual_seed(0))
    seen = []

    def hamming(rows, x):
        seen.append((rows.dtype, tuple(rows.shape), tuple(x.shape)))
        return (rows[..., :, None, :] != x[..., None, :, :]).sum(dim=-1)

    expected = slowly(lambda i, j: int((words[i] != words[j]).sum()), 15, 5, include_self)
    for block in (1, 4, 15, 100):
        assert Neighbours.from_positions(words, 5, include_self, metric=hamming, block=block).index.tolist() == expected
    assert seen[0] == (torch.int64, (1, 6), (15, 6))
    batch = torch.stack([words, words.flip(0)])
    index = Neighbours.from_positions(batch, 5, include_self, metric=hamming).index
    assert index[0].tolist() == expected


def test_great_circles():
    """Places at longitude 0, 170 and -170 degrees: across the date line two are 20 degrees apart, by chord or arc."""
    longitude = torch.tensor([[0.0], [170.0], [-170.0]])

    def arc(rows, x):
        apart = (rows[:, None, 0] - x[None, :, 0]).abs()
        return torch.minimum(apart, 360 - apart)

    assert Neighbours.from_positions(longitude, 1, False, metric=arc).index.tolist() == [[1], [2], [1]]
    assert Neighbours.from_positions(longitude, 1, False).index.tolist() == [[1], [0], [0]]


@pytest.mark.parametrize("include_self", [True, False])
def test_from_distances(include_self):
    g = torch.Generator().manual_seed(1)
    distances = torch.randint(0, 6, (2, 12, 12), generator=g).double()  # many ties, not symmetric, self not nearest
    distances[0, 3, 5:] = torch.inf
    distances[1, :, 7] = torch.nan
    index = Neighbours.from_distances(distances, 8, include_self).index

    def entry(b):
        return lambda i, j: math.inf if distances[b, i, j].isnan() else float(distances[b, i, j])

    assert index.tolist() == [slowly(entry(b), 12, 8, include_self) for b in range(2)]
    assert (index[0, 3] == -1).sum() == (4 if not include_self else 3)
    assert torch.equal(Neighbours.from_distances(distances[0], 8, include_self).index, index[0])
    integers = torch.randint(0, 6, (7, 7), generator=g)
    assert torch.equal(
        Neighbours.from_distances(integers, 3).index, Neighbours.from_distances(integers.double(), 3).index
    )


def test_points_that_are_not_real():
    distances = torch.tensor([[0.0, 1.0, 2.0], [1.0, 0.0, 3.0], [2.0, 3.0, 0.0]])
    keep = torch.tensor([True, False, True])
    assert Neighbours.from_distances(distances, 2, keep=keep).index.tolist() == [[0, 2], [-1, -1], [2, 0]]
    assert Neighbours.from_distances(distances, 2, False, keep=keep).index.tolist() == [[2, -1], [-1, -1], [0, -1]]
    assert not Neighbours.from_distances(distances.requires_grad_(), 2).index.requires_grad


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: Neighbours.from_positions(torch.zeros(4, 2), 2, metric=-1.0),
            "metric: expected a function or.*got -1.0",
        ),
        (
            lambda: Neighbours.from_positions(torch.zeros(4, 2), 2, metric=lambda rows, x: rows),
            r"metric\(rows, x\): expected \(4, 4\), got shape \(4, 2\)",
        ),
        (lambda: Neighbours.from_distances(torch.zeros(4, 3), 2), r"distances: expected \(L, L\).*got shape \(4, 3\)"),
        (lambda: Neighbours.from_distances(torch.zeros(4, 4), 4, False), "k: expected 1 to 3 for L=4.*got 4"),
        (
            lambda: Neighbours.from_distances(torch.zeros(4, 4), 2, keep=torch.ones(3, dtype=torch.bool)),
            r"keep: expected \(4,\).*got shape \(3,\)",
        ),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
