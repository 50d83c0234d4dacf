"""Outcomes, hazards, calibration, and the scores of predicted probabilities."""

from .evaluation import DecisionCurve, binary_scores, difference_intervals, logit, reliability, score_intervals
from .hazards import exposure, hazard_loss
from .outcomes import Kind, Outcome
from .recalibration import AT_BOUND, Recalibration, fit_temperature
from .report import EvaluationReport, markdown, model_card

__all__ = [
    "AT_BOUND",
    "DecisionCurve",
    "EvaluationReport",
    "Kind",
    "Outcome",
    "Recalibration",
    "binary_scores",
    "difference_intervals",
    "exposure",
    "fit_temperature",
    "hazard_loss",
    "logit",
    "markdown",
    "model_card",
    "reliability",
    "score_intervals",
]
