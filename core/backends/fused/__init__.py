"""The backend `fused`: PyTorch's kernel; separable biases become features of q and k."""

from .fused import NAME, cost, not_supported_reasons, run

__all__ = ["NAME", "cost", "not_supported_reasons", "run"]
