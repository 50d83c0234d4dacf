"""Checkpoints: what is saved when, how it is read without running code, and who wins over its options."""

from .best import Best, EarlyStop
from .checkpoints import RunCheckpoint, SafeCheckpointIO, check_fits, read_checkpoint
from .sizes import check_sizes

__all__ = [
    "Best",
    "EarlyStop",
    "RunCheckpoint",
    "SafeCheckpointIO",
    "check_fits",
    "check_sizes",
    "read_checkpoint",
]
