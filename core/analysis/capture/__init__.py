"""Seeing the attention of a model: ours, torch's and timm's."""

from .adapters import TIMM_MODULES, Call, is_core, is_timm, is_torch
from .cut import altered, cut, full_precision, row_blocks, solve
from .linear import expectation, linear_statistic, mass, mean_distance
from .recording import capture
from .records import Capture, Record
from .watch import SUPPORTED, CaptureError, CaptureWarning, Watch, watching

__all__ = [
    "SUPPORTED",
    "TIMM_MODULES",
    "Call",
    "Capture",
    "CaptureError",
    "CaptureWarning",
    "Record",
    "Watch",
    "altered",
    "capture",
    "cut",
    "expectation",
    "full_precision",
    "is_core",
    "is_timm",
    "is_torch",
    "linear_statistic",
    "mass",
    "mean_distance",
    "row_blocks",
    "solve",
    "watching",
]
