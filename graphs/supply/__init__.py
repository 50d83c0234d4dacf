"""Supply chains (N1, N2): economies, shocks, the task, its data, and heads as relations."""

from .breadth import (
    BreadthModel,
    Samples,
    SupplierGroups,
    draw_groups,
    draw_samples,
    least_unexplained,
    train_breadth,
    unexplained,
)
from .economy import RELATIONS, Economy, FlowEdges
from .exact import propagate
from .figures import draw_embodied, draw_hops, draw_relations, draw_travel
from .input_output import embodied, leontief_inverse, truncated_series
from .relations import Matching, match_heads, relation_mass, without_relation
from .scores import greatest_beyond, log_scores, r2_by_hop, r_squared
from .shocks import respond, sample_band, shock_at, travel
from .task import SupplyChainTask

__all__ = [
    "RELATIONS",
    "BreadthModel",
    "Economy",
    "FlowEdges",
    "Matching",
    "Samples",
    "SupplierGroups",
    "SupplyChainTask",
    "draw_embodied",
    "draw_groups",
    "draw_hops",
    "draw_relations",
    "draw_samples",
    "draw_travel",
    "embodied",
    "greatest_beyond",
    "least_unexplained",
    "leontief_inverse",
    "log_scores",
    "match_heads",
    "propagate",
    "r2_by_hop",
    "r_squared",
    "relation_mass",
    "respond",
    "sample_band",
    "shock_at",
    "train_breadth",
    "travel",
    "truncated_series",
    "unexplained",
    "without_relation",
]
