"""Motif detection (G1): task, data, baselines."""

from .baselines import kmer_regression, matrix_scan
from .checkpoint import load_detector
from .task import MotifDetectionTask

__all__ = [
    "MotifDetectionTask",
    "kmer_regression",
    "load_detector",
    "matrix_scan",
]
