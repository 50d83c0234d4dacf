"""Exact attention tile by tile: memory linear in length, forward and backward, for every mask, bias and score.

Forward keeps a running maximum and sum per row. Backward rebuilds each tile from q, k, v and the log-sum-exp, and adds
up the gradients of everything that the bias learns. Tiles in which the mask allows nothing are not visited.

    P_ij = exp(S_ij - lse_i),  dS_ij = P_ij (dP_ij - delta_i),  dP = dO V^T,  delta_i = dO_i . O_i - dlse_i
    entropy: dS_ij -= dH_i P_ij (ln P_ij + H_i)

References:
    Rabe, Staats: Self-attention Does Not Need O(n^2) Memory. arXiv 2112.05682. Dao et al.: FlashAttention. NeurIPS
    2022, algorithms 1 and 4 (there without learned biases).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from .. import dropout
from ..cost import Cost
from ..part import Part
from ..problem import AttentionOutput, Problem

NAME = "tiled"


class TileSize(NamedTuple):
    """Queries and keys of a tile, and the number of weights, over items and heads, that it should not exceed."""

    rows: int = 256
    cols: int = 512
    cells: int = 1 << 20


TILE = TileSize()


def not_supported_reasons(problem: Problem) -> list[str]:
    """Say why this problem cannot be served; empty if it can."""
    reasons = []
    held = sorted(problem.need & {"weights", "pair_weights"})
    if held:
        reasons.append(f"{', '.join(held)}: a tile is gone once it has been used")
    if torch.compiler.is_compiling():
        reasons.append("torch.compile and torch.export: which tiles are visited depends on values")
    return reasons


def cost(problem: Problem) -> Cost:
    """Estimate a training step: seven matrix products, as if no tile were empty."""
    p = problem
    width = p.q.shape[3] + p.v.shape[3]
    size = p.compute_dtype.itemsize
    linear = 3 * size * p.B * p.H * (p.Lq + p.Lk) * width
    cells = min(TILE.cells, p.B * p.H * p.Lq * p.Lk)
    return Cost(flops=7 * p.B * p.H * p.Lq * p.Lk * width, peak_bytes=linear + 8 * cells * size, memory="O(L d)")


def run(problem: Problem, seed: Tensor | None) -> AttentionOutput:
    """Compute attention tile by tile."""
    p = problem
    work = Work.of(p, seed)
    q, k, v = (
        x if bad is None else x.masked_fill(~x.isfinite(), 0.0)
        for x, bad in zip((p.q, p.k, p.v), work.bad, strict=True)
    )
    q, k = _features(p, q.to(p.compute_dtype), k.to(p.compute_dtype))
    v = v.to(p.compute_dtype)
    out, lse, entropy, poisoned, v_poisoned = _Tiled.apply(work, q, k, v, *work.learned)
    if work.isolate:
        # Rows that see what is not finite answer NaN. Adding it passes gradients on unchanged.
        out = out + _nan_where(poisoned | v_poisoned)[..., None]
        lse, entropy = lse + _nan_where(poisoned), entropy + _nan_where(poisoned)
    return AttentionOutput(
        out=out.to(p.q.dtype),
        lse=lse if "lse" in p.need else None,
        entropy=entropy if "entropy" in p.need else None,
    )


def _features(p: Problem, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
    """Answer features of queries and keys whose inner product is scale * score / temperature."""
    q_offset, k_offset = p.score.offset(q), p.score.offset(k)
    q, k = p.score.prepare(q), p.score.prepare(k)
    if q_offset is not None and k_offset is not None:
        q = torch.cat([q, q_offset[..., None], torch.ones_like(q_offset)[..., None]], dim=-1)
        k = torch.cat([k, torch.ones_like(k_offset)[..., None], k_offset[..., None]], dim=-1)
    return q * (_heads(p.scale) / _heads(p.temperature)), k


@dataclass(frozen=True, eq=False)
class Work:
    """A problem as the tiles see it: structure apart from what is learned, and what must be kept from leaking."""

    problem: Problem
    leaves: list[Any]
    spec: Any
    places: list[int]
    seed: Tensor | None
    bad: tuple[Tensor | None, Tensor | None, Tensor | None]
    isolate: bool

    @classmethod
    def of(cls, p: Problem, seed: Tensor | None) -> Work:
        """Take a problem apart."""
        leaves, spec = pytree.tree_flatten((p.bias, p.temperature))
        places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor) and leaf.requires_grad]
        bad = [None if finite.all() else ~finite for finite in (x.isfinite().all(dim=-1) for x in (p.q, p.k, p.v))]
        strange = any(isinstance(leaf, Tensor) and not leaf.isfinite().all() for leaf in leaves)
        return cls(p, leaves, spec, places, seed, (bad[0], bad[1], bad[2]), strange or any(b is not None for b in bad))

    @property
    def learned(self) -> list[Tensor]:
        """The tensors of bias and temperature that require grad."""
        return [self.leaves[place] for place in self.places]

    def allowed(self, part: Part) -> Tensor | None:
        """Answer the mask of a part; None if there is none."""
        masks = [m._block(part) for m in (self.problem.pattern, self.problem.padding) if m is not None]
        return torch.logical_and(*masks) if len(masks) == 2 else masks[0] if masks else None

    def bias(self, part: Part, learned: Sequence[Tensor]) -> Tensor | None:
        """Answer bias / temperature of a part, with `learned` in the place of what is learned."""
        if self.problem.bias is None:
            return None
        leaves = list(self.leaves)
        for place, tensor in zip(self.places, learned, strict=True):
            leaves[place] = tensor
        bias, temperature = pytree.tree_unflatten(leaves, self.spec)
        block = bias._block(part) / _heads(temperature)
        assert isinstance(block, Tensor)
        return block.to(self.problem.compute_dtype)

    def keep(self, part: Part) -> Tensor | None:
        """Answer which weights of a part dropout leaves, (items, H, rows, cols); None without dropout."""
        if self.seed is None:
            return None
        place = part.device
        b = torch.arange(part.items.start, part.items.stop, device=place)[:, None, None, None]
        h = torch.arange(part.H, device=place)[:, None, None]
        i = torch.arange(part.rows.start, part.rows.stop, device=place)[:, None]
        return dropout.keep(self.seed, self.problem.dropout_p, b, h, i, part.col_positions(), part.H)


class Tile(NamedTuple):
    """One tile: its part, and S, the logits, -inf where masked. Both views share the buffer's memory.

    Shapes:
        logits: (items, H, rows, cols).
        flat: (items * Hk, groups * rows, cols), for products with keys.
    """

    part: Part
    logits: Tensor
    flat: Tensor
    allowed: Tensor | None
    poisoned: Tensor | None
    v_poisoned: Tensor | None


class Tiler:
    """Cuts a problem into tiles and computes their logits, in buffers that are allocated once."""

    def __init__(self, work: Work, q: Tensor, k: Tensor) -> None:
        p = work.problem
        self.work, self.q, self.k = work, q, k
        self.Hk, self.groups = p.H // p.groups, p.groups
        self.rows, self.cols = max(1, min(TILE.rows, p.Lq)), max(1, min(TILE.cols, p.Lk))
        self.items = max(1, TILE.cells // (p.H * self.rows * self.cols))
        self.items = max(1, min(self.items, p.B))
        self.whole = Part.whole(p.B, p.H, p.Lq, p.Lk, q.device)
        self.memory = [q.new_empty(self.items * p.H * self.rows * self.cols) for _ in range(2)]

    def row_parts(self) -> Iterator[Part]:
        """Go through the row tiles, each with all of its keys."""
        w = self.whole
        for b in range(0, w.B, self.items):
            for i in range(0, w.Lq, self.rows):
                yield w._replace(items=slice(b, min(b + self.items, w.B)), rows=slice(i, min(i + self.rows, w.Lq)))

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

    def tiles(self, rows: Part, q: Tensor, learned: Sequence[Tensor]) -> Iterator[Tile]:
        """Go through the tiles of a row that allow anything, with their logits."""
        for j in range(0, self.whole.Lk, self.cols):
            part = rows._replace(cols=slice(j, min(j + self.cols, self.whole.Lk)))
            allowed = self.work.allowed(part)
            if allowed is not None:
                if not allowed.any():
                    continue
                allowed = None if allowed.all() else allowed
            logits, flat = self.buffer(0, part)
            torch.bmm(q, self.by_key(self.k, part).mT, out=flat)
            bias = self.work.bias(part, learned)
            poisoned = v_poisoned = None
            if self.work.isolate:
                allowed, bias, poisoned, v_poisoned = self._isolate(part, allowed, bias)
            if bias is not None:
                logits.add_(bias)
            if allowed is not None:
                logits.masked_fill_(~allowed, -torch.inf)
            yield Tile(part, logits, flat, allowed, poisoned, v_poisoned)

    def _isolate(
        self, part: Part, allowed: Tensor | None, bias: Tensor | None
    ) -> tuple[Tensor, Tensor | None, Tensor, Tensor]:
        """Mask pairs whose bias is -inf, and say which rows see what is not finite."""
        everything = torch.ones((1, 1, 1, 1), dtype=torch.bool, device=part.device)
        allowed = everything if allowed is None else allowed
        strange = ~everything
        if bias is not None:
            finite = bias.isfinite()
            allowed, strange = allowed & ~torch.isneginf(bias), ~finite
            bias = bias.masked_fill(~finite, 0.0)
        q_bad, k_bad, v_bad = self.work.bad
        if q_bad is not None:
            strange = strange | q_bad[part.items, :, part.rows, None]
        if k_bad is not None:
            strange = strange | k_bad[part.items, :, None, part.cols].repeat_interleave(self.groups, dim=1)
        allowed = allowed.expand(*allowed.shape[:2], part.n_rows, part.n_cols)
        poisoned = (allowed & strange).any(dim=-1)
        if v_bad is None:
            return allowed, bias, poisoned, torch.zeros_like(poisoned)
        v_strange = v_bad[part.items, :, None, part.cols].repeat_interleave(self.groups, dim=1)
        return allowed, bias, poisoned, (allowed & v_strange).any(dim=-1)


class _Tiled(torch.autograd.Function):
    """(q, k, v, learned ...) -> (out, lse, entropy, poisoned rows by logits, by values)."""

    @staticmethod
    def forward(ctx: Any, work: Work, q: Tensor, k: Tensor, v: Tensor, *learned: Tensor) -> tuple[Tensor, ...]:
        p = work.problem
        tiler = Tiler(work, q, k)
        out = q.new_zeros(p.B, p.H, p.Lq, v.shape[3])
        lse = q.new_full((p.B, p.H, p.Lq), -torch.inf)
        entropy = torch.zeros_like(lse)
        poisoned, v_poisoned = (torch.zeros_like(lse, dtype=torch.bool) for _ in range(2))
        for rows in tiler.row_parts():
            at = (rows.items, slice(None), rows.rows)
            peak = torch.full_like(lse[at], -torch.inf)
            total, spread = torch.zeros_like(peak), torch.zeros_like(peak)
            q_rows = tiler.by_query(q, rows)
            mixed = q.new_zeros(*q_rows.shape[:2], v.shape[3])
            for tile in tiler.tiles(rows, q_rows, learned):
                new_peak = torch.maximum(peak, tile.logits.amax(dim=-1))
                base = torch.where(new_peak == -torch.inf, 0.0, new_peak)
                shrink = (peak - base).exp()
                weights = tile.logits.sub_(base[..., None]).exp_()
                if "entropy" in p.need:
                    moved = torch.where(total > 0, peak - base, 0.0)
                    spread = shrink * (spread + moved * total) + torch.xlogy(weights, weights).sum(dim=-1)
                total = shrink * total + weights.sum(dim=-1)
                keep = work.keep(tile.part)
                if keep is not None:
                    weights.mul_(keep).div_(1.0 - p.dropout_p)
                mixed.mul_(shrink.reshape(*mixed.shape[:2], 1)).baddbmm_(tile.flat, tiler.by_key(v, tile.part))
                peak = new_peak
                if tile.poisoned is not None and tile.v_poisoned is not None:
                    poisoned[at] |= tile.poisoned
                    v_poisoned[at] |= tile.v_poisoned
            alive = total > 0
            safe = torch.where(alive, total, 1.0)
            out[at] = mixed.view(*safe.shape, -1) / safe[..., None]
            lse[at] = torch.where(alive, peak + safe.log(), -torch.inf)
            entropy[at] = torch.where(alive, safe.log() - spread / safe, 0.0)
        ctx.save_for_backward(q, k, v, out, lse, entropy, *learned)
        ctx.work = work
        ctx.mark_non_differentiable(poisoned, v_poisoned)
        return out, lse, entropy, poisoned, v_poisoned

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "backend 'tiled' computes no second derivatives (create_graph=True); expected backend='reference' there"
            )
        work: Work = ctx.work
        p = work.problem
        q, k, v, out, lse, entropy, *learned = ctx.saved_tensors
        d_out, d_lse, d_entropy = gradients[:3]
        tiler = Tiler(work, q, k)
        dq, dk, dv = torch.zeros_like(q), torch.zeros_like(k), torch.zeros_like(v)
        leaves = [t.detach().requires_grad_() for t in learned]
        d_learned = [torch.zeros_like(t) for t in learned]
        delta = (d_out * out).sum(dim=-1) - torch.where(lse == -torch.inf, 0.0, d_lse)
        base = torch.where(lse == -torch.inf, 0.0, lse)
        for rows in tiler.row_parts():
            at = (rows.items, slice(None), rows.rows)
            q_rows, d_rows = tiler.by_query(q, rows), tiler.by_query(d_out, rows)
            dq_rows = torch.zeros_like(q_rows)
            for tile in tiler.tiles(rows, q_rows, learned):
                weights = tile.logits.sub_(base[at][..., None]).exp_()
                d_weights, d_flat = tiler.buffer(1, tile.part)
                torch.bmm(d_rows, tiler.by_key(v, tile.part).mT, out=d_flat)
                keep = work.keep(tile.part)
                dropped = tile.flat
                if keep is not None:
                    d_weights.mul_(keep).div_(1.0 - p.dropout_p)
                    dropped = (weights * keep).div_(1.0 - p.dropout_p).view_as(tile.flat)
                _add(dv, tile.part, torch.bmm(dropped.mT, d_rows))
                d_logits = d_weights.sub_(delta[at][..., None]).mul_(weights)
                if "entropy" in p.need:
                    surprise = torch.xlogy(weights, weights) + weights * entropy[at][..., None]
                    d_logits.sub_(surprise.mul_(d_entropy[at][..., None]))
                dq_rows.baddbmm_(d_flat, tiler.by_key(k, tile.part))
                _add(dk, tile.part, torch.bmm(d_flat.mT, q_rows))
                if leaves:
                    _add_learned(d_learned, leaves, work, tile.part, d_logits)
            dq[at] = dq_rows.view(*base[at].shape, -1)
        return None, dq, dk, dv, *d_learned


def _add(total: Tensor, part: Part, gradient: Tensor) -> None:
    place = total[part.items, :, part.cols]
    place += gradient.view(place.shape)


def _add_learned(totals: list[Tensor], leaves: list[Tensor], work: Work, part: Part, d_logits: Tensor) -> None:
    """Add the gradient of one tile's bias to what is learned."""
    with torch.enable_grad():
        bias = work.bias(part, leaves)
    if bias is None or not bias.requires_grad:
        return
    found = torch.autograd.grad(bias, leaves, d_logits.sum_to_size(bias.shape), allow_unused=True)
    for total, gradient in zip(totals, found, strict=True):
        if gradient is not None:
            total += gradient


def _nan_where(condition: Tensor) -> Tensor:
    return torch.where(condition, torch.nan, 0.0)


def _heads(value: float | Tensor) -> float | Tensor:
    return value[:, None, None] if isinstance(value, Tensor) and value.ndim else value
