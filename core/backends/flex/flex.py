"""torch's flex_attention, compiled: on CUDA, every mask and bias that is a function of one pair, in linear memory.

The kernel skips blocks of 128 x 128 pairs that the mask rules out, and evaluates mask and bias, in their elementwise
form, inside, forward and backward; no gradient of a learned bias needs an L x L tensor. With half precision it runs in
that, but in float32 where a bias learns or scale or temperature is a tensor.

What is not finite is taken out of q, k and v before the kernel, and the rows that see it are made NaN by the bias: a
query that may not see a NaN answers as if there were none. Gradients are kept apart in this way only from what no
query sees, as in `fused`. Where only a value is not finite, lse is NaN too.
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Callable, Hashable
from itertools import count
from types import FunctionType
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ...engine import AttentionOutput, Backend, Cost, Problem, by_head, nan_where
from ...masks import And, Mask
from ...scores import Dot
from ...symbols import Mod, Part, Sizes, Symbolic, by_row, read

if TYPE_CHECKING:
    from torch.nn.attention.flex_attention import BlockMask  # which loads sympy: imported where it is needed

DEVICES = ("cuda",)
BLOCK = 128  # rows and columns of the blocks that are skipped as a whole
TABLE_BYTES = 1 << 24  # what a table of all pairs may take, for a node without an elementwise form
WALK = 1 << 26  # pairs of a mask that are computed at once to find the blocks
MOST_KERNELS, MOST_BLOCK_MASKS = 64, 32  # kept, those used last
MOST_FEATURES = 256  # of a head

Blocks = tuple[Tensor, Tensor, Tensor, Tensor]  # for each row of blocks: how many in part and which, in whole and which
_kernels: OrderedDict[Hashable, Callable[..., tuple[Tensor, Tensor]]] = OrderedDict()
_block_masks: OrderedDict[Hashable, Blocks] = OrderedDict()
_names = count()


class Flex(Backend):
    """torch's flex_attention."""

    name = "flex"

    def not_supported_reasons(self, problem: Problem) -> list[str]:
        """Say why this problem cannot be served; empty if it can."""
        p, reasons = problem, []
        if p.q.device.type not in DEVICES:
            return ["torch trains flex_attention on CUDA alone"]
        if p.q.dtype not in (torch.float32, torch.bfloat16, torch.float16):
            reasons.append(f"{str(p.q.dtype).removeprefix('torch.')}: the kernel computes in float32")
        if p.dropout_p > 0:
            reasons.append("dropout: the kernel has none")
        held = sorted(p.need & {"weights", "pair_weights"})
        if held:
            reasons.append(f"the kernel does not answer {', '.join(held)}")
        if "entropy" in p.need and p.bias is not None:
            reasons.append("entropy: the mean of a bias does not come out of the kernel")
        if "entropy" in p.need and p.q.dtype.itemsize < 4:
            reasons.append("entropy: half precision would round what it is computed from")
        if 0 in (p.B, p.H, p.Lq, p.Lk, p.v.shape[3]):
            reasons.append("there are no queries, keys or values")
        if max(p.q.shape[3], p.v.shape[3]) > MOST_FEATURES:
            reasons.append(f"more than {MOST_FEATURES} features in a head do not fit into the kernel")
        if getattr(torch.compiler, "is_exporting", torch.compiler.is_compiling)():
            reasons.append("torch.export: other runtimes do not know the kernel")
        reasons.extend(_large_tables(p))
        return reasons

    def cost(self, problem: Problem) -> Cost:
        """Estimate a training step: nine matrix products, two forward; blocks ruled out by position are skipped."""
        p = problem
        width, size = p.q.shape[3] + p.v.shape[3], _kernel_dtype(p).itemsize
        pairs = int(p.B * p.H * p.Lq * p.Lk * (1.0 if p.pattern is None else p.pattern.share(p.Lk, BLOCK)))
        linear = 2 * size * p.B * p.H * (p.Lq + p.Lk) * width
        held = sum(_table_bytes(table, p) for part in _nodes(p) for table in part.tables())
        if p.bias is not None and p.bias.requires_grad():
            held *= 2
        return Cost(
            flops=9 * pairs * width,
            peak_bytes=linear + held + min(WALK, p.B * p.H * p.Lq * p.Lk),
            memory="O(L^2): a table of all pairs" if held else "O(L d)",
            cells=pairs,
            route=self.name,
        )

    def run(self, problem: Problem, seed: Tensor | None) -> AttentionOutput:
        """Call flex_attention so that it computes what the contract defines."""
        p = problem
        sizes = Sizes(p.B, p.H, p.Lq, p.Lk, p.q.device)
        (q, q_bad), (k, k_bad), (v, v_bad) = map(_finite, (p.q, p.k, p.v))
        factor = by_head(p.scale) / by_head(p.temperature)  # of the score: a number, or one per head
        q, k, v = (x.to(_kernel_dtype(p)) for x in (q, k, v))
        q_offset, k_offset = (p.score.offset(x.to(p.compute_dtype)) for x in (q, k))
        if not isinstance(p.score, Dot):
            q, k = (p.score.prepare(x.to(p.compute_dtype)).to(x.dtype) for x in (q, k))
        scale = 1.0 if isinstance(factor, Tensor) else float(factor)
        if isinstance(factor, Tensor):
            q = q * factor
        of_key = nan_where(k_bad | v_bad).repeat_interleave(p.groups, dim=1)
        if k_offset is not None:
            of_key = of_key + k_offset.repeat_interleave(p.groups, dim=1) * _flat(factor)
        score_mod = _score_mod(p, sizes, read(nan_where(q_bad), "bhi", sizes), read(of_key, "bhj", sizes))
        block_mask = _block_mask(p, sizes)
        kernel = _attend if torch.compiler.is_compiling() else _kernel(p)

        def call(values: Tensor) -> tuple[Tensor, Tensor]:
            out, lse = kernel(_widen(q), _widen(k), _widen(values), score_mod, block_mask, scale, p.groups > 1)
            return out[..., : values.shape[3]], lse

        out, lse = call(v)
        dead = torch.isneginf(lse.detach())  # flex answers 0 there; filling keeps a strange gradient of those rows out
        out = out.masked_fill(dead[..., None], 0.0)
        entropy = None
        if "entropy" in p.need:
            mean, _ = call(k if k_offset is None else torch.cat([k, k_offset[..., None]], dim=-1))
            expected = scale * (q * mean[..., : q.shape[3]]).sum(dim=-1)
            if k_offset is not None:
                expected = expected + mean[..., -1] * _flat(factor)
            entropy = (lse.masked_fill(dead, 0.0) - expected).masked_fill(dead, 0.0)
        if q_offset is not None:
            lse = lse + q_offset * _flat(factor)
        lse = lse.masked_fill(dead, -torch.inf)
        return AttentionOutput(out.to(p.q.dtype), lse=lse if "lse" in p.need else None, entropy=entropy)


def _kernel_dtype(p: Problem) -> torch.dtype:
    """Answer what the kernel runs in: half precision only where nothing is learned but q, k and v.

    Its backward takes from the rounded output what it subtracts in each row. In a sum over all rows, as the gradient of
    a rate or a temperature is, that was wrong by up to 4% (bfloat16, 127 queries).
    """
    shared = isinstance(p.scale, Tensor) or isinstance(p.temperature, Tensor)
    return p.compute_dtype if shared or (p.bias is not None and p.bias.requires_grad()) else p.q.dtype


def _score_mod(p: Problem, sizes: Sizes, of_query: Mod, of_key: Mod) -> Callable[..., Tensor]:
    """Answer what the kernel adds to a scaled score; -inf in the bias masks its pair, whatever the score."""
    if p.bias is None:

        def plain(score: Tensor, b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
            return score + (of_query(b, h, i, j) + of_key(b, h, i, j))

        return plain
    bias = p.bias.elementwise(sizes)
    temperature = p.temperature
    cooling = by_row(temperature.float().reciprocal() if isinstance(temperature, Tensor) else 1.0 / temperature, sizes)

    def biased(score: Tensor, b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        value = bias(b, h, i, j)
        masked = value == -torch.inf
        times = cooling if isinstance(cooling, float) else cooling(b, h, i, j)
        logit = score + (of_query(b, h, i, j) + of_key(b, h, i, j)) + torch.where(masked, 0.0, value) * times
        return torch.where(masked, -torch.inf, logit)

    return biased


def _block_mask(p: Problem, sizes: Sizes) -> BlockMask | None:
    """Answer the mask with the blocks that it leaves; kept only for masks without tensors, whose values may change."""
    from torch.nn.attention.flex_attention import BlockMask

    nodes = [node for node in (p.pattern, p.padding) if node is not None]
    if not nodes:
        return None
    mask = nodes[0] if len(nodes) == 1 else And(tuple(nodes))
    fixed = not mask.tensors() and not torch.compiler.is_compiling()
    key = (_structure(mask), sizes) if fixed else None
    blocks = _block_masks.get(key) if fixed else None
    if blocks is None:
        blocks = _blocks(_count_allowed(mask, sizes))
    if fixed:
        _keep(_block_masks, key, blocks, MOST_BLOCK_MASKS)
    mask_mod = _four(mask.elementwise(sizes))
    return BlockMask.from_kv_blocks(*blocks, BLOCK, mask_mod, (p.Lq, p.Lk))


def _count_allowed(mask: Mask, sizes: Sizes) -> Tensor:
    """Count the allowed pairs of each block, a few rows of blocks at a time.

    Shapes:
        Answer: (B or 1, H or 1, blocks of queries, blocks of keys) int32.
    """
    B, H, Lq, Lk, device = sizes
    b, h = _shape(mask, sizes)[:2]
    rows = BLOCK * max(1, WALK // (b * h * Lk * BLOCK))
    counts = []
    for start in range(0, Lq, rows):
        part = Part(B, H, Lq, Lk, device, slice(0, B), slice(start, min(start + rows, Lq)), slice(0, Lk))
        block = mask.block(part).expand(b, h, part.n_rows, Lk)
        block = F.pad(block, (0, -Lk % BLOCK, 0, -part.n_rows % BLOCK))
        block = block.view(b, h, block.shape[2] // BLOCK, BLOCK, block.shape[3] // BLOCK, BLOCK)
        counts.append(block.sum(dim=(3, 5), dtype=torch.int32))
    return torch.cat(counts, dim=2)


def _blocks(counts: Tensor) -> Blocks:
    """List for each row of blocks those that are allowed in part, and those that are allowed as a whole."""
    full = counts == BLOCK * BLOCK
    return *_list((counts > 0) & ~full), *_list(full)


def _list(chosen: Tensor) -> tuple[Tensor, Tensor]:
    """Answer how many are chosen in each row, and their columns, followed by the others."""
    number = chosen.sum(dim=-1, dtype=torch.int32)
    order = torch.argsort(chosen.to(torch.int32), dim=-1, descending=True, stable=True)
    return number, order.to(torch.int32).contiguous()


def _kernel(p: Problem) -> Callable[..., tuple[Tensor, Tensor]]:
    """Answer a compiled kernel of its own for each structure: shapes, dtypes, what learns; never the values."""
    arguments = (p.q, p.k, p.v, p.pattern, p.padding, p.bias, p.scale, p.temperature)
    key = (_structure(arguments), p.score, p.q.device, torch.is_grad_enabled())
    kernel = _kernels.get(key)
    if kernel is None:
        # torch.compile counts what it compiles by code object, and gives up after a few: each structure has its own.
        code = _attend.__code__.replace(co_name=f"flex_{next(_names)}")
        own = FunctionType(code, globals(), code.co_name)
        kernel = torch.compile(own, fullgraph=True, dynamic=False)
    _keep(_kernels, key, kernel, MOST_KERNELS)
    return kernel


def _attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    score_mod: Callable[..., Tensor],
    block_mask: BlockMask | None,
    scale: float,
    grouped: bool,
) -> tuple[Tensor, Tensor]:
    from torch.nn.attention import flex_attention as flex

    options: dict[str, Any] = {"scale": scale, "enable_gqa": grouped}
    if not hasattr(flex, "AuxRequest"):  # an older torch
        out, lse = flex.flex_attention(q, k, v, score_mod, block_mask, return_lse=True, **options)
        return out, lse
    out, extra = flex.flex_attention(q, k, v, score_mod, block_mask, return_aux=flex.AuxRequest(lse=True), **options)
    return out, extra.lse


def _keep(cache: OrderedDict[Hashable, Any], key: Hashable, value: Any, most: int) -> None:
    cache[key] = value
    cache.move_to_end(key)
    if len(cache) > most:
        cache.popitem(last=False)


def _structure(value: Any) -> Hashable:
    """Answer what a kernel is compiled for: of tensors all but their values."""
    if isinstance(value, Tensor):
        return value.shape, value.stride(), value.dtype, value.requires_grad
    if isinstance(value, Symbolic):
        parts = tuple(getattr(value, field.name) for field in dataclasses.fields(value))  # type: ignore[arg-type]
        return type(value), _structure(parts)
    return tuple(map(_structure, value)) if isinstance(value, tuple) else value


def _nodes(p: Problem) -> list[Any]:
    return [node for node in (p.pattern, p.padding, p.bias) if node is not None]


def _shape(node: Any, sizes: Sizes) -> torch.Size:
    """Answer the shape of a mask or bias; on the meta device, so that nothing is computed."""
    shape: torch.Size = node.to("meta").materialize(*sizes[:4], device="meta").shape
    return shape


def _table_bytes(node: Any, p: Problem) -> int:
    return _shape(node, Sizes(p.B, p.H, p.Lq, p.Lk, p.q.device)).numel() * (1 if isinstance(node, Mask) else 4)


def _large_tables(p: Problem) -> list[str]:
    """Say which masks and biases have no elementwise form and are too large for a table of all pairs."""
    reasons = []
    for node in (table for part in _nodes(p) for table in part.tables()):
        size = _table_bytes(node, p)
        if size > TABLE_BYTES:
            reasons.append(
                f"{type(node).__name__} needs a table of all pairs, {size / 1e6:.0f} MB; "
                f"expected at most {TABLE_BYTES / 1e6:.0f} MB (backend 'gathered' serves masks that list pairs)"
            )
    return reasons


def _four(mod: Mod) -> Mod:
    """Answer a function of exactly (b, h, i, j), by whose arguments torch tells a mask from a score."""

    def mask_mod(b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        return mod(b, h, i, j)

    return mask_mod


def _finite(x: Tensor) -> tuple[Tensor, Tensor]:
    """Answer x with 0 in the place of what is not finite, and which vectors that touched."""
    finite = x.isfinite()
    return torch.where(finite, x, 0.0), ~finite.all(dim=-1)


def _widen(x: Tensor) -> Tensor:
    """Pad the features with 0 to a power of two of at least 16, which every version of the kernel takes."""
    features = max(16, 1 << (x.shape[3] - 1).bit_length())
    return F.pad(x, (0, features - x.shape[3])) if features > x.shape[3] else x


def _flat(factor: float | Tensor) -> float | Tensor:
    """Shape one number per head, (H, 1, 1) to (H, 1), so that it broadcasts against (B, H, L)."""
    return factor.flatten(-2) if isinstance(factor, Tensor) and factor.ndim else factor
