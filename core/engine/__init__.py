"""One attention problem and how it is computed: its arguments checked, the plan, costs, dropout, who watches."""

from . import dropout
from .backend import Backend, Backends
from .cost import Cost
from .dropout import draw_seed, keep
from .observe import Observer, observers
from .plan import Candidate, Plan, choose, make_plan
from .problem import AttentionOutput, Problem, autocast_is_on, by_head, features, nan_where, pose
from .rates import RATES, Rates

__all__ = [
    "RATES",
    "AttentionOutput",
    "Backend",
    "Backends",
    "Candidate",
    "Cost",
    "Observer",
    "Plan",
    "Problem",
    "Rates",
    "autocast_is_on",
    "by_head",
    "choose",
    "draw_seed",
    "dropout",
    "features",
    "keep",
    "make_plan",
    "nan_where",
    "observers",
    "pose",
]
