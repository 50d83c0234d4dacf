"""The pairs of nodes that one layer attends over: edges, and with several hops the pairs further apart."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .inputs import GraphInput
from .structure import HopPairs

DUPLICATES = ("refuse", "sum", "mean")


class PairList(NamedTuple):
    """Pairs (source, target).

    Shapes:
        index: (2, P); the first `edges` of them are the graph's edges, in its order.
        distance: (P,), 0 for self loops; None where only edges are attended over and nobody asks.
        listed: (P',), where heads are confined to relations: the pair of each place in the list for all heads.
        head: (P',), the head of that place.
    """

    index: Tensor  # type: ignore[assignment]  # hides tuple.index
    edges: int
    distance: Tensor | None = None
    listed: Tensor | None = None
    head: Tensor | None = None


def merged(graph: GraphInput, duplicates: str) -> GraphInput:
    """Answer the graph with one edge for each pair (and relation).

    Where a graph has duplicates that are not refused, its edges come out sorted by target, then source, then relation.

    Args:
        graph: The graph.
        duplicates: "refuse", or "sum" or "mean" of features and weights.

    Raises:
        ValueError: There are duplicates, and they are refused.
    """
    kinds, nodes = _kinds(graph), max(graph.source.shape[0], 1)
    source, target = graph.edge_index.long()
    code = (target * nodes + source) * kinds
    code = code if graph.edge_type is None else code + graph.edge_type
    ordered = code.sort().values
    again = ordered[1:] == ordered[:-1]
    if not again.any():
        return graph
    if duplicates == "refuse":
        twice = ordered[1:][again][0]
        places = (code == twice).nonzero()[:2, 0].tolist()
        ends = f"{int(source[places[0]])} to {int(target[places[0]])}"
        raise ValueError(
            f"edge_index: expected one edge for each pair, got edges {places[0]} and {places[1]} from {ends}; "
            "duplicates='sum' or 'mean' merges them"
        )
    known, group, count = torch.unique(code, return_inverse=True, return_counts=True)
    pair = known // kinds
    share = 1.0 / count if duplicates == "mean" else torch.ones_like(count, dtype=torch.float)

    def merge(value: Tensor | None) -> Tensor | None:
        if value is None:
            return None
        total = value.new_zeros(len(known), *value.shape[1:]).index_add(0, group, value)
        return total * share.to(total.dtype).view(-1, *[1] * (total.ndim - 1))

    return graph._replace(
        edge_index=torch.stack([pair % nodes, pair // nodes]),
        edge_attr=merge(graph.edge_attr),
        edge_weight=merge(graph.edge_weight),
        edge_type=None if graph.edge_type is None else known % kinds,
    )


def list_pairs(graph: GraphInput, hops: int, near: HopPairs | None, relation_heads: Sequence[int] | None) -> PairList:
    """List what is attended over.

    Args:
        graph: Without duplicates.
        hops: Edges from a node to those that it attends to, at most.
        near: Pairs and their distances, at least up to `hops` where that is more than 1.
        relation_heads: The relation of each head.
    """
    index, edges = graph.edge_index, graph.edge_index.shape[1]
    distance = (index[0] != index[1]).long()
    if hops > 1:
        assert near is not None
        far = (near.distance > 1) & (near.distance <= hops)
        index = torch.cat([index, near.index[:, far]], dim=1)
        distance = torch.cat([distance, near.distance[far]])
    if relation_heads is None:
        return PairList(index, edges, distance)
    assert graph.edge_type is not None
    own = torch.tensor(relation_heads, device=index.device)
    listed, head = (graph.edge_type[:, None] == own).nonzero().unbind(1)
    return PairList(index, edges, distance, listed, head)


def _kinds(graph: GraphInput) -> int:
    return 1 if graph.edge_type is None or not graph.edge_type.numel() else int(graph.edge_type.max()) + 1


def first_copies(index: Tensor) -> Tensor:
    """Which pairs are the first of their kind in the list, (P,) bool."""
    code = index[1].long() * (int(index[0].max()) + 1 if index.numel() else 1) + index[0]
    known, group = torch.unique(code, return_inverse=True)
    order = torch.arange(len(code), device=code.device)
    first = torch.full_like(known, len(code)).scatter_reduce(0, group, order, "amin")
    return first[group] == order
