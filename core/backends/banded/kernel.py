"""Attention in a band by torch's flash kernel for the CPU, on blocks of queries and views of their windows of keys.

Blocks and pieces (`blocks`) share one softmax per row:

    lse_i = log sum over parts of exp(lse_i^part),  out_i = sum over parts of exp(lse_i^part - lse_i) out_i^part

Backward gives the kernel the joint lse and out, so that its P_ij = exp(S_ij - lse_i) and its delta_i = dO_i . O_i are
those of the whole row. A gradient of lse enters as one feature more, in which dO is 1, O is -dlse and v is 0.

References:
    Dao et al.: FlashAttention. NeurIPS 2022, algorithm 4, for P and delta.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ...engine import Problem
from .blocks import Batch, Blocks, Piece


def attend_by_blocks(blocks: Blocks, scale: float, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Answer out and lse, both differentiable; scale * q_i . k_j is the logit before the bias.

    Shapes:
        q: (B, H, Lq, d), all finite, as k and v.
        k: (B, Hk, Lk, d).
        v: (B, Hk, Lk, Dv).
        out: (B, H, Lq, Dv).
        lse: (B, H, Lq).
    """
    out, lse = _Banded.apply(blocks, scale, q, k, v)
    return out, lse


class _Banded(torch.autograd.Function):
    """(q, k, v) -> (out, lse)."""

    @staticmethod
    def forward(ctx: Any, blocks: Blocks, scale: float, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        p, D, Dv = blocks.problem, q.shape[3], v.shape[3]
        q, k, v = (_dense(_padded(x, max(D, Dv))) for x in (q, k, v))
        out = q.new_zeros(p.B, p.Lq, p.H, q.shape[3]).transpose(1, 2)  # by position, as the next layer reads it
        lse = q.new_full((p.B, p.H, p.Lq), -torch.inf)
        for batch in blocks.batches():
            added = blocks.added(batch)
            dead = added.amax(dim=-1) == -torch.inf
            for heads in _head_slices(p):
                mixed, total = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
                    _rows(q[:, heads], batch),
                    _windows(k, batch),
                    _windows(v, batch),
                    attn_mask=_of_heads(added, heads),
                    scale=scale,
                )
                total = total.masked_fill(_of_heads(dead, heads), -torch.inf)
                _rows(out[:, heads], batch).copy_(mixed)
                _rows(lse[:, heads, :, None], batch).copy_(total[..., None])
        for piece in blocks.pieces():
            logits = scale * (_by_key(q, piece, p) @ k[piece.item][:, piece.cols].mT)
            logits = logits.view(p.H, len(piece.rows), -1) + piece.added
            mine, mine_lse = out[piece.item], lse[piece.item]
            before = mine_lse[:, piece.rows]
            joint = torch.logaddexp(before, logits.logsumexp(dim=-1))
            base = _finite(joint)
            weights = (logits - base[..., None]).exp().view(k.shape[1], -1, len(piece.cols))
            mixed = (weights @ v[piece.item][:, piece.cols]).view(p.H, len(piece.rows), -1)
            mine[:, piece.rows] = mine[:, piece.rows] * (before - base).exp()[..., None] + mixed
            mine_lse[:, piece.rows] = joint
        ctx.save_for_backward(q, k, v, out, lse)
        ctx.blocks, ctx.scale, ctx.sizes = blocks, scale, (D, Dv)
        ctx.set_materialize_grads(False)
        return out[..., :Dv], lse

    @staticmethod
    def backward(ctx: Any, d_out: Tensor | None, d_lse: Tensor | None) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "backend: expected 'reference' for second derivatives (create_graph=True), got 'banded', which has none"
            )
        saved = ctx.saved_tensors
        with torch.autocast(saved[0].device.type, enabled=False):  # the caller's would round what is summed up here
            return None, None, *_gradients(ctx.blocks, ctx.scale, ctx.sizes, saved, d_out, d_lse)


def _gradients(
    blocks: Blocks,
    scale: float,
    sizes: tuple[int, int],
    saved: tuple[Tensor, ...],
    d_out: Tensor | None,
    d_lse: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Answer the gradients of q, k and v."""
    (q, k, v, out, lse), (D, Dv), p = saved, sizes, blocks.problem
    d_out = torch.zeros_like(out) if d_out is None else _padded(d_out, out.shape[3])
    if d_lse is not None:
        d_lse = torch.where(lse == -torch.inf, 0.0, d_lse)
        out, d_out = torch.cat([out, -d_lse[..., None]], dim=-1), F.pad(d_out, (0, 1), value=1.0)
        q, k, v = (F.pad(x, (0, 1)) for x in (q, k, v))
    base = _finite(lse)
    dq, dk, dv = (torch.zeros_like(x) for x in (q, k, v))  # laid out as the inputs: nobody copies them once more
    for batch in blocks.batches():
        added = blocks.added(batch)
        for heads in _head_slices(p):
            d_rows, d_keys, d_values = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward(
                _dense(_rows(d_out[:, heads], batch)),
                _rows(q[:, heads], batch),
                _windows(k, batch),
                _windows(v, batch),
                _rows(out[:, heads], batch),
                _rows(base[:, heads, :, None], batch)[..., 0],
                0.0,
                False,
                attn_mask=_of_heads(added, heads),
                scale=scale,
            )
            _rows(dq[:, heads], batch).copy_(d_rows)
            _add_windows(dk, batch, d_keys)
            _add_windows(dv, batch, d_values)
    for piece in blocks.pieces():
        of, rows, cols = piece.item, piece.rows, piece.cols
        q_rows, d_rows, o_rows = (_by_key(x, piece, p) for x in (q, d_out, out))
        keys, values = k[of][:, cols], v[of][:, cols]
        logits = scale * (q_rows @ keys.mT).view(p.H, len(rows), -1) + piece.added
        weights = (logits - base[of][:, rows, None]).exp().view(k.shape[1], -1, len(cols))
        delta = (d_rows * o_rows).sum(dim=-1, keepdim=True)
        d_scores = scale * weights * (d_rows @ values.mT - delta)
        dq[of].index_add_(1, rows, (d_scores @ keys).view(p.H, len(rows), -1))
        dk[of].index_add_(1, cols, d_scores.mT @ q_rows)
        dv[of].index_add_(1, cols, weights.mT @ d_rows)
    return dq[..., :D], dk[..., :D], dv[..., :Dv]


def _padded(x: Tensor, width: int) -> Tensor:
    """Answer x with features of 0 up to a width."""
    return F.pad(x, (0, width - x.shape[3])) if x.shape[3] < width else x


def _dense(x: Tensor) -> Tensor:
    """Answer x with its features next to each other in memory, as the kernel wants them."""
    return x if x.stride(3) == 1 else x.contiguous()


def _finite(lse: Tensor) -> Tensor:
    return torch.where(lse == -torch.inf, 0.0, lse)


def _head_slices(p: Problem) -> list[slice]:
    """Answer slices of the query heads; each meets every key head once, in order."""
    return [slice(g, None, p.groups) for g in range(p.groups)]


def _of_heads(x: Tensor, heads: slice) -> Tensor:
    return x[:, heads] if x.shape[1] > 1 else x


def _rows(x: Tensor, batch: Batch) -> Tensor:
    """View (B, H, Lq, d) as the queries of each block, (blocks, H, size, d)."""
    return x[batch.item][:, batch.rows].unfold(1, batch.size, batch.size).permute(1, 0, 3, 2)


def _windows(x: Tensor, batch: Batch) -> Tensor:
    """View (B, Hk, Lk, d) as the keys of each block, (blocks, Hk, reach, d); those of neighbours overlap."""
    return x[batch.item][:, batch.cols].unfold(1, batch.reach, batch.size).permute(1, 0, 3, 2)


def _add_windows(total: Tensor, batch: Batch, x: Tensor) -> None:
    """Add (blocks, Hk, reach, d) to what `_windows` views, in strips that do not overlap."""
    place, n = total[batch.item][:, batch.cols], x.shape[0]
    for start in range(0, batch.reach, batch.size):
        strip = x[:, :, start : start + batch.size]
        wide = strip.shape[2]
        stop = start + (n - 1) * batch.size + wide
        place[:, start:stop].unfold(1, wide, batch.size).permute(1, 0, 3, 2).add_(strip)


def _by_key(x: Tensor, piece: Piece, p: Problem) -> Tensor:
    """Pick the queries of a piece out of (B, H, Lq, d), by key heads: (Hk, groups * rows, d)."""
    return x[piece.item][:, piece.rows].reshape(-1, p.groups * len(piece.rows), x.shape[3])
