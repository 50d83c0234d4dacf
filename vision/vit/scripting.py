"""TorchScript twins of the parts whose own code TorchScript cannot read.

`torch.jit.script` asks every module for `__prepare_scriptable__`; the vision transformer's parts answer with these.
They share the parameters and do the same arithmetic with plain tensors, without masks, biases and extra answers.
"""

import torch
from torch import nn
from torch.nn import functional as F

from core.layers import MultiheadAttention, TransformerBlock
from core.positions import LearnedPositions
from core.scores import Dot


class ScriptableAttention(nn.Module):
    """Self-attention with dot-product scores: out = Wo concat_h(softmax(scale q_h k_h^T) v_h) + bo.

    Args:
        layer: Whose parameters are shared.

    Shapes:
        x: (B, L, dim); answer: the same

    Raises:
        ValueError: The layer has a part that has no scriptable twin.
    """

    def __init__(self, layer: MultiheadAttention) -> None:
        super().__init__()
        plain = isinstance(layer.score, Dot) and layer.rotary is None and layer.kv_heads == layer.heads
        if not plain or layer.dropout > 0:
            raise ValueError(
                "TorchScript: expected self-attention with Dot scores, equal heads, no rotary and no dropout, "
                f"got {layer.extra_repr()}"
            )
        self.heads, self.head_dim = layer.heads, layer.head_dim
        scale = layer.head_dim**-0.5 if layer.scale is None else layer.scale
        self.scale = scale / layer.temperature
        self.q_proj, self.k_proj, self.v_proj = layer.q_proj, layer.k_proj, layer.v_proj
        self.q_norm, self.k_norm, self.out_proj = layer.q_norm, layer.k_norm, layer.out_proj

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Attend from every row of x to every row of x."""
        batch, length, _ = x.shape
        q = self.q_norm(self.q_proj(x).reshape(batch, length, self.heads, self.head_dim)).transpose(1, 2)
        k = self.k_norm(self.k_proj(x).reshape(batch, length, self.heads, self.head_dim)).transpose(1, 2)
        v = self.v_proj(x).reshape(batch, length, self.heads, self.head_dim).transpose(1, 2)
        out = F.scaled_dot_product_attention(q, k, v, scale=self.scale)
        return self.out_proj(out.transpose(1, 2).reshape(batch, length, self.heads * self.head_dim))


class ScriptableMLP(nn.Module):
    """The block's MLP, plain or gated."""

    def __init__(self, mlp: nn.Module) -> None:
        super().__init__()
        self.gated: bool = mlp.gated
        self.expand, self.activation, self.contract = mlp.expand, mlp.activation, mlp.contract
        self.dropout = mlp.dropout

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the network to every row of x."""
        hidden = self.expand(x)
        if self.gated:
            gate, value = hidden.chunk(2, dim=-1)
            hidden = self.activation(gate) * value
        else:
            hidden = self.activation(hidden)
        return self.dropout(self.contract(self.dropout(hidden)))


class ScriptableDropPath(nn.Module):
    """Drop an item's whole branch with probability p, in training."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Drop items of x; the identity in evaluation and for p = 0."""
        if self.p == 0.0 or not self.training:
            return x
        kept = torch.rand([x.shape[0], 1, 1], device=x.device) >= self.p
        return x * (kept.to(x.dtype) / (1.0 - self.p))


class ScriptableBlock(nn.Module):
    """A pre-norm block without cross-attention: x + attention(norm(x)), then x + mlp(norm(x)).

    Args:
        block: Whose parameters are shared.

    Shapes:
        x: (B, L, dim); answer: the same

    Raises:
        ValueError: The block is post-norm or has cross-attention.
    """

    def __init__(self, block: TransformerBlock) -> None:
        super().__init__()
        if block.norm != "pre" or block.cross_attention is not None:
            raise ValueError(
                f"TorchScript: expected a pre-norm block without cross-attention, got {block.extra_repr()}"
            )
        self.attention_norm, self.attention_scale = block.attention_norm, block.attention_scale
        self.attention = ScriptableAttention(block.attention)
        self.mlp_norm, self.mlp_scale, self.mlp = block.mlp_norm, block.mlp_scale, ScriptableMLP(block.mlp)
        self.dropout = block.dropout
        self.drop_path = ScriptableDropPath(block.drop_path.p)
        self.train(block.training)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the block."""
        x = x + self.drop_path(self.attention_scale(self.dropout(self.attention(self.attention_norm(x)))))
        return x + self.drop_path(self.mlp_scale(self.mlp(self.mlp_norm(x))))


class ScriptablePositions(nn.Module):
    """Add a table of positions, interpolated bicubically when the grid is another than the table's."""

    def __init__(self, positions: LearnedPositions) -> None:
        super().__init__()
        self.table = positions.table
        self.prefix: int = positions.prefix
        self.height, self.width = positions.size[0], positions.size[1]

    def forward(self, x: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        """Add the rows of the table for a grid of this size."""
        table = self.table
        if size[0] != self.height or size[1] != self.width:
            cells = table[self.prefix :].t().reshape(1, -1, self.height, self.width)
            cells = F.interpolate(cells, size=[size[0], size[1]], mode="bicubic", align_corners=False)
            table = torch.cat([table[: self.prefix], cells[0].flatten(1).t()])
        return x + table
