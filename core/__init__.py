"""Attention with composable masks and biases, exact on every backend. Needs torch and nothing else.

`attend` computes it, `plan` says how and at what cost, `masks` and `biases` hold the structure, and the layers
(`MultiheadAttention`, `TransformerBlock`, `Encoder`, pooling, `GatedFusion`) build on them.
"""

from importlib import import_module
from types import ModuleType

from . import biases, extras, layers, masks, positions, scores
from ._version import __version__
from .attend import Plan, attend, plan
from .engine.problem import AttentionOutput
from .fusion import FusionOutput, GatedFusion
from .layers import (
    MLP,
    AlibiBias,
    AttentionPooling,
    BlockOutput,
    ClassTokenPooling,
    DistanceDecayBias,
    EdgeFeatureBias,
    Encoder,
    EncoderOutput,
    HybridBlock,
    LocalConvolution,
    MeanPooling,
    MultiheadAttention,
    RelativeBias,
    RelativeGridBias,
    Rotary,
    TimeDecayBias,
    TorchMultiheadAttention,
    TransformerBlock,
)

__all__ = [
    "MLP",
    "AlibiBias",
    "AttentionOutput",
    "AttentionPooling",
    "BlockOutput",
    "ClassTokenPooling",
    "DistanceDecayBias",
    "EdgeFeatureBias",
    "Encoder",
    "EncoderOutput",
    "FusionOutput",
    "GatedFusion",
    "HybridBlock",
    "LocalConvolution",
    "MeanPooling",
    "MultiheadAttention",
    "Plan",
    "RelativeBias",
    "RelativeGridBias",
    "Rotary",
    "TimeDecayBias",
    "TorchMultiheadAttention",
    "TransformerBlock",
    "__version__",
    "analysis",
    "attend",
    "biases",
    "explain",
    "extras",
    "layers",
    "masks",
    "plan",
    "positions",
    "robust",
    "scores",
]


def __getattr__(name: str) -> ModuleType:
    """Import `core.analysis`, `core.explain` and `core.robust` when first asked for: attention alone needs none."""
    if name in ("analysis", "explain", "robust"):
        return import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
