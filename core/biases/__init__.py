"""Additive logits: symbolic biases, combined with +.

Each rate, slope, table or value may require grad and gets its exact gradient; times, positions and indices carry none.
An entry of -inf masks its pair.
"""

from .base import Bias, Sum
from .decay import DistanceDecay, Kernel, TimeDecay, decay_kernel
from .dense import Dense
from .edges import EdgeBias
from .forms import Form, LinearFall, OffsetFall, PerKey, SquaredFall
from .index import Alibi, Relative
from .key import KeyBias

__all__ = [
    "Alibi",
    "Bias",
    "Dense",
    "DistanceDecay",
    "EdgeBias",
    "Form",
    "Kernel",
    "KeyBias",
    "LinearFall",
    "OffsetFall",
    "PerKey",
    "Relative",
    "SquaredFall",
    "Sum",
    "TimeDecay",
    "decay_kernel",
]
