"""Edges of a graph in a part of a problem, and numbers among others."""

from __future__ import annotations

import torch
from torch import Tensor

from .part import Part


def edge_places(
    edge_index: Tensor, batch: Tensor | None, part: Part
) -> tuple[tuple[Tensor, ...], Tensor, tuple[int, ...]]:
    """Say where each edge falls in a part.

    Edges outside the part go to one more row and column, to be cut off, so that no shape depends on values.

    Shapes:
        Answer: the indices (item, query, key), (E,) each; which edges lie inside, (E,) bool; the shape that holds them,
            (items or 1, rows + 1, cols + 1).
    """
    (key, key_inside), (query, query_inside) = within(edge_index[0], part.cols), within(edge_index[1], part.rows)
    inside = key_inside & query_inside
    item, items = torch.zeros_like(key), 1
    if batch is not None:
        items = part.items.stop - part.items.start
        item = batch - part.items.start
        inside = inside & (item >= 0) & (item < items)
        item = torch.where(inside, item, 0)
    place = (item, torch.where(inside, query, part.n_rows), torch.where(inside, key, part.n_cols))
    return place, inside, (items, part.n_rows + 1, part.n_cols + 1)


def within(index: Tensor, cut: slice) -> tuple[Tensor, Tensor]:
    """Say where an index falls in a slice, and whether it falls into it at all."""
    step = cut.step or 1
    place = index - cut.start
    inside = (index >= cut.start) & (index < cut.stop)
    return (place, inside) if step == 1 else (place // step, inside & (place % step == 0))


def look_up(known: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Say where each wanted number stands among the known ones, which ascend, and whether it is there at all."""
    if known.numel() == 0:
        return torch.zeros_like(wanted), torch.zeros_like(wanted, dtype=torch.bool)
    place = torch.searchsorted(known, wanted.contiguous()).clamp_max(known.numel() - 1)
    return place, known[place] == wanted
