r"""What a graph's shape says to attention: distances, degrees, weights and relations as additive logits.

.. math::
    b_{hij} = s_h \ln w_{ji} + d_h \ln(1 + \deg j) + t_{h, \operatorname{dist}(j, i)} + r_{h, \operatorname{type}(j, i)}

Everything learned starts where attention is plain (0), but s, which starts at 1: the weights then multiply exp(q . k).

References:
    Ying et al.: Do transformers really perform badly for graph representation?, NeurIPS 2021, section 3.1 (distances;
    their degrees enter the features, ours the logits).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

STRUCTURE = ("log_weight", "degree", "shortest_path")


class HopPairs(NamedTuple):
    """Pairs of different nodes that a path of few edges joins, sorted by target, then source.

    Shapes:
        index: (2, P) int64, row 0 where the path starts, row 1 where it ends.
        distance: (P,) int64, edges on the shortest path, 1 or more.
    """

    index: Tensor  # type: ignore[assignment]  # hides tuple.index
    distance: Tensor


def hop_pairs(edge_index: Tensor, num_nodes: int, hops: int) -> HopPairs:
    """All pairs (j, i), j != i, whose shortest directed path from j to i has at most `hops` edges.

    Time and memory are those of the walks that are followed; nodes of high degree make many.

    Args:
        edge_index: Row 0 the source, row 1 the target; duplicates and self loops do not matter.
        num_nodes: Number of nodes.
        hops: Edges at most.

    Shapes:
        edge_index: (2, E).

    Raises:
        ValueError: hops is negative.
    """
    if hops < 0:
        raise ValueError(f"hops: expected at least 0, got {hops}")
    n = max(num_nodes, 1)
    source, target = edge_index.long()
    edges = torch.unique(source * n + target)  # by source: the edges that leave a node stand together
    head, tail = edges // n, edges % n
    start = torch.searchsorted(head, torch.arange(num_nodes + 1, device=head.device))
    seen = torch.arange(num_nodes, device=head.device) * (n + 1)  # j to j, sorted
    front = seen
    codes, distances = [edges.new_zeros(0)], [edges.new_zeros(0)]
    for distance in range(1, hops + 1):
        first, middle = front // n, front % n
        count = start[middle + 1] - start[middle]
        walk = torch.repeat_interleave(torch.arange(front.numel(), device=head.device), count)
        begins = torch.repeat_interleave(start[middle] - (count.cumsum(0) - count), count)
        step = begins + torch.arange(walk.numel(), device=head.device)
        front = torch.unique(first[walk] * n + tail[step])
        place = torch.searchsorted(seen, front).clamp_max(max(seen.numel() - 1, 0))
        front = front[seen[place] != front] if seen.numel() else front
        if not front.numel():
            break
        codes.append(front)
        distances.append(torch.full_like(front, distance))
        seen = torch.cat([seen, front]).sort().values
    code, distance_of = torch.cat(codes), torch.cat(distances)
    first, last = code // n, code % n
    order = (last * n + first).argsort()
    return HopPairs(torch.stack([first, last])[:, order], distance_of[order])


def in_degree(edge_index: Tensor, num_nodes: int) -> Tensor:
    """Number of edges that end in each node, (N,), as float32."""
    ones = torch.ones(edge_index.shape[1], device=edge_index.device)
    return ones.new_zeros(num_nodes).index_add(0, edge_index[1].long(), ones)


class AddHops:
    """A transform of PyG `Data`: stores `hop_index` and `hop_distance`, so that no forward pass counts hops again.

    Both survive PyG's batching. A layer takes what is stored as it is: store at least as many hops as its `hops` and
    `max_distance` ask for.

    Args:
        hops: Edges at most, see `hop_pairs`.
    """

    def __init__(self, hops: int) -> None:
        self.hops = hops

    def __call__(self, data: Any) -> Any:  # PyG's Data, which this file does not import
        """Answer a shallow copy of the data with both tensors."""
        from copy import copy

        data = copy(data)
        data.hop_index, data.hop_distance = hop_pairs(data.edge_index, data.num_nodes, self.hops)
        return data


class StructuralBias(nn.Module):
    """The learned numbers of this file's equation, for one attention.

    Args:
        heads: Query heads.
        structure: Which parts: any of "log_weight" (s), "degree" (d), "shortest_path" (t).
        max_distance: Largest distance with a number of its own; pairs further apart have 0.
        relations: Number of edge types with a number of their own (r); 0 for none.

    Raises:
        ValueError: A part is unknown, or given twice.
    """

    def __init__(self, heads: int, structure: Sequence[str], max_distance: int, relations: int = 0) -> None:
        super().__init__()
        unknown = [name for name in structure if name not in STRUCTURE]
        if unknown or len(set(structure)) < len(structure):
            raise ValueError(f"structure: expected some of {', '.join(STRUCTURE)}, each once, got {list(structure)}")
        self.log_weight = nn.Parameter(torch.ones(heads)) if "log_weight" in structure else None
        self.degree = nn.Parameter(torch.zeros(heads)) if "degree" in structure else None
        has_distance = "shortest_path" in structure
        self.distance = nn.Parameter(torch.zeros(max_distance + 1, heads)) if has_distance else None
        self.relation = nn.Parameter(torch.zeros(relations, heads)) if relations else None

    def reset_parameters(self) -> None:
        """Where attention is plain: 0, and 1 for the log weights."""
        for name, parameter in self.named_parameters():
            nn.init.constant_(parameter, float(name == "log_weight"))

    def of_weights(self, weight: Tensor) -> Tensor:
        """s_h ln w, (E, H); an edge of weight 0 gets -inf, which masks it."""
        assert self.log_weight is not None
        exists = (weight > 0)[:, None]
        logs = torch.where(weight > 0, weight, 1.0).log().to(self.log_weight.dtype)
        return torch.where(exists, logs[:, None] * self.log_weight, -torch.inf)

    def of_degrees(self, degree: Tensor) -> Tensor:
        """d_h ln(1 + degree), (N, H)."""
        assert self.degree is not None
        return degree.to(self.degree.dtype).log1p()[:, None] * self.degree

    def of_distances(self, distance: Tensor) -> Tensor:
        """t_h at each distance, (P, H); 0 beyond the table."""
        assert self.distance is not None
        longest = self.distance.shape[0] - 1
        near = self.distance.index_select(0, distance.clamp_max(longest))
        return torch.where((distance <= longest)[:, None], near, 0.0)
