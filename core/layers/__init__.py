"""Layers on top of `attend`: multi-head attention, blocks, encoder, pooling and learned biases."""

from .attention import MultiheadAttention
from .biases import AlibiBias, DistanceDecayBias, EdgeFeatureBias, RelativeBias, RelativeGridBias, TimeDecayBias
from .block import BlockOutput, TransformerBlock
from .encoder import Encoder, EncoderOutput
from .hybrid import HybridBlock, LocalConvolution
from .modes import evaluating
from .options import AttentionOptions, BlockOptions
from .padding import zero_rows
from .pooling import AttentionPooling, ClassTokenPooling, MeanPooling
from .residual import MLP, DropPath, LayerScale
from .rotary import Rotary
from .torch_attention import TorchMultiheadAttention

__all__ = [
    "MLP",
    "AlibiBias",
    "AttentionOptions",
    "AttentionPooling",
    "BlockOptions",
    "BlockOutput",
    "ClassTokenPooling",
    "DistanceDecayBias",
    "DropPath",
    "EdgeFeatureBias",
    "Encoder",
    "EncoderOutput",
    "HybridBlock",
    "LayerScale",
    "LocalConvolution",
    "MeanPooling",
    "MultiheadAttention",
    "RelativeBias",
    "RelativeGridBias",
    "Rotary",
    "TimeDecayBias",
    "TorchMultiheadAttention",
    "TransformerBlock",
    "evaluating",
    "zero_rows",
]
