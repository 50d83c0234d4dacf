"""What a model's attention does: captured while it runs, measured and drawn. Works on models as they are."""

from . import figures, theory
from .capture.linear import linear_statistic, mass, mean_distance
from .capture.recording import capture
from .capture.records import Capture, Record
from .capture.watch import CaptureError, CaptureWarning
from .faithfulness import intervention, planted, verdict
from .faithfulness.intervention import rewritten, uniform_weights
from .faithfulness.measure import faithfulness
from .faithfulness.report import FaithfulnessReport
from .faithfulness.units import Patches, Positions, Units
from .heads import keywords
from .heads.ablation import ablated, all_heads
from .heads.attention_rollout import rollout
from .heads.distance import DistanceGradient, gradient_by_distance
from .heads.gradient_relevance import relevance
from .heads.heads import Head, HeadProfile, Redundancy, effective_heads, head_profile, head_redundancy
from .heads.importance import HeadImportance, PruningCurve, ablation_importance, gradient_importance, pruning_curve
from .heads.keywords import HeadFocus, head_focus, keyword_scores, rank_sentences, token_scores

plots = figures
"""The name that the room of figures had at first."""

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
    "figures",
    "gradient_by_distance",
    "gradient_importance",
    "head_focus",
    "head_profile",
    "head_redundancy",
    "intervention",
    "keyword_scores",
    "keywords",
    "linear_statistic",
    "mass",
    "mean_distance",
    "planted",
    "plots",
    "pruning_curve",
    "rank_sentences",
    "relevance",
    "rewritten",
    "rollout",
    "theory",
    "token_scores",
    "uniform_weights",
    "verdict",
]
