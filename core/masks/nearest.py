"""Which points are nearest, by a norm or by any other distance."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..symbols import expect_shape, expect_tensor

Metric = Callable[[Tensor, Tensor], Tensor]
"""Answers the distances of some points (rows, n) from all points (L, n), as (rows, L)."""


def norm(p: float) -> Metric:
    """Answer the distance in the p-norm, in float32 or float64."""
    if not p >= 0:
        raise ValueError(f"metric: expected a function or the p of a norm, 0 or more, got {p}")

    def distances(rows: Tensor, points: Tensor) -> Tensor:
        dtype = points.dtype if points.dtype in (torch.float32, torch.float64) else None
        dtype = dtype or (torch.float32 if points.dtype.is_floating_point else torch.float64)
        # cdist's default may go through a matrix product, whose rounding breaks ties at random.
        return torch.cdist(rows.to(dtype), points.to(dtype), p=p, compute_mode="donot_use_mm_for_euclid_dist")

    return distances


def nearest(distances: Tensor, k: int, include_self: bool, keep: Tensor | None, start: int) -> Tensor:
    """Answer the k nearest of the points from `start` on, -1 where there are none left.

    Shapes:
        distances: (rows, L) or (B, rows, L).
        Answer: (rows, k) or (B, rows, k).
    """
    L = distances.shape[-1]
    most = L if include_self else L - 1
    if not 1 <= k <= most:
        raise ValueError(f"k: expected 1 to {most} for L={L}, include_self={include_self}, got {k}")
    rows = torch.arange(start, start + distances.shape[-2], device=distances.device)
    distances = distances if distances.dtype.is_floating_point else distances.double()
    distances = torch.where(distances.isnan(), torch.inf, distances)
    itself = rows[:, None] == torch.arange(L, device=distances.device)
    distances = distances.masked_fill(itself, -torch.inf if include_self else torch.inf)
    if keep is not None:
        expect_tensor("keep", keep, boolean=True)
        expected = (*distances.shape[:-2], L)
        expect_shape("keep", keep, tuple(keep.shape) == expected, f"{expected}")
        distances = torch.where(keep[..., None, :] & keep[..., rows, None], distances, torch.inf)
    ordered, index = distances.sort(dim=-1, stable=True)
    return torch.where(torch.isposinf(ordered), -1, index)[..., :k]
