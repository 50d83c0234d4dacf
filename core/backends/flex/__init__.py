"""The backend `flex`: PyTorch's compiled kernel for CUDA."""

from .flex import Flex

__all__ = ["Flex"]
