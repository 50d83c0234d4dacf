"""Attention with composable masks and biases, exact on every backend. Needs torch and nothing else.

import core
from core import biases, masks

out = core.attend(q, k, v, mask=masks.Causal() & masks.Padding(lengths), bias=biases.TimeDecay(times, rate))
print(core.plan(q, k, v, mask=masks.Causal()))
"""

from . import biases, masks, scores
from ._version import __version__
from .attend import Plan, attend, plan
from .problem import AttentionOutput

__all__ = [
    "AttentionOutput",
    "Plan",
    "__version__",
    "attend",
    "biases",
    "masks",
    "plan",
    "scores",
]
