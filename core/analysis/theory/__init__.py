"""What theory says of attention, as functions: scaling of logits, the kernel view, committees of heads.

Each is held against simulation, a numeric optimiser or another library, by its tests and by a demo; `docs/theory.md`
lists them.
"""

from .committee import (
    ApprovalRates,
    Committee,
    LogFit,
    Rule,
    approval_rates,
    heads_needed,
    limiting_exponent,
    log_fit,
    pair_exponent,
    retrieval_accuracy,
    union_bound_heads,
)
from .kernel import (
    cross_validated_bandwidth,
    effective_bandwidth,
    free_energy,
    leave_one_out,
    maximum_entropy_weights,
    nadaraya_watson,
    temperature_for_mean,
)
from .retrieval import Bracket, Curves, bracket_heads, simulate_retrieval
from .scaling import (
    Moments,
    dot_product_moments,
    median_top_gap,
    softmax_jacobian,
    softmax_jacobian_norm,
    top_gap_survival,
    variance_standard_error,
)

__all__ = [
    "ApprovalRates",
    "Bracket",
    "Committee",
    "Curves",
    "LogFit",
    "Moments",
    "Rule",
    "approval_rates",
    "bracket_heads",
    "cross_validated_bandwidth",
    "dot_product_moments",
    "effective_bandwidth",
    "free_energy",
    "heads_needed",
    "leave_one_out",
    "limiting_exponent",
    "log_fit",
    "maximum_entropy_weights",
    "median_top_gap",
    "nadaraya_watson",
    "pair_exponent",
    "retrieval_accuracy",
    "simulate_retrieval",
    "softmax_jacobian",
    "softmax_jacobian_norm",
    "temperature_for_mean",
    "top_gap_survival",
    "union_bound_heads",
    "variance_standard_error",
]
