"""What blocks and attention layers take by keyword, as types: for `Unpack` where a layer hands its options on.

mypy and editors then know every option by name and type; at run time an unknown one is a TypeError of the layer that
gets it. What they mean is told by the layers.
"""

from collections.abc import Callable
from typing import Literal, TypedDict

from torch import nn

from ..scores import Score
from .rotary import Rotary


class SharedOptions(TypedDict, total=False):
    """Options that `MultiheadAttention` has and `TransformerBlock` hands on to it."""

    projection_bias: bool
    qk_norm: bool
    backend: str
    rotary: Rotary | None
    score: Score | None
    kv_heads: int | None
    head_dim: int | None
    scale: float | None
    temperature: float
    query_norm_limit: float | None
    key_norm_limit: float | None


class AttentionOptions(SharedOptions, total=False):
    """Options of `MultiheadAttention` besides dim, heads and dropout."""

    key_dim: int | None
    value_dim: int | None
    output_bias: bool


class BlockOptions(SharedOptions, total=False):
    """Options of `TransformerBlock` besides dim, heads, drop_path and norm_layer."""

    mlp_ratio: float
    norm: Literal["pre", "post"]
    gated_mlp: bool
    dropout: float
    attention_dropout: float
    layer_scale: float | None
    cross: bool
    context_dim: int | None
    checkpoint: bool
    activation: Callable[[], nn.Module]
