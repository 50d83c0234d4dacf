"""What heads do: distance, entropy, redundancy, importance, rollout, relevance, key words."""

from .ablation import ablated, all_heads
from .attention_rollout import rollout
from .distance import DistanceGradient, gradient_by_distance
from .gradient_relevance import relevance
from .heads import Head, HeadProfile, Redundancy, effective_heads, head_profile, head_redundancy
from .importance import HeadImportance, PruningCurve, ablation_importance, gradient_importance, pruning_curve
from .keywords import HeadFocus, head_focus, keyword_scores, rank_sentences, token_scores

__all__ = [
    "DistanceGradient",
    "Head",
    "HeadFocus",
    "HeadImportance",
    "HeadProfile",
    "PruningCurve",
    "Redundancy",
    "ablated",
    "ablation_importance",
    "all_heads",
    "effective_heads",
    "gradient_by_distance",
    "gradient_importance",
    "head_focus",
    "head_profile",
    "head_redundancy",
    "keyword_scores",
    "pruning_curve",
    "rank_sentences",
    "relevance",
    "rollout",
    "token_scores",
]
