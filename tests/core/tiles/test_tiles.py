"""A problem cut into tiles: which there are, which are visited, and the logits of each, by hand."""

import math

import pytest
import torch

import core
from core import biases, masks
from core.engine import pose
from core.symbols import Part
from core.tiles import Grid, TileSize, tiles

NOTHING = {"mask": None, "bias": None, "score": core.scores.Dot(), "scale": None, "temperature": 1.0}


@pytest.fixture
def tile(monkeypatch):
    def use(rows, cols, cells=1 << 20):
        monkeypatch.setattr(tiles, "TILE", TileSize(rows, cols, cells))

    return use


def work_of(q, k, v, **arguments):
    return tiles.Work.of(pose(q, k, v, **{**NOTHING, "dropout_p": 0.0, "need": (), **arguments}), None)


def visited(work, q, k):
    """Every tile that is visited: its part, and a copy of its logits, whose memory the next one takes."""
    tiler = tiles.Tiler(work, Grid(), q, k)
    for rows in tiler.row_parts():
        for one in tiler.tiles(rows, tiler.by_query(q, rows)):
            yield one.part, one.logits.clone()


def test_a_grid_by_hand(tile):
    """5 queries in rows of 2, 7 keys in columns of 4; two items fit 32 weights: 2 heads of 2 x 4 each take 16."""
    tile(2, 4, cells=32)
    whole = Part.whole(3, 2, 5, 7, torch.device("cpu"))
    grid = Grid()
    assert grid.size(whole) == (2, 2, 4)
    rows = list(grid.row_parts(whole))
    items, steps = [slice(0, 2), slice(2, 3)], [slice(0, 2), slice(2, 4), slice(4, 5)]
    assert [(part.items, part.rows) for part in rows] == [(item, step) for item in items for step in steps]
    assert all(list(grid.cols(part)) == [slice(0, 4), slice(4, 7)] for part in rows)


def test_a_tile_is_no_larger_than_the_problem_and_has_an_item_at_least(tile):
    tile(256, 1024, cells=1)
    assert Grid().size(Part.whole(3, 8, 5, 7, torch.device("cpu"))) == (1, 5, 7)
    assert Grid().size(Part.whole(0, 8, 0, 0, torch.device("cpu"))) == (1, 1, 1)


@pytest.mark.parametrize(
    ("mask", "number"),
    [
        (None, 16),
        (masks.Causal(), 10),
        (masks.Window(1, 1), 10),
        (masks.Window(0, 0), 4),
        (masks.Segments(torch.tensor([[0] * 8 + [1] * 8])), 8),
        (masks.Padding(torch.tensor([5]), torch.tensor([5])), 4),
        (masks.Causal() & masks.Padding(torch.tensor([5]), torch.tensor([5])), 3),
        (masks.Edges(torch.tensor([[0, 15], [0, 0]])), 2),
    ],
    ids=str,
)
def test_empty_tiles_are_not_visited(tile, mask, number):
    tile(4, 4)
    x = torch.randn(1, 2, 16, 4)
    assert sum(1 for _ in visited(work_of(x, x, x, mask=mask), x, x)) == number


def test_the_logits_of_each_tile_by_hand(tile):
    """q_i k_j + bias / T in base 2, -inf where masked: q = (1, 2), k = (1, 10, 100), -|i + 1 - j| / 2, causal."""
    tile(2, 2)
    q = torch.tensor([1.0, 2.0], dtype=torch.float64).view(1, 1, 2, 1)
    k = torch.tensor([1.0, 10.0, 100.0], dtype=torch.float64).view(1, 1, 3, 1)
    work = work_of(q, k, k, mask=masks.Causal(), bias=biases.Alibi(1.0), temperature=2.0)
    (left, first), (right, second) = visited(work, q * tiles.LOG2E, k)
    assert (left.cols, right.cols) == (slice(0, 2), slice(2, 3))
    expected = torch.tensor([[1 - 0.5, 10.0], [2 - 1, 20 - 0.5]], dtype=torch.float64)
    torch.testing.assert_close(first[0, 0] / tiles.LOG2E, expected)
    assert second[0, 0].flatten().tolist() == [-math.inf, pytest.approx(200 * tiles.LOG2E)]


def test_what_is_learned_is_taken_apart_from_its_graph():
    x = torch.zeros(1, 1, 2, 1)
    slopes = torch.ones(1, requires_grad=True)
    work = work_of(x, x, x, bias=biases.Alibi(2 * slopes) + biases.Alibi(0.5))
    (learned,) = work.learned
    assert learned.grad_fn is not None and not work.isolate
    assert all(own.is_leaf for bias in work.biases for _, own in bias.tensors())
