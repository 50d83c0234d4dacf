"""Attention tile by tile: memory linear in length, forward and backward, for every mask, bias and score.

Forward keeps a running maximum and sum per row. Backward rebuilds each tile from q, k, v and the log-sum-exp, and adds
up the gradients of everything that the bias learns. Which tiles there are is said by a `Cut`.

    P_ij = exp(S_ij - lse_i),  dS_ij = P_ij (dP_ij - delta_i),  dP = dO V^T,  delta_i = dO_i . O_i - dlse_i
    entropy: dS_ij -= dH_i P_ij (ln P_ij + H_i)

References:
    Rabe, Staats: Self-attention Does Not Need O(n^2) Memory. arXiv 2112.05682. Dao et al.: FlashAttention. NeurIPS
    2022, algorithms 1 and 4 (there without learned biases).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..biases import Bias
from ..engine import AttentionOutput, Problem, features, nan_where
from ..masks import Mask
from ..symbols import Part
from .tiles import FLOOR, LOG2E, Cut, Tile, Tiler, Work


def attend_by_tiles(p: Problem, seed: Tensor | None, cut: Cut) -> AttentionOutput:
    """Compute attention tile by tile; a pair in no tile of the cut counts as masked."""
    work = Work.of(p, seed)
    q, k, v = (
        x if bad is None else x.masked_fill(~x.isfinite(), 0.0)
        for x, bad in zip((p.q, p.k, p.v), work.bad, strict=True)
    )
    factor, q, k = features(p, q.to(p.compute_dtype), k.to(p.compute_dtype))
    q = q * (factor * LOG2E)
    v = v.to(p.compute_dtype)
    out, lse, entropy, poisoned, v_poisoned = _Tiled.apply(work, cut, q, k, v, *work.learned)
    if work.isolate:
        # Rows that see what is not finite answer NaN. Adding it passes gradients on unchanged.
        out = out + nan_where(poisoned | v_poisoned)[..., None]
        lse, entropy = lse + nan_where(poisoned), entropy + nan_where(poisoned)
    return AttentionOutput(
        out=out.to(p.q.dtype),
        lse=lse if "lse" in p.need else None,
        entropy=entropy if "entropy" in p.need else None,
    )


def expect_by_tiles(p: Problem, lse: Tensor, feature: Bias | Mask, cut: Cut) -> Tensor:
    """Answer sum_j w_ij f_ij tile by tile, where lse is known; no gradient is recorded.

    Args:
        p: The problem; its values and its dropout do not matter.
        lse: Log-sum-exp of the logits, -inf in dead rows.
        feature: f, a bias, or a mask, which counts as 1 where it allows.
        cut: The tiles, which must hold every allowed pair.

    Shapes:
        lse: (B, H, Lq), as the answer.
    """
    work = Work.of(p, None)
    q, k = (
        x if bad is None else x.masked_fill(~x.isfinite(), 0.0) for x, bad in zip((p.q, p.k), work.bad, strict=False)
    )
    factor, q, k = features(p, q.to(p.compute_dtype), k.to(p.compute_dtype))
    q = q * (factor * LOG2E)
    tiler = Tiler(work, cut, q, k)
    answer = torch.zeros_like(lse)
    start = torch.where(lse.isfinite(), lse * -LOG2E, 0.0)
    for rows in tiler.row_parts():
        at = (rows.items, slice(None), rows.rows)
        for tile in tiler.tiles(rows, tiler.by_query(q, rows), start[at][..., None]):
            weights, _ = tiler.buffer(1, tile.part)
            torch.exp2(tile.logits, out=weights)
            value = feature.block(tile.part).to(weights.dtype)
            if tile.poisoned is not None:  # what is not finite may stand where the weight is 0
                value = torch.where(weights > 0, value, 0.0)
            answer[at] += weights.mul_(value).sum(dim=-1)
            if tile.poisoned is not None:
                answer[at] += nan_where(tile.poisoned)
    return answer


class _Tiled(torch.autograd.Function):
    """(q, k, v, learned ...) -> (out, lse, entropy, poisoned rows by logits, by values); q in base 2."""

    @staticmethod
    def forward(
        ctx: Any, work: Work, cut: Cut, q: Tensor, k: Tensor, v: Tensor, *learned: Tensor
    ) -> tuple[Tensor, ...]:
        p = work.problem
        tiler = Tiler(work, cut, q, k)
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
            for tile in tiler.tiles(rows, q_rows):
                new_peak = torch.maximum(peak, tile.logits.amax(dim=-1))
                base = torch.where(new_peak == -torch.inf, 0.0, new_peak)
                shrink = (peak - base).exp2()
                weights, flat = tiler.buffer(1, tile.part)
                torch.exp2(tile.logits.sub_(base[..., None]), out=weights)
                if "entropy" in p.need:
                    moved = torch.where(total > 0, peak - base, 0.0)
                    surprise = tile.logits.clamp_min_(FLOOR).mul_(weights).sum(dim=-1)
                    spread = shrink * (spread + moved * total) + surprise
                total = shrink * total + weights.sum(dim=-1)
                keep = tiler.keep(tile.part)
                if keep is not None:
                    weights.mul_(keep)
                mixed.mul_(shrink.reshape(*mixed.shape[:2], 1)).baddbmm_(flat, tiler.by_key(v, tile.part))
                peak = new_peak
                if tile.poisoned is not None and tile.v_poisoned is not None:
                    poisoned[at] |= tile.poisoned
                    v_poisoned[at] |= tile.v_poisoned
            alive = total > 0
            safe = torch.where(alive, total, 1.0)
            out[at] = mixed.view(*safe.shape, -1) / (safe[..., None] * (1.0 - p.dropout_p))
            lse[at] = torch.where(alive, peak / LOG2E + safe.log(), -torch.inf)
            entropy[at] = torch.where(alive, safe.log() - spread / safe / LOG2E, 0.0)
        ctx.save_for_backward(q, k, v, out, lse, entropy, *learned)
        ctx.work, ctx.cut = work, cut
        ctx.mark_non_differentiable(poisoned, v_poisoned)
        return out, lse, entropy, poisoned, v_poisoned

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "backend: expected 'reference' for second derivatives (create_graph=True), got attention by tiles, "
                "which has none"
            )
        with torch.autocast(ctx.work.problem.q.device.type, enabled=False):  # the caller's would round sums
            return _gradients(ctx, *gradients)


def _gradients(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
    work: Work = ctx.work
    p = work.problem
    q, k, v, out, lse, entropy, *learned = ctx.saved_tensors
    d_out, d_lse, d_entropy = gradients[:3]
    tiler = Tiler(work, ctx.cut, q, k)
    dq, dk, dv = torch.empty_like(q), KeyGradient(k, ctx.cut), KeyGradient(v, ctx.cut)
    d_learned = [torch.zeros_like(t) for t in learned]
    delta = (d_out * out).sum(dim=-1) - torch.where(lse == -torch.inf, 0.0, d_lse)
    start = torch.where(lse == -torch.inf, 0.0, lse * -LOG2E)
    for rows in tiler.row_parts():
        at = (rows.items, slice(None), rows.rows)
        q_rows, d_rows = tiler.by_query(q, rows), tiler.by_query(d_out, rows) / (1.0 - p.dropout_p)
        dq_rows = torch.zeros_like(q_rows)
        for tile in tiler.tiles(rows, q_rows, start[at][..., None], differentiable=True):
            weights, w_flat = tiler.buffer(1, tile.part)
            torch.exp2(tile.logits, out=weights)
            surprise = None
            if "entropy" in p.need:  # P (ln P + H)
                surprise = tile.logits.clamp_min_(FLOOR).div(LOG2E).add_(entropy[at][..., None]).mul_(weights)
            d_weights, d_flat = tile.logits, tile.flat
            torch.bmm(d_rows, tiler.by_key(v, tile.part).mT, out=d_flat)
            keep = tiler.keep(tile.part)
            dropped = w_flat
            if keep is not None:
                d_weights.mul_(keep)
                dropped = keep.mul_(weights).view_as(w_flat)
            dv.add(tile.part, d_rows, dropped)
            d_logits = d_weights.sub_(delta[at][..., None]).mul_(weights)
            if surprise is not None:
                d_logits.sub_(surprise.mul_(d_entropy[at][..., None]))
            dq_rows.baddbmm_(d_flat, tiler.by_key(k, tile.part))
            dk.add(tile.part, q_rows, d_flat)
            if learned:
                _add_learned(d_learned, work, tile, d_logits)
        dq[at] = dq_rows.view(*lse[at].shape, -1)
    return None, None, dq / LOG2E, dk.total() / LOG2E, dv.total(), *d_learned


class KeyGradient:
    """The sum over row tiles of weights^T x, for keys or values.

    Where columns repeat it is kept transposed and tile by tile, as matrix products like it, for the items at hand.
    """

    def __init__(self, like: Tensor, cut: Cut) -> None:
        self.sum = torch.zeros_like(like)
        self.repeat, self.items = cut.columns_repeat, slice(0)
        self.parts: dict[tuple[int, int], tuple[Part, Tensor]] = {}

    def add(self, part: Part, x: Tensor, weights: Tensor) -> None:
        """Add one tile. Shapes: x (items * Hk, rows, d), weights (items * Hk, rows, cols)."""
        if not self.repeat:
            place = self.sum[part.items, :, part.cols]
            place += torch.bmm(weights.mT, x).view(place.shape)
            return
        if part.items != self.items:
            self._flush()
            self.items = part.items
        at = (part.cols.start, part.cols.stop)
        if at not in self.parts:
            self.parts[at] = part, x.new_zeros(x.shape[0], x.shape[2], part.n_cols)
        self.parts[at][1].baddbmm_(x.mT, weights)

    def total(self) -> Tensor:
        """Answer the sum, (B, Hk, Lk, d)."""
        self._flush()
        return self.sum

    def _flush(self) -> None:
        for part, gradient in self.parts.values():
            place = self.sum[part.items, :, part.cols]
            place.copy_(gradient.mT.reshape(place.shape))
        self.parts.clear()


def _add_learned(totals: list[Tensor], work: Work, tile: Tile, d_logits: Tensor) -> None:
    """Add what a tile gives to the gradients of what the biases learn."""
    places = iter(totals)
    for bias, value in zip(work.biases, tile.evaluated, strict=True):
        for gradient in bias.pull(d_logits, tile.part, value, work.factor):
            total = next(places)
            if gradient is not None:
                total += gradient
