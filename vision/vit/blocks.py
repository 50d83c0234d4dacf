"""core's block and table of positions, as the tools round timm's models take them.

torch.fx takes them whole, for core decides by sizes while it runs; TorchScript reads their twins in `scripting`.
"""

from timm.models import register_notrace_module
from torch import nn

from core.layers import AttentionPooling, TransformerBlock
from core.positions import LearnedPositions

from .scripting import ScriptableBlock, ScriptablePositions


@register_notrace_module
class Block(TransformerBlock):
    """core's block, which torch.fx takes whole and TorchScript reads through its twin."""

    def __prepare_scriptable__(self) -> nn.Module:
        if self.attention.query_norm_limit is not None or self.attention.key_norm_limit is not None:
            raise ValueError(
                f"TorchScript: expected attention without limits of norms, got {self.attention.extra_repr()}"
            )
        return ScriptableBlock(self)


@register_notrace_module
class GridPositions(LearnedPositions):
    """core's table of positions of a grid, which torch.fx takes whole and TorchScript reads through its twin."""

    def __prepare_scriptable__(self) -> nn.Module:
        return ScriptablePositions(self)


register_notrace_module(AttentionPooling)


def norm_layer(features: int) -> nn.Module:
    """The norm of every part: of layers, with the epsilon of vision transformers."""
    return nn.LayerNorm(features, eps=1e-6)
