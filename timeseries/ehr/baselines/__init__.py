"""Tabular baselines for every kind of outcome."""

from .scores import METHODS, tabular_results
from .tabular import TabularBaselines

__all__ = [
    "METHODS",
    "TabularBaselines",
    "tabular_results",
]
