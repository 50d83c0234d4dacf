"""A problem cut into tiles: which tiles there are, and the logits of each, in buffers that are allocated once."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from ..biases import Bias
from ..engine import Problem, by_head, dropout
from ..masks import Extent, Mask
from ..symbols import Pairs, Part, node, per_head


class TileSize(NamedTuple):
    """Queries and keys of a tile, and the number of weights, over items and heads, that it should not exceed."""

    rows: int = 256
    cols: int = 1024
    cells: int = 1 << 21


TILE = TileSize()

LOG2E = math.log2(math.e)  # logits are kept in base 2 here: exp2 is several times faster than exp on the CPU
FLOOR = -(2.0**14)  # a logit below its row's largest by this much, in base 2, is a weight of 0 in every dtype


class Cut(Protocol):
    """Which tiles there are. Each pair lies in at most one of them; one that lies in none counts as masked.

    Attributes:
        columns_repeat: Whether row tiles of the same items have the same columns.
    """

    columns_repeat: bool

    def size(self, whole: Part) -> tuple[int, int, int]:
        """Answer how many items, rows and columns a tile has at most."""

    def row_parts(self, whole: Part) -> Iterator[Part]:
        """Go through the row tiles, each with all of its keys. Each query lies in exactly one."""

    def cols(self, rows: Part) -> Iterator[slice]:
        """Go through the keys of a row tile, tile by tile."""


@dataclass(frozen=True)
class Grid:
    """Every pair: tiles of `TILE`, side by side."""

    columns_repeat = True

    def size(self, whole: Part) -> tuple[int, int, int]:
        """Answer how many items, rows and columns a tile has at most."""
        rows, cols = max(1, min(TILE.rows, whole.Lq)), max(1, min(TILE.cols, whole.Lk))
        return max(1, min(TILE.cells // max(1, whole.H * rows * cols), whole.B)), rows, cols

    def row_parts(self, whole: Part) -> Iterator[Part]:
        """Go through the row tiles, each with all of its keys."""
        items, rows, _ = self.size(whole)
        for b in range(0, whole.B, items):
            for i in range(0, whole.Lq, rows):
                item, row = slice(b, min(b + items, whole.B)), slice(i, min(i + rows, whole.Lq))
                yield whole._replace(items=item, rows=row)

    def cols(self, rows: Part) -> Iterator[slice]:
        """Go through the keys, tile by tile."""
        _, _, cols = self.size(rows)
        for j in range(0, rows.Lk, cols):
            yield slice(j, min(j + cols, rows.Lk))


@node
class _Tempered(Bias):
    """bias / temperature[h], for a temperature that is a tensor, learned or not."""

    bias: Bias
    temperature: Tensor

    def block(self, part: Part) -> Tensor:
        block = self.bias.block(part) / by_head(self.temperature)
        assert isinstance(block, Tensor)
        return block

    def at(self, pairs: Pairs) -> Tensor:
        value = self.bias.at(pairs)
        return value / per_head(self.temperature, value.ndim - 1)


@node
class _Plain(Bias):
    """A bias that is evaluated as a block: entry by entry, in the very numbers of the definition."""

    bias: Bias

    def block(self, part: Part) -> Tensor:
        return self.bias.block(part)

    def at(self, pairs: Pairs) -> Tensor:
        return self.bias.at(pairs)


def _detached(tensor: Tensor) -> Tensor:
    return tensor.detach().requires_grad_(tensor.requires_grad)


@dataclass(frozen=True, eq=False)
class Work:
    """A problem as the tiles see it.

    Attributes:
        problem: The problem itself.
        mask: Its pattern and its padding as one.
        seed: Seed of the dropout; None without it.
        biases: The parts of the bias; what they learn is detached from the graph that it came from.
        factor: What the biases are multiplied by, 1 / temperature.
        learned: What the biases learn, as it stands in the graph, in the order of their `learned()`.
        bad: Which vectors of q, k and v are not finite; None where all are.
        isolate: Whether anything is not finite.
    """

    problem: Problem
    mask: Mask | None
    seed: Tensor | None
    biases: tuple[Bias, ...]
    factor: float
    learned: list[Tensor]
    bad: tuple[Tensor | None, Tensor | None, Tensor | None]
    isolate: bool

    @classmethod
    def of(cls, p: Problem, seed: Tensor | None) -> Work:
        """Take a problem apart."""
        biases = tuple(p.bias.leaves()) if p.bias is not None else ()
        biases = tuple(sorted(biases, key=lambda bias: not bias.writes_quickly))
        factor = 1.0
        if not isinstance(p.temperature, Tensor):
            factor = 1.0 / p.temperature
        elif biases:
            biases = tuple(_Tempered(bias, p.temperature) for bias in biases)
        learned = [tensor for bias in biases for tensor in bias.learned()]
        own = tuple(pytree.tree_map_only(Tensor, _detached, bias) for bias in biases)
        bad = [_not_finite(x) for x in (p.q, p.k, p.v)]
        strange = any(not tensor.isfinite().all() for bias in own for _, tensor in bias.tensors())
        isolate = strange or any(b is not None for b in bad)
        exact = isolate or p.q.dtype == torch.float64
        own = tuple(_Plain(bias) if exact else bias.ready() for bias in own)
        mask = p.pattern & p.padding if p.pattern is not None and p.padding is not None else p.pattern or p.padding
        return cls(p, mask, seed, own, factor, learned, (bad[0], bad[1], bad[2]), isolate)

    def extent(self, part: Part) -> Extent:
        """Say how much of a part the mask allows, without computing it."""
        return Extent.EVERYTHING if self.mask is None else self.mask.extent(part)

    def allowed(self, part: Part) -> Tensor | None:
        """Answer the mask of a part; None if there is none."""
        return None if self.mask is None else self.mask.block(part)

    def keep(self, part: Part, out: Tensor, words: Tensor) -> Tensor | None:
        """Answer 1 for the weights of a part that dropout leaves and 0 for the others; None without dropout.

        Shapes:
            out, words: (items, H, rows, cols), the memory to put the answer in, and int32 words to work with.
        """
        if self.seed is None:
            return None
        place = part.device
        b = torch.arange(part.items.start, part.items.stop, device=place)[:, None, None, None]
        h = torch.arange(part.H, device=place)[:, None, None]
        i = torch.arange(part.rows.start, part.rows.stop, part.step, device=place)[:, None]
        j = part.col_positions()
        return dropout.keep(self.seed, self.problem.dropout_p, b, h, i, j, part.H, out=out, words=words)


def _not_finite(x: Tensor) -> Tensor | None:
    """Say which vectors are not finite; None if all are, which a look at the extremes tells."""
    if x.numel() == 0 or torch.stack(x.detach().aminmax()).isfinite().all():
        return None
    return ~x.isfinite().all(dim=-1)


class Tile(NamedTuple):
    """One tile: its part, and the logits in base 2, -inf where masked. Both views share the buffer's memory.

    Shapes:
        logits: (items, H, rows, cols).
        flat: (items * Hk, groups * rows, cols), for products with keys.
    """

    part: Part
    logits: Tensor
    flat: Tensor
    evaluated: list[Tensor]
    poisoned: Tensor | None
    v_poisoned: Tensor | None


class Tiler:
    """Cuts a problem into tiles and computes their logits, in buffers that are allocated once."""

    def __init__(self, work: Work, cut: Cut, q: Tensor, k: Tensor) -> None:
        p = work.problem
        self.work, self.cut, self.q, self.k = work, cut, q, k
        self.Hk, self.groups = p.H // p.groups, p.groups
        self.whole = Part.whole(p.B, p.H, p.Lq, p.Lk, q.device)
        items, rows, cols = cut.size(self.whole)
        cells = items * p.H * rows * cols
        self.memory = [q.new_empty(cells) for _ in range(2 if work.seed is None else 3)]
        self.words = None if work.seed is None else q.new_empty(cells, dtype=torch.int32)

    def row_parts(self) -> Iterator[Part]:
        """Go through the row tiles, each with all of its keys."""
        return self.cut.row_parts(self.whole)

    def buffer(self, which: int, part: Part) -> tuple[Tensor, Tensor]:
        """Answer buffer 0 or 1 (with dropout 2, too) in the shape of a part, and its view by key heads."""
        return self._shape(self.memory[which], part)

    def _shape(self, memory: Tensor, part: Part) -> tuple[Tensor, Tensor]:
        n = part.items.stop - part.items.start
        memory = memory[: n * part.H * part.n_rows * part.n_cols]
        return (
            memory.view(n, part.H, part.n_rows, part.n_cols),
            memory.view(n * self.Hk, self.groups * part.n_rows, part.n_cols),
        )

    def keep(self, part: Part) -> Tensor | None:
        """Answer, in buffer 2, 1 for the weights that dropout leaves and 0 for the others; None without dropout."""
        if self.words is None:
            return None
        return self.work.keep(part, self.buffer(2, part)[0], self._shape(self.words, part)[0])

    def by_query(self, x: Tensor, part: Part) -> Tensor:
        """Cut (B, H, Lq, d) to a part, by key heads: (items * Hk, groups * rows, d)."""
        return x[part.items, :, part.rows].reshape(-1, self.groups * part.n_rows, x.shape[3])

    def by_key(self, x: Tensor, part: Part) -> Tensor:
        """Cut (B, Hk, Lk, d) to a part: (items * Hk, cols, d)."""
        return x[part.items, :, part.cols].flatten(0, 1)

    def tiles(self, rows: Part, q: Tensor, start: Tensor | None = None, differentiable: bool = False) -> Iterator[Tile]:
        """Go through the tiles of a row that allow anything, with their logits.

        Args:
            rows: The row tile.
            q: Its queries, by key heads, in base 2.
            start: What is added to each row's logits, (items, H, rows, 1); None adds nothing.
            differentiable: Whether the gradients of the biases will be asked for.
        """
        for cols in self.cut.cols(rows):
            part = rows._replace(cols=cols)
            extent = self.work.extent(part)
            if extent is Extent.NOTHING:
                continue
            allowed = None if extent is Extent.EVERYTHING else self.work.allowed(part)
            if allowed is not None and not allowed.any():
                continue
            logits, flat = self.buffer(0, part)
            evaluated = [bias.evaluate(part, differentiable) for bias in self.work.biases]
            poisoned = v_poisoned = None
            if self.work.isolate:
                allowed, poisoned, v_poisoned = self._isolate(part, allowed, evaluated)
            self._add_up(logits, flat, part, q, evaluated, start)
            if allowed is not None:
                logits.add_(torch.where(allowed, 0.0, -torch.inf))
            yield Tile(part, logits, flat, evaluated, poisoned, v_poisoned)

    def _add_up(
        self, logits: Tensor, flat: Tensor, part: Part, q: Tensor, evaluated: list[Tensor], start: Tensor | None
    ) -> None:
        """Put start + biases + scores into a tile, with as few passes over it as there can be."""
        keys = self.by_key(self.k, part).mT
        pairs = list(zip(self.work.biases, evaluated, strict=True))
        factor = self.work.factor * LOG2E
        if pairs:
            bias, value = pairs.pop(0)
            bias.write(logits, value, factor, start)
        elif start is not None:
            logits.copy_(start)
        if evaluated or start is not None:
            flat.baddbmm_(q, keys)
        else:
            torch.bmm(q, keys, out=flat)
        for bias, value in pairs:
            bias.add_to(logits, value, factor)

    def _isolate(self, part: Part, allowed: Tensor | None, evaluated: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Mask pairs whose bias is -inf, say which rows see what is not finite, and clean the bias of it."""
        everything = torch.ones((1, 1, 1, 1), dtype=torch.bool, device=part.device)
        allowed = everything if allowed is None else allowed
        strange = ~everything
        for place, block in enumerate(evaluated):
            finite = block.isfinite()
            allowed, strange = allowed & ~torch.isneginf(block), strange | ~finite
            with torch.set_grad_enabled(block.requires_grad):
                evaluated[place] = block.masked_fill(~finite, 0.0)
        q_bad, k_bad, v_bad = self.work.bad
        if q_bad is not None:
            strange = strange | q_bad[part.items, :, part.rows, None]
        if k_bad is not None:
            strange = strange | k_bad[part.items, :, None, part.cols].repeat_interleave(self.groups, dim=1)
        allowed = allowed.expand(*allowed.shape[:2], part.n_rows, part.n_cols)
        poisoned = (allowed & strange).any(dim=-1)
        if v_bad is None:
            return allowed, poisoned, torch.zeros_like(poisoned)
        v_strange = v_bad[part.items, :, None, part.cols].repeat_interleave(self.groups, dim=1)
        return allowed, poisoned, (allowed & v_strange).any(dim=-1)
