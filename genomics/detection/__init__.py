"""Motif detection (G1): task, data, baselines."""

from .baselines import BASELINES, fit_baselines, kmer_regression, matrix_scan
from .checkpoint import load_detector
from .task import MotifDetectionTask

__all__ = [
    "BASELINES",
    "MotifDetectionTask",
    "fit_baselines",
    "kmer_regression",
    "load_detector",
    "matrix_scan",
]
