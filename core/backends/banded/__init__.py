"""The backend `banded`: windows, dilation and global positions in linear time."""

from .banded import NAME, cost, not_supported_reasons, run

__all__ = ["NAME", "cost", "not_supported_reasons", "run"]
