"""Listed pairs out of blocks: how a mask or bias that only computes blocks is looked up."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .part import Pairs, Part

CELLS = 1 << 21  # numbers that a block may hold


def look_up_in_blocks(block: Callable[[Part], Tensor], pairs: Pairs, recompute: bool) -> Tensor:
    """Pick listed pairs out of the blocks of rows that hold any, one block of at most about `CELLS` at a time.

    It costs the time of all pairs of these rows, and the memory of one block.

    Args:
        block: Answers for a part a tensor broadcastable to (items, H, rows, cols).
        pairs: What to pick.
        recompute: Whether a block is computed anew in backward, rather than kept for it.

    Shapes:
        Answer: (H or 1, *S).
    """
    item, query, key = torch.broadcast_tensors(pairs.item, pairs.query, pairs.key)  # type: ignore[no-untyped-call]
    shape = key.shape
    item, query, key = item.flatten(), query.flatten(), key.flatten()
    B, H, Lq, Lk = pairs[:4]
    corner = Part(B, H, Lq, Lk, key.device, slice(0, min(1, B)), slice(0, min(1, Lq)), slice(0, min(1, Lk)))
    if not key.numel():
        return block(corner).new_zeros(1, *shape)
    heads = block(corner).shape[1]
    rows = max(1, min(Lq, CELLS // (heads * Lk)))
    items = max(1, CELLS // (heads * Lk * Lq))
    across = -(-Lq // rows)
    tile = item // items * across + query // rows
    order = tile.argsort(stable=True)
    counts = torch.bincount(tile, minlength=-(-B // items) * across).tolist()
    picked: list[Tensor] = []
    for n, places in enumerate(torch.split(order, counts)):
        if not counts[n]:
            continue
        b, i = n // across * items, n % across * rows
        part = corner._replace(items=slice(b, min(b + items, B)), rows=slice(i, min(i + rows, Lq)), cols=slice(0, Lk))
        picked.append(_pick(block, part, item[places] - b, query[places] - i, key[places], recompute))
    back = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))
    return torch.cat(picked, dim=1)[:, back].view(-1, *shape)


def _pick(
    block: Callable[[Part], Tensor], part: Part, item: Tensor, query: Tensor, key: Tensor, recompute: bool
) -> Tensor:
    """Pick pairs, counted within a part, out of its block: (H or 1, pairs)."""

    def pick() -> Tensor:
        found = block(part)
        place = (x * (size > 1) for x, size in zip((item, query, key), (found.shape[0], *found.shape[2:]), strict=True))
        return found.movedim(1, 0)[(slice(None), *place)]

    if not recompute:
        return pick()
    from torch.utils.checkpoint import checkpoint

    answer: Tensor = checkpoint(pick, use_reentrant=False, preserve_rng_state=False)
    return answer
