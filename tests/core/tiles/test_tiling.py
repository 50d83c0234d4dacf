"""Passes over tiles: attention, means under its weights, and sums over row tiles for the keys, by hand."""

import math

import pytest
import torch

import core
from core import biases, masks
from core.engine import pose
from core.symbols import Part
from core.tiles import Grid, TileSize, attend_by_tiles, expect_by_tiles, tiles
from core.tiles.tiling import KeyGradient

NEED = ("lse", "entropy")


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch):
    monkeypatch.setattr(tiles, "TILE", TileSize(2, 2, 1 << 20))


def problem(v, mask=None):
    """Queries of 0 see every key alike."""
    q, k = torch.zeros(1, 1, 3, 2, dtype=torch.float64), torch.zeros(1, 1, v.shape[2], 2, dtype=torch.float64)
    arguments = {"bias": None, "score": core.scores.Dot(), "scale": None, "temperature": 1.0, "dropout_p": 0.0}
    return pose(q, k, v, mask=mask, need=NEED, **arguments)


def test_means_over_several_tiles_by_hand():
    """Row i of 3 sees keys 0 to i + 2 of 5, all with values of 10^j."""
    v = 10.0 ** torch.arange(5, dtype=torch.float64).view(1, 1, 5, 1)
    got = attend_by_tiles(problem(v, masks.Causal()), None, Grid())
    assert got.out.flatten().tolist() == pytest.approx([111 / 3, 1111 / 4, 11111 / 5])
    assert got.lse.flatten().tolist() == pytest.approx([math.log(3), math.log(4), math.log(5)])
    assert got.entropy.flatten().tolist() == pytest.approx([math.log(3), math.log(4), math.log(5)])


def test_a_pair_in_no_tile_counts_as_masked():
    """A cut without the last tile of keys: the mean of 1, 10, 100 and 1000, whatever the fifth key holds."""

    class Most(Grid):
        def cols(self, rows):
            yield from list(super().cols(rows))[:-1]

    v = 10.0 ** torch.arange(5, dtype=torch.float64).view(1, 1, 5, 1)
    v[0, 0, 4] = torch.nan
    got = attend_by_tiles(problem(v), None, Most())
    assert got.out.flatten().tolist() == pytest.approx([1111 / 4] * 3)


def test_expectations_by_hand():
    """The last query of 3 stands at key 4: |i + 2 - j| is 2, 1, 0, ... from key 0; row 0 sees three keys."""
    p, lse = problem(torch.zeros(1, 1, 5, 1).double(), masks.Causal()), torch.tensor([3.0, 4.0, 5.0]).double().log()
    distance = expect_by_tiles(p, lse.view(1, 1, 3), biases.Alibi(1.0), Grid())
    assert distance.flatten().tolist() == pytest.approx([-3 / 3, -6 / 4, -10 / 5])
    near = expect_by_tiles(p, lse.view(1, 1, 3), masks.Window(1, 0), Grid())
    assert near.flatten().tolist() == pytest.approx([2 / 3, 2 / 4, 2 / 5])


def test_the_expectation_of_a_dead_row_is_zero():
    p = problem(torch.zeros(1, 1, 5, 1).double(), masks.Padding(torch.tensor([0])))
    dead = torch.full((1, 1, 3), -torch.inf, dtype=torch.float64)
    assert expect_by_tiles(p, dead, biases.Alibi(1.0), Grid()).flatten().tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("repeat", [True, False])
def test_sums_for_the_keys_by_hand(repeat):
    """Two items one after the other, of 3 keys in columns of 2 and 1, each from two row tiles: sum_i w_ij x_i."""

    class Cut(Grid):
        columns_repeat = repeat

    x = torch.tensor([[1.0, 10.0], [100.0, 1000.0], [5.0, 7.0]])
    weights = torch.tensor([[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [0.0, 1.0, 0.0]], [[1.0, 0.0, 0.0]] * 3])
    total = KeyGradient(torch.zeros(2, 1, 3, 2), Cut())
    whole = Part.whole(2, 1, 3, 3, torch.device("cpu"))
    for b in range(2):
        for rows in (slice(0, 2), slice(2, 3)):
            for cols in (slice(0, 2), slice(2, 3)):
                part = whole._replace(items=slice(b, b + 1), rows=rows, cols=cols)
                total.add(part, x[None, rows], weights[None, b, rows, cols])
    first = [[401.0, 4010.0], [507.0, 5027.0], [603.0, 6030.0]]
    assert total.total().tolist() == [[first], [[[106.0, 1017.0], [0.0, 0.0], [0.0, 0.0]]]]
