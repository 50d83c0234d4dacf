"""The backend `banded`: windows, dilation and global positions in linear time."""

from . import band, banded, blocks
from .banded import NAME, cost, not_supported_reasons, run

__all__ = [
    "NAME",
    "band",
    "banded",
    "blocks",
    "cost",
    "not_supported_reasons",
    "run",
]
