"""Attacks on one key of a model: at the key projection of a layer, and through the input.

Key level: k_j <- r m u, with m the median norm of the head's keys and u a direction that the queries like.
Input level: x_region <- r m d, with m the median norm of the region in clean inputs and d found by gradient ascent.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..layers import MultiheadAttention
from ..layers.rotary import batched_positions

DIRECTIONS = ("mean", "hull", "longest")
"""The mean of the unit queries; the direction whose smallest cosine with a query is largest; the longest query."""


class View(NamedTuple):
    """Who sees the key that is attacked in one call of a layer.

    Attributes:
        position: Of the key.
        seeing: The queries that see it, (B, H, Lq), bool.
        seen: The keys that any query sees, which count for the median norm, (B, Hk, Lk), bool.
    """

    position: int
    seeing: Tensor
    seen: Tensor


class Region(NamedTuple):
    """What an attacker of the input may write, and which key of every layer that is.

    Attributes:
        where: Entries of the input that are the attacker's, bool, broadcastable to it.
        key: The position of the token that they feed, among the keys of every layer.
        low: Smallest value that the input may take; None for any.
        high: Largest value that the input may take; None for any.
    """

    where: Tensor
    key: int
    low: float | None = None
    high: float | None = None

    def write(self, x: Tensor, content: Tensor) -> Tensor:
        """Answer x with the content in the region, within the values that are allowed."""
        return torch.where(self.where, content.clamp(self.low, self.high) if self._clamps else content, x)

    @property
    def _clamps(self) -> bool:
        return self.low is not None or self.high is not None


def direction(queries: Tensor, seeing: Tensor, kind: str, *, steps: int = 100) -> Tensor:
    """A unit vector that the queries of a head agree with.

    "hull" is the point of the convex hull of the unit queries that is nearest to 0: where the queries lie in an open
    half-space, no direction has a larger smallest cosine with them, and a long enough key in it captures all of them.

    Args:
        queries: of the heads that share a key.
        seeing: whether a query sees the key.
        kind: one of DIRECTIONS.
        steps: of Gilbert's algorithm, for "hull".

    Shapes:
        queries: (..., n, D); seeing: (..., n), bool; out: (..., D).

    References:
        Gilbert, An iterative procedure for computing the minimum of a quadratic form on a convex set, SIAM J. Control
        1966, section 3.
    """
    norms = queries.norm(dim=-1).masked_fill(~seeing, 0)
    units = (queries / norms.clamp(min=1e-30)[..., None]).masked_fill(~seeing[..., None], 0)
    if kind == "longest":
        longest = norms.argmax(dim=-1, keepdim=True)
        return torch.take_along_dim(units, longest[..., None], dim=-2).squeeze(-2)
    point = units.sum(dim=-2) / seeing.sum(dim=-1, keepdim=True).clamp(min=1)
    for _ in range(steps if kind == "hull" else 0):
        along = (units @ point[..., None]).squeeze(-1).masked_fill(~seeing, torch.inf)
        farthest = torch.take_along_dim(units, along.argmin(dim=-1)[..., None, None], dim=-2).squeeze(-2)
        step = farthest - point
        size = -(point * step).sum(-1, keepdim=True) / step.square().sum(-1, keepdim=True).clamp(min=1e-30)
        point = point + size.clamp(0, 1) * step
    return torch.nn.functional.normalize(point, dim=-1, eps=1e-30)


@contextmanager
def injected_key(layer: MultiheadAttention, factor: float, kind: str, views: Sequence[View]) -> Iterator[None]:
    """While open, one key of the layer is replaced where its key projection comes out, before any norm or limit.

    Args:
        layer: whose key.
        factor: r, its norm over the median norm of the head's keys.
        kind: of the direction, one of DIRECTIONS.
        views: of the layer's calls, in their order.
    """
    now: dict[str, Any] = {}
    calls = iter(views)

    def enter(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        now["view"] = next(calls)
        positions, key_positions = kwargs.get("positions"), kwargs.get("key_positions")
        now["positions"] = positions
        now["key_positions"] = positions if key_positions is None else key_positions

    def take_queries(module: nn.Module, args: Any, out: Tensor) -> None:
        now["q"] = out

    def replace_key(module: nn.Module, args: tuple[Tensor]) -> tuple[Tensor]:
        (k,) = args
        position, seeing, seen = now["view"]
        wide = k.to(torch.promote_types(k.dtype, torch.float32))
        q = now["q"].to(wide.dtype).transpose(1, 2)
        if layer.rotary is not None:
            q = layer.rotary(q, now["positions"])
        sizes = (len(k), layer.kv_heads, -1)  # queries of all heads that share a key
        u = direction(q.reshape(*sizes, layer.head_dim), seeing.reshape(sizes), kind)
        u = u if layer.scale is None or layer.scale >= 0 else -u
        if layer.rotary is not None:
            places = batched_positions(now["key_positions"], k.shape[0], k.shape[1], layer.rotary.axes, k.device)
            u = layer.rotary(u[:, :, None], -places[:, position : position + 1])[:, :, 0]
        if isinstance(module, nn.LayerNorm):
            u = torch.nn.functional.normalize(u / torch.where(module.weight == 0, 1, module.weight), dim=-1)
        norms = wide.norm(dim=-1).transpose(1, 2).masked_fill(~seen, torch.nan)
        median = norms.transpose(0, 1).flatten(1).nanmedian(dim=1).values
        median = torch.where(median > 0, median, 1.0)[:, None]
        changed = k.clone()
        most = torch.finfo(k.dtype).max
        changed[:, position] = (factor * median * u).clamp(-most, most).to(k.dtype)
        return (changed,)

    handles = [
        layer.register_forward_pre_hook(enter, with_kwargs=True),
        layer.q_norm.register_forward_hook(take_queries),
        layer.k_norm.register_forward_pre_hook(replace_key),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def row(x: Tensor, key: int) -> Region:
    """The default region: one row of a sequence (B, L, features).

    Raises:
        ValueError: x is no sequence, or has no such row.
    """
    if x.dim() != 3:
        raise ValueError(f"region: expected one where the input is not (B, L, features), got None for {tuple(x.shape)}")
    if not 0 <= key < x.shape[1]:
        raise ValueError(f"key: expected a position among {x.shape[1]} rows of the input, got {key}")
    return Region((torch.arange(x.shape[1], device=x.device) == key)[None, :, None], key)


def unit(x: Tensor, region: Region) -> Tensor:
    """The part of x in the region, over its norm for each item; 0 elsewhere."""
    inside = x.masked_fill(~region.where, 0)
    return torch.nn.functional.normalize(inside.flatten(1), dim=1, eps=1e-30).view_as(inside)
