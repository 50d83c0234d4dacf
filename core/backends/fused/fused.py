"""torch's scaled_dot_product_attention: its flash kernel where it can run, with a dense mask where it must.

Rows that see no key and keys that no query sees are taken out before the kernel and put back as 0 after it, so that
nothing leaks from them, NaN included. What is not finite at a key that some queries see may reach others.
"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ...engine import AttentionOutput, Backend, Cost, Problem, by_head
from ...scores import Dot
from ...symbols import Part
from .folding import Fold, fold


class Fused(Backend):
    """torch's fused kernel."""

    name = "fused"

    def not_supported_reasons(self, problem: Problem) -> list[str]:
        """Say why this problem cannot be served; empty if it can."""
        p, reasons = problem, []
        held = sorted(p.need & {"weights", "pair_weights"})
        if held:
            reasons.append(f"the kernel does not answer {', '.join(held)}")
        elif p.need:
            reasons.extend(_no_statistics(p))
        if p.dropout_p > 0:
            reasons.append("dropout: the kernel would drop other weights and hold all of them (L^2)")
        if p.q.device.type != "cpu" and p.q.dtype.itemsize < 4 and _has_bias(p):
            reasons.append(
                "a bias with half precision: off the CPU the kernel would round the bias to half precision too"
            )
        return reasons

    def cost(self, problem: Problem) -> Cost:
        """Estimate a training step: seven matrix products in the flash kernel, six in torch's math path."""
        p, _ = _folded(problem)
        width = p.q.shape[3] + p.v.shape[3]
        pairs = p.B * p.H * p.Lq * p.Lk
        size = p.q.dtype.itemsize
        linear = 2 * size * p.B * p.H * (p.Lq + p.Lk) * width
        route = _route(p)
        if route in ("plain", "causal", "keys"):
            half = 2 if route == "causal" else 1
            flops, cells = 7 * pairs * width // half, pairs // half
            return Cost(flops=flops, peak_bytes=linear, memory="O(L d)", cells=cells, route=self.name)
        if _mask_needs_grad(p):
            why = "the mask requires grad, so torch leaves its flash kernel"
            return Cost(
                flops=6 * pairs * width,
                peak_bytes=linear + 4 * pairs * size,
                memory=f"O(L^2): {why}",
                cells=pairs,
                route=f"{self.name} by torch's math",
            )
        B, H = _mask_batch(p)
        dense = B * H * p.Lq * p.Lk * max(size, 4)
        return Cost(
            flops=7 * pairs * width,
            peak_bytes=linear + (3 if _has_bias(p) else 2) * dense,
            memory="O(L^2): a dense mask",
            cells=pairs,
            entries=B * H * p.Lq * p.Lk,
            route=f"{self.name} with a dense mask",
        )

    def run(self, problem: Problem, seed: Tensor | None) -> AttentionOutput:
        """Call SDPA so that it computes what the contract defines."""
        p, found = _folded(problem)
        route = _route(p)
        q, k, v = _strided(p.q), _strided(p.k), _strided(p.v)
        mask: Tensor | None = None
        alive: Tensor | None = None  # rows with an allowed key, broadcastable to (B, H, Lq, 1)
        if route == "dense":
            mask, alive, seen = _dense_mask(p)
            k, v = k.masked_fill(~seen, 0.0), v.masked_fill(~seen, 0.0)
        elif p.padding is not None:
            keep = p.padding.keep_keys(p.Lk)
            alive = keep.any(dim=-1)[:, None, None, None]
            if route == "keys":
                mask = keep[:, None, None, :] | ~alive
            queries = p.padding.keep_queries(p.Lq)
            if queries is not None:
                alive = alive & queries[:, None, :, None]
                keep = keep & queries.any(dim=-1, keepdim=True)
            k = k.masked_fill(~keep[:, None, :, None], 0.0)
            v = v.masked_fill(~keep[:, None, :, None], 0.0)
        if alive is not None:
            q = q.masked_fill(~alive, 0.0)

        q, k = _prepare(p, q), _prepare(p, k)
        q, scale = _apply_scale(p, q)
        if found is not None:
            q = torch.cat([q * scale, found.query / by_head(p.temperature)], dim=-1)
            k, scale = torch.cat([k, found.key], dim=-1), 1.0
        v, Dv = _match_head_size(v, q.shape[3]), v.shape[3]
        if Dv > q.shape[3]:
            q, k = _match_head_size(q, Dv), _match_head_size(k, Dv)
        lse = entropy = None
        if p.need:
            out, lse, entropy = _statistics(q, k, v, mask, route == "causal", scale, "entropy" in p.need)
            if found is not None:
                lse = lse + found.row / by_head(p.temperature, 1)
        else:
            out = F.scaled_dot_product_attention(
                q, k, v, attn_mask=mask, is_causal=route == "causal", scale=scale, enable_gqa=p.groups > 1
            )
        out = out[..., :Dv]
        if alive is not None:
            out, dead = out.masked_fill(~alive, 0.0), ~alive[..., 0]
            lse = None if lse is None else lse.masked_fill(dead, -torch.inf)
            entropy = None if entropy is None else entropy.masked_fill(dead, 0.0)
        return AttentionOutput(out, lse=lse if "lse" in p.need else None, entropy=entropy)


def _no_statistics(p: Problem) -> list[str]:
    """Say why lse and entropy cannot be had from the kernel: it answers lse without a gradient, on the CPU."""
    asked, reasons = ", ".join(sorted(p.need)), []
    if p.q.device.type != "cpu":
        reasons.append(f"{asked}: only torch's kernel for the CPU answers lse")
    if p.q.dtype.itemsize < 4:
        reasons.append(f"{asked}: half precision would round what they are computed from")
    numbers = [x for x in (p.q, p.k, p.v, p.scale, p.temperature) if isinstance(x, Tensor)]
    learned = (p.bias is not None and p.bias.requires_grad()) or any(x.requires_grad for x in numbers)
    if learned and torch.is_grad_enabled():
        reasons.append(f"{asked}: not differentiable here")
    if p.q.numel() == 0 or p.k.numel() == 0:
        reasons.append(f"{asked}: there are no queries or no keys")
    if "entropy" in p.need and _has_bias(_folded(p)[0]):
        reasons.append("entropy: what is not folded of the bias does not come out of the kernel")
    return reasons


def _statistics(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool, scale: float, entropy: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Answer out, lse and the entropy, lse_i - scale * q_i . sum_j w_ij k_j: a second pass with the keys as values."""
    if mask is not None and mask.dtype == torch.bool:
        mask = torch.where(mask, 0.0, -torch.inf).to(q.dtype)
    groups = q.shape[1] // k.shape[1]
    k, v = (x if groups == 1 else x.repeat_interleave(groups, dim=1) for x in (k, v))
    flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    out, lse = flash(q, k, v, 0.0, causal, attn_mask=mask, scale=scale)
    if not entropy:
        return out, lse, None
    mean_key, _ = flash(q, k, k, 0.0, causal, attn_mask=mask, scale=scale)
    return out, lse, lse - scale * (q * mean_key).sum(dim=-1)


def _folded(p: Problem) -> tuple[Problem, Fold | None]:
    """Answer the problem without what becomes features of q and k, and those features; worked out once a problem."""
    if "folded" not in p.memo:
        found, rest = fold(p) if _has_bias(p) else None, p
        if found is not None:
            rest = replace(p, bias=found.rest, score=Dot() if p.score.has_offset else p.score)
        p.memo["folded"] = rest, found
    answer: tuple[Problem, Fold | None] = p.memo["folded"]
    return answer


def _route(p: Problem) -> str:
    """Answer how the structure reaches the kernel: "plain", "causal", "keys" (key padding alone) or "dense"."""
    if _has_bias(p):
        return "dense"
    if p.pattern is None or (p.pattern.is_causal and p.Lq == 1):
        return "plain" if p.padding is None else "keys"
    if p.pattern.is_causal and p.Lq == p.Lk:
        # Lengths keep the first keys, and a real query sees no key after itself: causality alone fences the padding.
        if p.padding is None or (p.padding.queries is p.padding.keys and p.padding.keys.ndim == 1):
            return "causal"
    return "dense"


def _has_bias(p: Problem) -> bool:
    return p.bias is not None or p.score.has_offset


def _mask_needs_grad(p: Problem) -> bool:
    if not torch.is_grad_enabled():
        return False
    numbers = [x for x in (p.scale, p.temperature) if isinstance(x, Tensor)] if _has_bias(p) else []
    offset = p.score.has_offset and p.k.requires_grad
    return offset or (p.bias is not None and p.bias.requires_grad()) or any(x.requires_grad for x in numbers)


def _mask_batch(p: Problem) -> tuple[int, int]:
    """Answer the batch and head sizes of the dense mask."""
    whole = Part.whole(p.B, p.H, p.Lq, p.Lk, p.q.device)
    with torch.no_grad():
        shapes = [node.spread(whole) for node in (p.pattern, p.padding, p.bias) if node is not None]
    if p.score.has_offset:
        shapes.append((p.B, p.H))
    return max(B for B, _ in shapes), max(H for _, H in shapes)


def _dense_mask(p: Problem) -> tuple[Tensor, Tensor, Tensor]:
    """Answer SDPA's mask, the rows that see a key (b, h, Lq, 1), and the keys that a query sees (b, hk, Lk, 1).

    Dead rows are opened in the mask, so that no kernel meets a row of -inf alone; the caller closes them again.
    """
    sizes = (p.B, p.H, p.Lq, p.Lk)
    allowed = torch.ones((1, 1, 1, 1), dtype=torch.bool, device=p.q.device)
    for node in (p.pattern, p.padding):
        if node is not None:
            allowed = allowed & node.materialize(*sizes, device=p.q.device)
    bias = None if p.bias is None else p.bias.materialize(*sizes, device=p.q.device)
    if bias is not None:
        allowed = allowed & ~torch.isneginf(bias)
    allowed = allowed.expand(*allowed.shape[:2], p.Lq, p.Lk)
    alive = allowed.any(dim=-1, keepdim=True)
    seen = allowed.any(dim=-2)[..., None]
    if seen.shape[1] > 1:
        seen = seen.reshape(seen.shape[0], p.H // p.groups, p.groups, p.Lk, 1).any(dim=2)
    if not _has_bias(p):
        return allowed | ~alive, alive, seen
    offset = p.score.offset(p.k.masked_fill(~seen, 0.0).to(p.compute_dtype))
    if offset is not None:
        offset = offset.repeat_interleave(p.groups, dim=1)[..., None, :] * by_head(p.scale)
        bias = offset if bias is None else bias + offset
    assert bias is not None
    bias = bias.to(p.compute_dtype) / by_head(p.temperature)
    return torch.where(alive, torch.where(allowed, bias, -torch.inf), 0.0), alive, seen


def _prepare(p: Problem, x: Tensor) -> Tensor:
    return x if isinstance(p.score, Dot) else p.score.prepare(x.to(p.compute_dtype)).to(x.dtype)


def _apply_scale(p: Problem, q: Tensor) -> tuple[Tensor, float]:
    """Answer q and the number that SDPA is to scale by; a tensor scale goes into q."""
    if isinstance(p.scale, Tensor) or isinstance(p.temperature, Tensor):
        factor = by_head(p.scale) / by_head(p.temperature)
        return (q.to(p.compute_dtype) * factor).to(q.dtype), 1.0
    return q, p.scale / p.temperature


def _strided(x: Tensor) -> Tensor:
    return x if x.stride(-1) == 1 else x.contiguous()


def _match_head_size(x: Tensor, D: int) -> Tensor:
    """Pad with zero features: the flash kernel runs only where q, k and v have one head size."""
    return F.pad(x, (0, D - x.shape[3])) if x.shape[3] < D else x
