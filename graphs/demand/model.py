r"""The model of demand: a line through each product's own past, and attention over its neighbours.

.. math:: \hat y_i = w^\top u_i + g\big(\operatorname{GraphAttention}^{D}(W u)\big)_i

The graph's part starts at 0.
"""

from torch import Tensor, nn

from ..layers.attention import GraphAttention


class ForecastModel(nn.Module):
    """The equation above.

    Args:
        features: Of a product and day.
        dim: Width.
        depth: Layers of attention; 0 leaves each product alone.
        heads: Attention heads.
        relations: Edge types.
        dropout: Probability of dropping a feature between layers.

    Shapes:
        features: (N, features)
        answer: (N,)
    """

    def __init__(self, features: int, dim: int, depth: int, heads: int, relations: int, dropout: float) -> None:
        super().__init__()
        self.linear = nn.Linear(features, 1)
        self.enter = nn.Linear(features, dim)
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(depth))
        self.layers = nn.ModuleList(
            GraphAttention(dim, dim // heads, heads, root_weight=False, relations=relations, gate="head")
            for _ in range(depth)
        )
        self.mixes = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, dim), nn.GELU(), nn.Dropout(dropout), nn.Linear(dim, dim))
            for _ in range(max(depth, 1))
        )
        self.dropout = nn.Dropout(dropout)
        last = nn.Linear(dim, 1)
        self.leave = nn.Sequential(nn.LayerNorm(dim), last)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, features: Tensor, edge_index: Tensor, edge_type: Tensor, graph: Tensor) -> Tensor:
        """Forecasts in deviations."""
        x = self.dropout(self.enter(features))
        for norm, layer in zip(self.norms, self.layers, strict=True):
            x = x + self.dropout(layer(norm(x), edge_index, edge_type=edge_type, batch=graph))
        for mix in self.mixes:
            x = x + self.dropout(mix(x))
        return (self.linear(features) + self.leave(x))[:, 0]
