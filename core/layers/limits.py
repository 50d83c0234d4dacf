"""Vectors cut to a largest norm."""

import math

import torch
from torch import Tensor


def limit_norms(x: Tensor, limit: float | None) -> Tensor:
    """Shorten the vectors that are longer than the limit: x <- x * min(1, limit / |x|).

    The direction stays. A vector within the limit is left as it is, bit for bit, and so is its gradient; of the
    gradient of a longer one only the part across it passes.

    Args:
        x: vectors along the last axis; their norms are taken in float32 or wider.
        limit: the largest norm, above 0; None answers x itself.

    Shapes:
        x: (..., D); out: as x.
    """
    if limit is None:
        return x
    wide = torch.float64 if x.dtype == torch.float64 else torch.float32
    norm: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=wide)
    shrinkage: Tensor = limit / norm.clamp(min=limit)
    return x * shrinkage.to(x.dtype)


def checked_limit(name: str, limit: float | None) -> float | None:
    """Answer the limit as a float.

    Raises:
        ValueError: it is not a finite number above 0.
    """
    if limit is not None and not (math.isfinite(limit) and limit > 0):
        raise ValueError(f"{name}: expected a finite number above 0, or None, got {limit}")
    return None if limit is None else float(limit)
