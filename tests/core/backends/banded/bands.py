"""Masks that have a band, and what cuts it small, so that short sequences have many blocks and tiles."""

import torch
from hypothesis import strategies as st

from core import masks
from core.backends.banded import band
from core.backends.banded import blocks as band_blocks
from core.tiles import tiles

from ...cases import Sizes

GLOBAL = masks.Global(torch.tensor([0, 3]))


def masks_with_a_band(s: Sizes) -> list[masks.Mask]:
    shared, own, keep = s.integers(-1, s.Lk, 2), s.integers(-1, s.Lk, s.B, 3), s.integers(0, 2, s.B, s.Lk).bool()
    lengths, q_lengths = s.integers(0, s.Lk + 1, s.B), s.integers(0, s.Lq + 1, s.B)
    window, everyone = masks.Window(2, 1), masks.Global(shared)
    found = [
        window,
        masks.Dilated(2, 1, 3),
        masks.Causal() & masks.Window(4, 2),
        masks.Window(5, 5) & ~masks.Causal(),
        masks.Dilated(1, 1, 4) | masks.Window(1, 0),
        masks.Window(3, 0) & masks.Padding(lengths, q_lengths),
        masks.Dilated(2, 2, 2) & masks.Padding(keep),
        masks.Window(4, 4) & masks.Edges(torch.stack([s.integers(0, s.Lk, 30), s.integers(0, s.Lq, 30)])),
        masks.Window(4, 4) & masks.Dense(s.integers(0, 2, 1, s.H, s.Lq, s.Lk).bool()),
        everyone,
        window | everyone,
        window & ~everyone,
        (window | everyone) & masks.Padding(lengths),
        (masks.Dilated(1, 2, 2) | masks.Global(own)) & masks.Causal(),
        masks.Dilated(1, 2, 3) | masks.Global(own) | everyone,
    ]
    if s.Lq <= s.Lk:
        found.append(masks.Window(4, 4) & masks.Segments(s.integers(0, 2, s.B, s.Lk)))
    return found


MASKS = st.integers(0, len(masks_with_a_band(Sizes(1, 1, 2, 2))) - 1)
SIZES = st.tuples(st.integers(0, 2), st.sampled_from([1, 2]), st.integers(1, 21), st.integers(1, 21))
SMALL = st.tuples(st.integers(1, 5), st.integers(1, 6), st.sampled_from([1, 300, 1 << 20]))


class small:
    """Blocks of a few queries and tiles of a few pairs, so that short sequences have many."""

    def __init__(self, rows, cols, cells):
        self.wanted = rows, cells, tiles.TileSize(rows, cols, cells), 2

    def __enter__(self):
        self.old = band_blocks.ROWS, band_blocks.CELLS, band.TILE, band.GAP
        band_blocks.ROWS, band_blocks.CELLS, band.TILE, band.GAP = self.wanted

    def __exit__(self, *_):
        band_blocks.ROWS, band_blocks.CELLS, band.TILE, band.GAP = self.old
