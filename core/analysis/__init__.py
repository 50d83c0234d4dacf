"""What a model's attention does: captured while it runs, measured and drawn. Works on models as they are."""

from . import theory
from .ablation import ablated, all_heads
from .capture import capture
from .distance import DistanceGradient, gradient_by_distance
from .faithfulness import faithfulness
from .faithfulness_report import FaithfulnessReport
from .heads import Head, HeadProfile, Redundancy, effective_heads, head_profile, head_redundancy
from .importance import HeadImportance, PruningCurve, ablation_importance, gradient_importance, pruning_curve
from .intervention import rewritten, uniform_weights
from .keywords import HeadFocus, head_focus, keyword_scores, rank_sentences, token_scores
from .linear import linear_statistic, mass, mean_distance
from .records import Capture, Record
from .relevance import relevance
from .rollout import rollout
from .units import Patches, Positions, Units
from .watch import CaptureError, CaptureWarning

__all__ = [
    "Capture",
    "CaptureError",
    "CaptureWarning",
    "DistanceGradient",
    "FaithfulnessReport",
    "Head",
    "HeadFocus",
    "HeadImportance",
    "HeadProfile",
    "Patches",
    "Positions",
    "PruningCurve",
    "Record",
    "Redundancy",
    "Units",
    "ablated",
    "ablation_importance",
    "all_heads",
    "capture",
    "effective_heads",
    "faithfulness",
    "gradient_by_distance",
    "gradient_importance",
    "head_focus",
    "head_profile",
    "head_redundancy",
    "keyword_scores",
    "linear_statistic",
    "mass",
    "mean_distance",
    "pruning_curve",
    "rank_sentences",
    "relevance",
    "rewritten",
    "rollout",
    "theory",
    "token_scores",
    "uniform_weights",
]
