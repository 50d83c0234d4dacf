"""Data modules of economies: synthetic ones and national tables."""

from .flows import FlowDataModule, ShockBatch, ShockItem, join
from .input_output import InputOutputData
from .synthetic import SyntheticEconomy

__all__ = [
    "FlowDataModule",
    "InputOutputData",
    "ShockBatch",
    "ShockItem",
    "SyntheticEconomy",
    "join",
]
