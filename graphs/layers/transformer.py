"""A stack of graph attention layers that answers for every node."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.data import Data
from torch_geometric.nn import GATConv, GATv2Conv, TransformerConv

from .attention import GraphAttention
from .inputs import OPTIONAL, of_data

CONVOLUTIONS = ("attention", "gat", "gatv2", "transformer")


class GraphTransformer(nn.Module):
    """Dropout, layer, ELU, and so on; the last layer averages its heads and answers.

    D layers see D * hops hops, which `graphs.receptive_field` measures; with `global_attention` they see the whole
    graph. The global branch is in all layers but the last (in a model of one layer, in that one).

    Args:
        in_channels: Features of a node.
        out_channels: Numbers to answer for each node.
        hidden: Features of a head.
        heads: Heads of every layer but the last.
        out_heads: Heads of the last layer.
        layers: D.
        conv: "attention" for ours; PyG's "gat", "gatv2" and "transformer" for comparison.
        dropout: On the features that enter a layer.
        attention_dropout: On the attention weights.
        self_loops: Let every node attend to itself (PyG's GAT does so by itself).
        norm: LayerNorm after every layer but the last.
        residual: Add a layer's input to its output where the widths agree.
        global_attention: Have the global branch.
        edge_dim: Features of an edge that the layers read; None for none.
        options: Of the layers, see `GraphAttention`.

    Shapes:
        answer: (N, out_channels).

    Raises:
        ValueError: An option is out of range, or PyG's layer does not have it.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden: int = 8,
        heads: int = 8,
        out_heads: int = 1,
        layers: int = 2,
        conv: str = "attention",
        dropout: float = 0.6,
        attention_dropout: float = 0.6,
        self_loops: bool = True,
        norm: bool = False,
        residual: bool = False,
        global_attention: bool = False,
        edge_dim: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        if conv not in CONVOLUTIONS:
            raise ValueError(f"conv: expected one of {', '.join(CONVOLUTIONS)}, got {conv!r}")
        if conv != "attention" and (global_attention or options):
            given = ", ".join([*options, *(["global_attention"] if global_attention else [])])
            raise ValueError(f"conv: expected 'attention' with {given}, got {conv!r}")
        if layers < 1:
            raise ValueError(f"layers: expected at least 1, got {layers}")
        self.conv, self.dropout, self.residual = conv, dropout, residual
        self.self_loops = self_loops and conv in ("attention", "transformer")
        make: Callable[..., nn.Module]
        if conv == "attention":
            make = GraphAttention
        elif conv == "transformer":
            make = TransformerConv
        else:
            kind = GATConv if conv == "gat" else GATv2Conv
            make = lambda *a, **o: kind(*a, add_self_loops=self_loops, **o)  # noqa: E731
        self.layers = nn.ModuleList()
        self.norms = nn.ModuleList()
        width = in_channels
        for depth in range(layers):
            last = depth == layers - 1
            own: dict[str, Any] = {"heads": out_heads if last else heads, "concat": not last, "edge_dim": edge_dim}
            if conv == "attention":
                own |= {**options, "global_attention": global_attention and (not last or layers == 1)}
            out = out_channels if last else hidden
            self.layers.append(make(width, out, dropout=attention_dropout, **own))
            width = out if last else out * heads
            self.norms.append(nn.LayerNorm(width) if norm and not last else nn.Identity())

    def forward(
        self, x: Tensor | Data, edge_index: Tensor | None = None, edge_attr: Tensor | None = None, **structure: Any
    ) -> Tensor:
        """Answer for every node.

        Args:
            x: Features, or a PyG `Data` or `Batch` with all that the layers read.
            edge_index: The edges.
            edge_attr: Their features.
            structure: batch, edge_weight, edge_type, degree, hop_index, hop_distance, as `GraphAttention.forward`.
        """
        if isinstance(x, Data):
            given = of_data(x)
            x, edge_index, edge_attr = given.pop("x"), given.pop("edge_index"), given.pop("edge_attr", None)
            structure = given
        assert edge_index is not None
        unknown = set(structure) - set(OPTIONAL)
        if unknown:
            raise ValueError(f"structure: expected some of {', '.join(OPTIONAL)}, got {', '.join(sorted(unknown))}")
        edge_index, edge_attr, structure = self._edges(x.shape[0], edge_index, edge_attr, structure)
        for depth, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            before = x
            x = self._layer(layer, drop_features(x, self.dropout, self.training), edge_index, edge_attr, structure)
            if depth < len(self.layers) - 1:
                x = F.elu(norm(x))
                if self.residual and before.shape == x.shape:
                    x = x + before
        return x

    def _layer(
        self, layer: nn.Module, x: Tensor, edge_index: Tensor, edge_attr: Tensor | None, structure: dict[str, Any]
    ) -> Tensor:
        if not isinstance(layer, GraphAttention):
            return layer(x, edge_index, edge_attr if layer.edge_dim is not None else None)
        taken = dict(structure)
        if "log_weight" not in layer.structure:
            taken.pop("edge_weight", None)
        if not layer.relations:
            taken.pop("edge_type", None)
        return layer(x, edge_index, edge_attr if layer.edge_dim is not None else None, **taken)

    def _edges(
        self, nodes: int, edge_index: Tensor, edge_attr: Tensor | None, structure: dict[str, Any]
    ) -> tuple[Tensor, Tensor | None, dict[str, Any]]:
        """Add the self loops that are not there: with features 0 and weight 1."""
        if not self.self_loops:
            return edge_index, edge_attr, structure
        there = edge_index[0][edge_index[0] == edge_index[1]]
        lacking = torch.ones(nodes, dtype=torch.bool, device=edge_index.device).index_fill(0, there, False)
        own = lacking.nonzero()[:, 0]
        structure = dict(structure)
        if structure.get("edge_type") is not None:
            raise ValueError("self_loops: expected False with edge types, since a loop has none, got True")
        if structure.get("edge_weight") is not None:
            weight = structure["edge_weight"]
            structure["edge_weight"] = torch.cat([weight, weight.new_ones(len(own))])
        if edge_attr is not None:
            edge_attr = torch.cat([edge_attr, edge_attr.new_zeros(len(own), edge_attr.shape[1])])
        return torch.cat([edge_index, own.expand(2, -1)], dim=1), edge_attr, structure


def drop_features(x: Tensor, p: float, training: bool) -> Tensor:
    """Dropout; inputs that are mostly 0, such as bags of words, come out as sparse tensors.

    Random numbers are then drawn, and the layers' projections computed, for the entries that are not 0 alone.

    Args:
        x: Features.
        p: Probability of setting one to 0; the others are divided by 1 - p.
        training: Whether to drop at all.
    """
    plain = x.requires_grad or x.dtype not in (torch.float32, torch.float64) or torch.is_autocast_enabled(x.device.type)
    if plain or x.numel() < 1 << 16 or x.count_nonzero() > x.numel() // 16:
        return F.dropout(x, p, training)
    place = x.nonzero().T
    kept = F.dropout(x[place[0], place[1]], p, training)
    return torch.sparse_coo_tensor(place, kept, x.shape, is_coalesced=True, check_invariants=False)
