"""Data modules of economies: synthetic ones and national tables."""

from .flows import FlowData, ShockBatch, ShockItem, join
from .input_output import InputOutputData
from .synthetic import SyntheticEconomy, SyntheticEconomyData

__all__ = [
    "FlowData",
    "InputOutputData",
    "ShockBatch",
    "ShockItem",
    "SyntheticEconomy",
    "SyntheticEconomyData",
    "join",
]
