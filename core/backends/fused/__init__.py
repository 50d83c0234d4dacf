"""The backend `fused`: PyTorch's kernel; separable biases become features of q and k."""

from .fused import Fused

__all__ = ["Fused"]
