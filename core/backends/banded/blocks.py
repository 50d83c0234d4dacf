"""A band cut into blocks of queries, each with its window of keys; and what global positions see beyond these.

Blocks that follow each other and look alike form a `Batch`: one call of a kernel, in which the windows of neighbouring
blocks overlap. The other pairs of global positions are listed as small dense rectangles, a `Piece` each. Every allowed
pair lies in exactly one of them.

References:
    Beltagy, Peters, Cohan: Longformer: The Long-Document Transformer. arXiv 2004.05150, sections 3.1 and 3.2.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from ...engine import Problem, by_head
from ...masks import Extent, Mask
from ...symbols import Pairs, Part
from .band import Band, reach_of

ROWS = 64  # queries of a block; twice that for wide bands
CELLS = 1 << 21  # numbers that a temporary of a batch of blocks, or of a piece, may hold


class Batch(NamedTuple):
    """Blocks of one item that follow each other: `size` queries each, whose windows of `reach` keys lie `size` apart.

    `rows` and `cols` hold all of them; sizes count steps of the band. `regular` says that mask and bias depend on
    j - i alone in each block, so that the first block's are those of all.
    """

    item: int
    rows: slice
    cols: slice
    size: int
    reach: int
    regular: bool

    @property
    def number(self) -> int:
        """Number of blocks."""
        return len(range(self.rows.start, self.rows.stop, self.rows.step)) // self.size

    def block(self, n: int) -> tuple[slice, slice]:
        """Answer the queries and the keys of one block."""
        step = self.rows.step
        i, j = (x.start + n * self.size * step for x in (self.rows, self.cols))
        return slice(i, i + (self.size - 1) * step + 1, step), slice(j, j + (self.reach - 1) * step + 1, step)

    def joined(self, other: Batch) -> Batch | None:
        """Answer this batch with the one that follows it; None if it does not follow or does not look alike."""
        rows, cols = self.block(self.number)
        follows = (rows.start, cols.start) == (other.rows.start, other.cols.start)
        alike = (self.item, *self[3:]) == (other.item, *other[3:])
        if not (follows and alike):
            return None
        step = rows.step
        return self._replace(
            rows=slice(self.rows.start, other.rows.stop, step), cols=slice(self.cols.start, other.cols.stop, step)
        )


class Piece(NamedTuple):
    """Pairs of one item that lie in no block, as a rectangle of listed queries and keys.

    Shapes:
        rows: (rows,) int64.
        cols: (cols,) int64.
        added: (H or 1, rows, cols), bias / temperature, -inf where masked or in a block.
    """

    item: int
    rows: Tensor
    cols: Tensor
    added: Tensor


@dataclass(frozen=True, eq=False)
class Blocks:
    """A problem cut into blocks and pieces.

    Args:
        problem: What to compute; its bias learns nothing.
        mask: Its pattern and padding as one.
        band: Where the mask may allow anything.
        everywhere: The global positions of each item, ascending.
    """

    problem: Problem
    mask: Mask
    band: Band
    everywhere: list[list[int]]
    memo: dict[tuple[int, ...], Tensor] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Number of queries of a block."""
        return ROWS if self.band.width <= 8 * ROWS else 2 * ROWS

    def batches(self) -> Iterator[Batch]:
        """Go through the blocks, as many at a time as look alike and fit into memory."""
        p = self.problem
        most = CELLS // (p.H * (self.size + self.band.width) * max(p.q.shape[3], p.v.shape[3]))
        waiting: Batch | None = None
        for block in self._blocks():
            longer = waiting.joined(block) if waiting is not None and waiting.number < most else None
            if waiting is not None and longer is None:
                yield waiting
            waiting = longer or block
        if waiting is not None:
            yield waiting

    def _blocks(self) -> Iterator[Batch]:
        """Go through the blocks in which the mask may allow anything, one by one."""
        p, step, by_offset = self.problem, self.band.step, self._goes_by_offset()
        for item in range(p.B):
            for first in range(min(step, p.Lq)):
                for i in range(first, p.Lq, self.size * step):
                    rows = slice(i, min(i + self.size * step, p.Lq), step)
                    n = len(range(rows.start, rows.stop, step))
                    reach = reach_of(self.band, i + p.Lk - p.Lq, n, p.Lk)
                    if not reach:
                        continue
                    part = self._part(item, rows, slice(reach.start, reach.stop, step))
                    if self.mask.extent(part) is not Extent.NOTHING:
                        regular = by_offset and self._is_regular(part)
                        yield Batch(item, part.rows, part.cols, n, len(reach), regular)

    def _part(self, item: int, rows: slice, cols: slice) -> Part:
        p = self.problem
        return Part(p.B, p.H, p.Lq, p.Lk, p.q.device, slice(item, item + 1), rows, cols)

    def _goes_by_offset(self) -> bool:
        """Whether mask and bias depend on j - i alone where there is neither padding nor a global position."""
        known = {id(index) for index in self.band.everywhere}
        biases = self.problem.bias.leaves() if self.problem.bias is not None else ()
        if not all(bias.by_offset for bias in biases):
            return False
        for leaf in self.mask.leaves():
            named = {id(index) for index in leaf.bounds().everywhere}
            if not (leaf.by_offset or leaf.is_padding or (named and named <= known)):
                return False
        return True

    def _is_regular(self, part: Part) -> bool:
        """Whether there is neither padding nor a global position in a part."""
        chosen, shift = self.everywhere[part.items.start], part.Lk - part.Lq
        spans = (part.cols.start, part.cols.stop), (part.rows.start + shift, part.rows.stop + shift)
        if any(bisect_left(chosen, start) < bisect_left(chosen, stop) for start, stop in spans):
            return False
        padding = self.problem.padding
        return padding is None or padding.extent(part) is Extent.EVERYTHING

    def added(self, batch: Batch) -> Tensor:
        """Answer what is added to the logits of each block: bias / temperature, -inf where masked.

        Shapes:
            Answer: (blocks or 1, H or 1, size, reach).
        """
        key = (batch.rows.start - batch.cols.start, batch.size, batch.reach)
        if batch.regular and key in self.memo:
            return self.memo[key]
        bias = self.problem.bias
        blocks = []
        for n in range(1 if batch.regular else batch.number):
            part = self._part(batch.item, *batch.block(n))
            blocks.append(self._masked(self.mask.block(part), None if bias is None else bias.block(part)))
        heads = max(block.shape[1] for block in blocks)
        found = torch.cat([block.expand(1, heads, batch.size, batch.reach) for block in blocks])
        if batch.regular:
            self.memo[key] = found
        return found

    def _masked(self, allowed: Tensor, bias: Tensor | None) -> Tensor:
        p = self.problem
        if bias is None:
            return torch.where(allowed, 0.0, -torch.inf).to(p.compute_dtype)
        temperature = p.temperature.detach() if isinstance(p.temperature, Tensor) else p.temperature
        return torch.where(allowed, bias.detach().to(p.compute_dtype) / by_head(temperature), -torch.inf)

    def pieces(self) -> Iterator[Piece]:
        """Go through the pairs of global positions that lie in no block: their columns, then the rest of their rows."""
        p, place = self.problem, self.problem.q.device
        everything = torch.arange(p.Lk, device=place)
        for item, chosen in enumerate(self.everywhere):
            if not chosen:
                continue
            keys = torch.tensor(chosen, dtype=torch.int64, device=place)
            others = everything[torch.ones_like(everything, dtype=torch.bool).index_fill(0, keys, False)]
            queries = keys[keys >= p.Lk - p.Lq] - (p.Lk - p.Lq)
            for rows, cols in ((torch.arange(p.Lq, device=place), keys), (queries, others)):
                if len(rows) and len(cols):
                    for some in torch.split(rows, max(1, CELLS // (p.H * len(cols)))):
                        yield self._piece(item, some, cols)

    def _piece(self, item: int, rows: Tensor, cols: Tensor) -> Piece:
        p = self.problem
        i, j = rows[:, None], cols[None]
        pairs = Pairs.at(p.B, p.H, p.Lq, p.Lk, torch.full_like(i[:1], item), i, j)
        allowed = self.mask.at(pairs) & ~self._in_block(i, j)
        added = self._masked(allowed, None if p.bias is None else p.bias.at(pairs))
        return Piece(item, rows, cols, added)

    def _in_block(self, i: Tensor, j: Tensor) -> Tensor:
        """Say which pairs lie in the block of their query, allowed or not."""
        p, (low, high, step, _) = self.problem, self.band
        first = i % step + i // step // self.size * (self.size * step)
        last = torch.minimum(first + (self.size - 1) * step, p.Lq - 1 - (p.Lq - 1 - i) % step)
        j = j - (p.Lk - p.Lq)
        return (j >= first + low) & (j <= last + high) & ((j - i) % step == 0)
