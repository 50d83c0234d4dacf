"""A problem cut into tiles: which tiles there are, and the logits of each, in buffers that are allocated once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from . import dropout
from .biases import Bias
from .biases.base import per_head
from .masks import Extent, Mask
from .part import Pairs, Part
from .problem import Problem, by_head
from .symbolic import node


class TileSize(NamedTuple):
    """Queries and keys of a tile, and the number of weights, over items and heads, that it should not exceed."""

    rows: int = 256
    cols: int = 512
    cells: int = 1 << 20


TILE = TileSize()


class Cut(Protocol):
    """Which tiles there are. Each pair lies in at most one of them; one that lies in none counts as masked."""

    def size(self, whole: Part) -> tuple[int, int, int]:
        """Answer how many items, rows and columns a tile has at most."""

    def row_parts(self, whole: Part) -> Iterator[Part]:
        """Go through the row tiles, each with all of its keys. Each query lies in exactly one."""

    def cols(self, rows: Part) -> Iterator[slice]:
        """Go through the keys of a row tile, tile by tile."""


@dataclass(frozen=True)
class Grid:
    """Every pair: tiles of `TILE`, side by side."""

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

    def _block(self, part: Part) -> Tensor:
        block = self.bias._block(part) / by_head(self.temperature)
        assert isinstance(block, Tensor)
        return block

    def _at(self, pairs: Pairs) -> Tensor:
        value = self.bias._at(pairs)
        return value / per_head(self.temperature, value.ndim - 1)


@node
class _Plain(Bias):
    """A bias that is evaluated as a block: entry by entry, in the very numbers of the definition."""

    bias: Bias

    def _block(self, part: Part) -> Tensor:
        return self.bias._block(part)

    def _at(self, pairs: Pairs) -> Tensor:
        return self.bias._at(pairs)


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
        factor = 1.0
        if not isinstance(p.temperature, Tensor):
            factor = 1.0 / p.temperature
        elif biases:
            biases = tuple(_Tempered(bias, p.temperature) for bias in biases)
        learned = [tensor for bias in biases for tensor in bias.learned()]
        own = tuple(pytree.tree_map_only(Tensor, _detached, bias) for bias in biases)
        bad = [None if finite.all() else ~finite for finite in (x.isfinite().all(dim=-1) for x in (p.q, p.k, p.v))]
        strange = any(not tensor.isfinite().all() for bias in own for _, tensor in bias.tensors())
        isolate = strange or any(b is not None for b in bad)
        if isolate or p.q.dtype == torch.float64:
            own = tuple(_Plain(bias) for bias in own)
        mask = p.pattern & p.padding if p.pattern is not None and p.padding is not None else p.pattern or p.padding
        return cls(p, mask, seed, own, factor, learned, (bad[0], bad[1], bad[2]), isolate)

    def extent(self, part: Part) -> Extent:
        """Say how much of a part the mask allows, without computing it."""
        return Extent.EVERYTHING if self.mask is None else self.mask._extent(part)

    def allowed(self, part: Part) -> Tensor | None:
        """Answer the mask of a part; None if there is none."""
        return None if self.mask is None else self.mask._block(part)

    def keep(self, part: Part) -> Tensor | None:
        """Answer 1 for the weights of a part that dropout leaves and 0 for the others; None without dropout."""
        if self.seed is None:
            return None
        place = part.device
        b = torch.arange(part.items.start, part.items.stop, device=place)[:, None, None, None]
        h = torch.arange(part.H, device=place)[:, None, None]
        i = torch.arange(part.rows.start, part.rows.stop, part.step, device=place)[:, None]
        shape = (part.items.stop - part.items.start, part.H, part.n_rows, part.n_cols)
        out = torch.empty(shape, dtype=self.problem.compute_dtype, device=place)
        return dropout.keep(self.seed, self.problem.dropout_p, b, h, i, part.col_positions(), part.H, out=out)


class Tile(NamedTuple):
    """One tile: its part, and S, the logits, -inf where masked. Both views share the buffer's memory.

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
        self.memory = [q.new_empty(items * p.H * rows * cols) for _ in range(2)]

    def row_parts(self) -> Iterator[Part]:
        """Go through the row tiles, each with all of its keys."""
        return self.cut.row_parts(self.whole)

    def buffer(self, which: int, part: Part) -> tuple[Tensor, Tensor]:
        """Answer buffer 0 or 1 in the shape of a part, and its view by key heads."""
        n = part.items.stop - part.items.start
        memory = self.memory[which][: n * part.H * part.n_rows * part.n_cols]
        return (
            memory.view(n, part.H, part.n_rows, part.n_cols),
            memory.view(n * self.Hk, self.groups * part.n_rows, part.n_cols),
        )

    def by_query(self, x: Tensor, part: Part) -> Tensor:
        """Cut (B, H, Lq, d) to a part, by key heads: (items * Hk, groups * rows, d)."""
        return x[part.items, :, part.rows].reshape(-1, self.groups * part.n_rows, x.shape[3])

    def by_key(self, x: Tensor, part: Part) -> Tensor:
        """Cut (B, Hk, Lk, d) to a part: (items * Hk, cols, d)."""
        return x[part.items, :, part.cols].flatten(0, 1)

    def tiles(self, rows: Part, q: Tensor, differentiable: bool = False) -> Iterator[Tile]:
        """Go through the tiles of a row that allow anything, with their logits; `differentiable` in backward."""
        for cols in self.cut.cols(rows):
            part = rows._replace(cols=cols)
            extent = self.work.extent(part)
            if extent is Extent.NOTHING:
                continue
            allowed = None if extent is Extent.EVERYTHING else self.work.allowed(part)
            if allowed is not None and not allowed.any():
                continue
            logits, flat = self.buffer(0, part)
            torch.bmm(q, self.by_key(self.k, part).mT, out=flat)
            evaluated = [bias._evaluate(part, differentiable) for bias in self.work.biases]
            poisoned = v_poisoned = None
            if self.work.isolate:
                allowed, poisoned, v_poisoned = self._isolate(part, allowed, evaluated)
            for bias, value in zip(self.work.biases, evaluated, strict=True):
                bias._add_to(logits, value, self.work.factor)
            if allowed is not None:
                logits.add_(torch.where(allowed, 0.0, -torch.inf))
            yield Tile(part, logits, flat, evaluated, poisoned, v_poisoned)

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
