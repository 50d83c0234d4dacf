"""Numbers in the shape and the dtype that masks and biases compute with."""

from __future__ import annotations

import torch
from torch import Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """Answer x as a floating-point tensor of at least 32 bits; integers, which may be large, become float64."""
    if not x.dtype.is_floating_point:
        return x.double()
    return x if x.dtype in (torch.float32, torch.float64) else x.float()


def per_head(value: float | Tensor, after: int = 2) -> float | Tensor:
    """Shape a number per head so that it broadcasts where `after` axes follow; numbers and scalars stay as they are."""
    if not isinstance(value, Tensor):
        return value
    value = at_least_float32(value)
    return value if value.ndim == 0 else value.reshape(-1, *[1] * after)
