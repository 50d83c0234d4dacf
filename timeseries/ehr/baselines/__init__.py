"""Tabular baselines for every kind of outcome."""

from .scores import tabular_scores
from .tabular import TabularBaselines

__all__ = [
    "TabularBaselines",
    "tabular_scores",
]
