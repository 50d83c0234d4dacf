"""From a call to a backend: the problem, what each way costs, which one runs, dropout, and who watches."""

from .cost import Cost
from .dropout import draw_seed, keep
from .rates import RATES, Rates

__all__ = [
    "RATES",
    "Cost",
    "Rates",
    "draw_seed",
    "keep",
]
