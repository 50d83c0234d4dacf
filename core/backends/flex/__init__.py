"""The backend `flex`: PyTorch's compiled kernel for CUDA."""

from .flex import NAME, cost, not_supported_reasons, run

__all__ = ["NAME", "cost", "not_supported_reasons", "run"]
