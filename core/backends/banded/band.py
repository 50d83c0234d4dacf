"""The band of a mask: bounds on j - i that its structure guarantees, and the tiles that cover just that.

    allowed(i, j)  =>  low <= j - i <= high and j - i is a multiple of step, or i or j is a global position

where i counts over the keys (the last query stands at the last key). The mask itself is still applied inside.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from ...masks import Mask
from ...symbols import Part
from ...tiles import TileSize

TILE = TileSize(rows=128, cols=1024, cells=1 << 20)
GAP = 32  # global keys that lie closer than this share a tile


class Band(NamedTuple):
    """Bounds of j - i, both included and multiples of `step`, and the global positions, (n,) or (B, n) each."""

    low: int
    high: int
    step: int = 1
    everywhere: tuple[Tensor, ...] = ()

    @property
    def width(self) -> int:
        """How many keys a query sees at most, global ones aside."""
        return (self.high - self.low) // self.step + 1


def band_of(mask: Mask | None) -> Band | None:
    """Answer the band that the symbolic structure of a mask guarantees; None where there is none on both sides."""
    if mask is None:
        return None
    found = mask.bounds()
    if found.low > found.high:
        return Band(0, 0, 1, found.everywhere)
    if math.isinf(found.low) or math.isinf(found.high):
        return None
    step = max(found.step, 1)
    low, high = -(-found.low // step) * step, found.high // step * step
    return Band(int(low), int(max(low, high)), step, found.everywhere)


def global_positions(band: Band, B: int) -> list[list[int]]:
    """Answer the global positions of each item, ascending, each once."""
    found: list[set[int]] = [set() for _ in range(B)]
    for index in band.everywhere:
        rows = index.tolist() if index.ndim == 2 else [index.tolist()] * B
        for chosen, row in zip(found, rows, strict=True):
            chosen.update(g for g in row if g >= 0)
    return [sorted(chosen) for chosen in found]


@dataclass(frozen=True)
class BandCut:
    """The tiles that hold a band: for each row tile the keys in reach of it, and the global keys beyond.

    Global queries stand in row tiles of their own, which go over all keys. Rows and keys of a tile go in steps of the
    band, so that a dilated mask meets no key between its steps.

    Args:
        band: Where the mask may allow anything.
        everywhere: The global positions of each item, ascending.
        tile: The size of the tiles; None is the one that the backend takes.
    """

    band: Band
    everywhere: Sequence[Sequence[int]]
    tile: TileSize | None = None

    columns_repeat = False  # as `core.tiles.Cut` has it: row tiles have columns of their own

    def size(self, whole: Part) -> tuple[int, int, int]:
        """Answer how many items, rows and columns a tile has at most."""
        step, tile = self.band.step, self.tile or TILE
        rows = max(1, min(tile.rows, -(-whole.Lq // step)))
        cols = max(1, min(tile.cols, rows - 1 + self.band.width, whole.Lk))
        alike = all(chosen == self.everywhere[0] for chosen in self.everywhere)
        items = min(tile.cells // max(1, whole.H * rows * cols), whole.B) if alike else 1
        return max(1, items), rows, cols

    def row_parts(self, whole: Part) -> Iterator[Part]:
        """Go through the row tiles, each with all of its keys."""
        items, size, _ = self.size(whole)
        shift, step = whole.Lk - whole.Lq, self.band.step
        for b in range(0, whole.B, items):
            part = whole._replace(items=slice(b, min(b + items, whole.B)))
            chosen = [g - shift for g in self.everywhere[b] if g >= shift]
            for run in _runs(chosen, 1, size):
                yield part._replace(rows=run)
            for first in range(min(step, whole.Lq)):
                start = first
                for stop in (*(i for i in chosen if i % step == first), whole.Lq):
                    for i in range(start, stop, size * step):
                        yield part._replace(rows=slice(i, min(i + size * step, stop), step))
                    start = stop + step

    def cols(self, rows: Part) -> Iterator[slice]:
        """Go through the keys of a row tile, tile by tile."""
        _, size, most = self.size(rows)
        chosen = self.everywhere[rows.items.start]
        first = rows.rows.start + rows.Lk - rows.Lq
        if first in chosen:
            yield from _cuts(0, rows.Lk, 1, max(1, size * most // rows.n_rows))
            return
        reach = reach_of(self.band, first, rows.n_rows, rows.Lk)
        yield from _cuts(reach.start, reach.stop, reach.step, most)
        beyond = [[g for g in chosen if g < reach.start], [g for g in chosen if g >= reach.stop]]
        if reach.step > 1:  # what lies between the steps shares no slice with its neighbours
            beyond = [[g] for g in chosen if g not in reach]
        for places in beyond:
            for run in _runs(places, GAP, most):
                yield slice(run.start, run.stop, reach.step)


def reach_of(band: Band, first: int, rows: int, Lk: int) -> range:
    """Answer the keys in the band of `rows` queries, in steps of the band, the first of which stands at `first`."""
    start = first + band.low
    start = start if start >= 0 else start % band.step
    return range(start, max(start, min(first + (rows - 1) * band.step + band.high + 1, Lk)), band.step)


def _cuts(start: int, stop: int, step: int, size: int) -> Iterator[slice]:
    for j in range(start, stop, size * step):
        yield slice(j, min(j + size * step, stop), step)


def _runs(places: Iterable[int], gap: int, most: int) -> Iterator[slice]:
    """Join ascending places at most `gap` apart into slices of at most `most` places."""
    start = stop = None
    for place in places:
        if start is not None and stop is not None and (place - stop >= gap or place - start >= most):
            yield slice(start, stop)
            start = None
        start, stop = place if start is None else start, place + 1
    if start is not None:
        yield slice(start, stop)
