"""The band of a mask, and the blocks and tiles that cover it."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core import masks, scores
from core.backends.banded.band import Band, BandCut, band_of, global_positions
from core.backends.banded.blocks import Blocks
from core.engine import pose
from core.symbols import Part

from ...cases import Sizes, cases
from .bands import GLOBAL, MASKS, SIZES, SMALL, masks_with_a_band, small

ANY = masks.Segments(torch.zeros(1, 8, dtype=torch.int64))


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        (None, None),
        (masks.Causal(), None),
        (ANY, None),
        (~masks.Window(1, 1), None),
        (masks.Window(2, 1) | ANY, None),
        (masks.Window(2, 1), (-2, 1, 1)),
        (masks.Dilated(2, 1, 3), (-6, 3, 3)),
        (masks.Causal() & masks.Window(3, 4), (-3, 0, 1)),
        (masks.Window(3, 4) & ~masks.Causal(), (1, 4, 1)),
        (masks.Window(3, 4) & ANY, (-3, 4, 1)),
        (masks.Window(3, 4) & ~masks.Window(0, 0), (-3, 4, 1)),
        (masks.Dilated(2, 3, 4) & masks.Dilated(2, 2, 6), (0, 12, 12)),
        (masks.Dilated(3, 3, 4) & masks.Window(7, 9), (-4, 8, 4)),
        (masks.Dilated(2, 2, 4) | masks.Dilated(1, 2, 6), (-8, 12, 2)),
        (masks.Dilated(2, 2, 4) | masks.Window(1, 1), (-8, 8, 1)),
        (masks.Window(0, 0) & ~masks.Causal(), (0, 0, 1)),  # nothing at all
    ],
    ids=str,
)
def test_band_by_hand(mask, expected):
    assert band_of(mask) == (None if expected is None else Band(*expected))


def test_global_positions_are_set_apart():
    assert band_of(GLOBAL) == Band(0, 0, 1, (GLOBAL.index,))
    assert band_of((masks.Dilated(1, 1, 2) | GLOBAL) & masks.Causal()) == Band(-2, 0, 2, (GLOBAL.index,))
    assert band_of(masks.Window(1, 1) & ~GLOBAL) == Band(-1, 1)
    ragged = masks.Global(torch.tensor([[5, -1, 5], [2, 0, -1]]))
    assert global_positions(Band(0, 0, 1, (GLOBAL.index, ragged.index)), 2) == [[0, 3, 5], [0, 2, 3]]


def problem_of(s: Sizes, mask: masks.Mask):
    q, k = torch.zeros(s.B, s.H, s.Lq, 2), torch.zeros(s.B, s.H, s.Lk, 2)
    nothing = {"bias": None, "score": scores.Dot(), "scale": None, "temperature": 1.0, "dropout_p": 0.0, "need": ()}
    return pose(q, k, k, mask=mask, **nothing)


@settings(max_examples=cases(100))
@given(sizes=SIZES, tile=SMALL, choice=MASKS, seed=st.integers(0, 10**6))
def test_every_allowed_pair_lies_in_one_tile_and_in_one_block(sizes, tile, choice, seed):
    s = Sizes(*sizes, seed=seed)
    options = masks_with_a_band(s)
    p = problem_of(s, options[choice % len(options)])
    mask = p.pattern if p.padding is None else p.pattern & p.padding
    allowed = mask.materialize(s.B, s.H, s.Lq, s.Lk).expand(s.B, s.H, s.Lq, s.Lk)
    found = band_of(p.pattern)
    everywhere = global_positions(found, s.B)
    rows, tiled, blocked, claimed = (torch.zeros(s.B, s.H, s.Lq, s.Lk, dtype=torch.int64) for _ in range(4))
    with small(*tile):
        cut = BandCut(found, everywhere)
        whole = Part.whole(s.B, s.H, s.Lq, s.Lk, torch.device("cpu"))
        most = cut.size(whole)
        for part in cut.row_parts(whole):
            rows[part.items, :, part.rows] += 1
            for cols in cut.cols(part):
                place = tiled[part.items, :, part.rows, cols]
                place += 1
                assert place[:, 0].numel() <= most[0] * most[1] * most[2]
        blocks = Blocks(p, mask, found, everywhere)
        for batch in blocks.batches():
            added = blocks.added(batch).expand(batch.number, s.H, -1, -1)
            for n in range(batch.number):
                i, j = batch.block(n)
                blocked[batch.item, :, i, j] += (added[n] == 0).long()
                claimed[batch.item, :, i, j] += 1
        assert (claimed <= 1).all()
        for piece in blocks.pieces():
            blocked[piece.item][:, piece.rows[:, None], piece.cols] += (piece.added == 0).long()
    assert (rows == 1).all()
    assert (tiled <= 1).all()
    assert (tiled[allowed] == 1).all()
    assert torch.equal(blocked, allowed.long())
