"""Demand forecasts on a supply graph: task and data."""

from .data import SupplyGraphData
from .task import DemandForecastTask

__all__ = [
    "DemandForecastTask",
    "SupplyGraphData",
]
