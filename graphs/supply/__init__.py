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
from .relations import Matching, match_heads, relation_mass, without_relation
from .scores import greatest_beyond, log_scores, r2_by_hop, r_squared
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
    "draw_groups",
    "draw_samples",
    "greatest_beyond",
    "least_unexplained",
    "log_scores",
    "match_heads",
    "r2_by_hop",
    "r_squared",
    "relation_mass",
    "train_breadth",
    "unexplained",
    "without_relation",
]
