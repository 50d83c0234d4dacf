"""What a model's attention does: captured while it runs, measured and drawn. Works on models as they are."""

from . import theory
from .capture.capture import capture
from .capture.linear import linear_statistic, mass, mean_distance
from .capture.records import Capture, Record
from .capture.watch import CaptureError, CaptureWarning
from .faithfulness.faithfulness import faithfulness
from .faithfulness.intervention import rewritten, uniform_weights
from .faithfulness.report import FaithfulnessReport
from .faithfulness.units import Patches, Positions, Units
from .heads.ablation import ablated, all_heads
from .heads.distance import DistanceGradient, gradient_by_distance
from .heads.heads import Head, HeadProfile, Redundancy, effective_heads, head_profile, head_redundancy
from .heads.importance import HeadImportance, PruningCurve, ablation_importance, gradient_importance, pruning_curve
from .heads.keywords import HeadFocus, head_focus, keyword_scores, rank_sentences, token_scores
from .heads.relevance import relevance
from .heads.rollout import rollout

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
