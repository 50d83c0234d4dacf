"""A bias on the edges of a graph."""

from __future__ import annotations

import torch
from torch import Tensor

from ..symbols import (
    Pairs,
    Part,
    at_least_float32,
    check_edge_range,
    check_edges,
    edge_places,
    expect_shape,
    expect_tensor,
    look_up,
    node,
    within,
)
from .base import Bias


@node
class EdgeBias(Bias):
    """bias(b, h, i, j) = the sum of value[e, h] over the edges e from key j to query i; 0 off the edges.

    Args:
        edge_index: Row 0 the key (PyG's source), row 1 the query (PyG's target). Duplicate edges add.
        value: The numbers, for all heads or per head; may require grad.
        batch: The item that each edge belongs to; None puts every edge in every item.

    Shapes:
        edge_index: (2, E) integer.
        value: (E,) or (E, H).
        batch: (E,) integer.

    Raises:
        TypeError: A field is not a tensor of the right kind.
        ValueError: A shape or an index does not fit.
    """

    edge_index: Tensor
    value: Tensor
    batch: Tensor | None = None

    def __post_init__(self) -> None:
        expect_tensor("EdgeBias.edge_index", self.edge_index, integer=True)
        expect_tensor("EdgeBias.value", self.value)
        check_edges("EdgeBias", self.edge_index, batch=self.batch)
        expect_shape(
            "EdgeBias.value",
            self.value,
            self.value.ndim in (1, 2) and self.value.shape[0] == self.edge_index.shape[1],
            f"(E,) or (E, H) with E={self.edge_index.shape[1]}",
        )

    def check_sizes(self, B: int, H: int, Lq: int, Lk: int) -> None:
        check_edge_range("EdgeBias", self.edge_index, self.batch, B, Lq, Lk)
        expect_shape(
            "EdgeBias.value",
            self.value,
            self.value.ndim == 1 or self.value.shape[1] == H,
            f"(E,) or (E, H) with H={H}",
        )

    def block(self, part: Part) -> Tensor:
        value = at_least_float32(self.value)
        value = value if value.ndim == 2 else value[:, None]
        place, inside, shape = edge_places(self.edge_index, self.batch, part)
        block = value.new_zeros(*shape, value.shape[1])
        block = block.index_put(place, torch.where(inside[:, None], value, 0.0), accumulate=True)
        return block[:, :-1, :-1].permute(0, 3, 1, 2)

    def ready(self) -> Bias:
        return _ByQuery(self, *self.edge_index[1].long().sort(stable=True))

    def at(self, pairs: Pairs) -> Tensor:
        value = at_least_float32(self.value)
        value = value if value.ndim == 2 else value[:, None]
        edges, own = pairs.codes(self.edge_index, self.batch)
        if edges.numel() == 0:
            return value.new_zeros(1, *[1] * own.ndim)
        known, which = torch.unique(edges, return_inverse=True)
        total = value.new_zeros(known.numel(), value.shape[1]).index_add(0, which, value)
        place, hit = look_up(known, own)
        return torch.where(hit[..., None], total[place], 0.0).movedim(-1, 0)


@node
class _ByQuery(Bias):
    """An EdgeBias whose edges are sorted by query: a part costs as much as it has edges.

    What is evaluated of a part is, for each of its edges, which edge, item and place in the part it is, (3, n) int64.
    """

    bias: EdgeBias
    queries: Tensor
    order: Tensor

    def block(self, part: Part) -> Tensor:
        return self.bias.block(part)

    def evaluate(self, part: Part, differentiable: bool) -> Tensor:
        ends = torch.tensor([part.rows.start, part.rows.stop], device=part.device)
        first, last = torch.searchsorted(self.queries, ends).tolist()
        edge = self.order[first:last]
        row, row_inside = within(self.queries[first:last], part.rows)
        column, inside = within(self.bias.edge_index[0][edge], part.cols)
        inside, place = inside & row_inside, row * part.n_cols + column
        items = part.items.stop - part.items.start
        if self.bias.batch is None:
            edge, place = edge[inside], place[inside]
            item = torch.arange(items, device=part.device).repeat_interleave(edge.shape[0])
            return torch.stack([edge.repeat(items), item, place.repeat(items)])
        item, item_inside = within(self.bias.batch[edge], part.items)
        return torch.stack([edge, item, place])[:, inside & item_inside]

    def add_to(self, logits: Tensor, evaluated: Tensor, factor: float) -> None:
        edge, item, place = evaluated
        H, cells = logits.shape[1], logits.shape[2] * logits.shape[3]
        heads = torch.arange(H, device=logits.device)
        value = self.bias.value.detach()[edge].to(logits.dtype) * factor
        value = value if value.ndim == 2 else value[:, None]
        at = (item[:, None] * H + heads) * cells + place[:, None]
        logits.view(-1).index_add_(0, at.flatten(), value.expand(-1, H).reshape(-1))

    def pull(self, d_logits: Tensor, part: Part, evaluated: Tensor, factor: float) -> list[Tensor | None]:
        value = self.bias.value
        if not value.requires_grad:
            return []
        edge, item, place = evaluated
        gradient = d_logits.flatten(2)[item, :, place] * factor
        gradient = gradient if value.ndim == 2 else gradient.sum(dim=1)
        total = torch.zeros(value.shape, dtype=gradient.dtype, device=value.device)
        return [total.index_add_(0, edge, gradient).to(value.dtype)]
