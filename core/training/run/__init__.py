"""What a run leaves: its folder, environment, metrics and predictions."""

from .folder import RunFolder
from .logger import MetricsTable
from .predictions import PredictionTable

__all__ = ["MetricsTable", "PredictionTable", "RunFolder"]
