r"""Which head reads which relation: attention mass, matched one to one.

.. math:: M_{hr} = \operatorname{mean}_i \sum_{j \to i \text{ of relation } r} w_{hij}, \qquad
    \max_{\pi} \sum_r M_{\pi(r)\, r}

The relations are known to whoever asks, never to the heads: nothing here enters training. A matched mass of 1 means
that the head attends to its relation alone; heads that attend evenly have the relations' shares of the edges.
"""

from typing import NamedTuple

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch_geometric.data import HeteroData

from core import masks


class TypedEdges(NamedTuple):
    """Edges with relations.

    Shapes:
        index: (2, E), key above query
        relation: (E,), 0 .. len(names) - 1
    """

    index: Tensor  # type: ignore[assignment]  # hides tuple.index
    relation: Tensor
    names: tuple[str, ...]


class Matching(NamedTuple):
    """Heads and relations, one to one.

    Shapes:
        mass: (heads, relations), each row sums to 1
        head: (relations,), the head of each relation; -1 where there are fewer heads
        matched: (relations,), the mass of each relation in its head; 0 where there is none
    """

    mass: Tensor
    head: Tensor
    matched: Tensor

    @property
    def mean(self) -> float:
        """The mean matched mass over relations."""
        return float(self.matched.mean())


def typed_edges(data: HeteroData) -> TypedEdges:
    """Typed edges of a HeteroData, nodes numbered in the order of its node types.

    Raises:
        ValueError: There is no edge type, or an edge leads to a missing node.
    """
    if not data.edge_types:
        raise ValueError("data: expected edge types, got none")
    first, total = {}, 0
    for kind in data.node_types:
        first[kind] = total
        total += int(data[kind].num_nodes or 0)
    index, relation, names = [], [], []
    for number, (source, name, target) in enumerate(data.edge_types):
        edges = data[source, name, target].edge_index
        for row, kind in enumerate((source, target)):
            nodes = int(data[kind].num_nodes or 0)
            if edges.shape[1] and not 0 <= int(edges[row].min()) <= int(edges[row].max()) < nodes:
                raise ValueError(
                    f"data[{source!r}, {name!r}, {target!r}].edge_index: expected {kind!r} nodes 0 .. {nodes - 1}, "
                    f"got {int(edges[row].min())} .. {int(edges[row].max())}"
                )
        index.append(torch.stack([edges[0] + first[source], edges[1] + first[target]]))
        relation.append(torch.full((edges.shape[1],), number))
        names.append(name)
    return TypedEdges(torch.cat(index, dim=1), torch.cat(relation), tuple(names))


def relation_mass(weights: Tensor, edges: TypedEdges) -> Tensor:
    """Share of each relation in each head's attention, mean over the queries that attend to anything.

    Args:
        weights: Attention of the edges, as `GraphAttention` answers them with `return_attention`; the weights of a
            query sum to 1 in each head, or to 0 where it attends to nothing.
        edges: The edges in the order of the weights.

    Shapes:
        weights: (E, H)
        answer: (H, relations), float64

    Raises:
        ValueError: A shape does not fit, or no query attends to anything.
    """
    if weights.dim() != 2 or len(weights) != edges.index.shape[1]:
        raise ValueError(f"weights: expected ({edges.index.shape[1]}, H), got {tuple(weights.shape)}")
    if len(edges.relation) == 0:
        raise ValueError("edges: expected at least one, got none")
    queries = int(edges.index[1].max()) + 1
    weights = weights.detach().double()
    mass = weights.new_zeros(queries * len(edges.names), weights.shape[1])
    mass = mass.index_add(0, edges.index[1] * len(edges.names) + edges.relation, weights)
    mass = mass.view(queries, len(edges.names), -1).permute(2, 0, 1)  # (H, queries, relations)
    active = mass.sum(-1) > 0
    if not active.any(1).all():
        raise ValueError("weights: expected every head to attend to something, got a head of zeros")
    return torch.stack([own[some].mean(0) for own, some in zip(mass, active, strict=True)])


def match_heads(mass: Tensor) -> Matching:
    """The assignment of heads to relations with the greatest total mass (Hungarian method).

    Shapes:
        mass: (heads, relations)

    References:
        Kuhn: The Hungarian method for the assignment problem, 1955; scipy's linear_sum_assignment.
    """
    if mass.dim() != 2 or not mass.isfinite().all():
        raise ValueError(f"mass: expected finite (heads, relations), got {tuple(mass.shape)}")
    rows, columns = linear_sum_assignment(mass.numpy(), maximize=True)
    head = torch.full((mass.shape[1],), -1)
    head[torch.as_tensor(columns)] = torch.as_tensor(rows)
    matched = torch.where(head >= 0, mass[head.clamp_min(0), torch.arange(mass.shape[1])], 0.0)
    return Matching(mass, head, matched)


def relation_mask(edges: TypedEdges, heads: int) -> masks.Edges:
    """A mask that gives each relation a head of its own: head r sees the edges of relation r alone.

    Heads beyond the number of relations see every edge.

    Raises:
        ValueError: There are fewer heads than relations.
    """
    relations = len(edges.names)
    if heads < relations:
        raise ValueError(f"heads: expected at least {relations}, one for each relation, got {heads}")
    free = [torch.full_like(edges.relation, head) for head in range(relations, heads)]
    index = torch.cat([edges.index] * (1 + len(free)), dim=1)
    return masks.Edges(index, head=torch.cat([edges.relation, *free]))


def without_relation(edges: TypedEdges, relation: int) -> TypedEdges:
    """The edges without those of one relation."""
    kept = edges.relation != relation
    return edges._replace(index=edges.index[:, kept], relation=edges.relation[kept])
