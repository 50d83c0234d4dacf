r"""Mini-batches of a large graph: targets with a sample of the neighbours that their answers depend on.

From a node's d in-neighbours min(d, k) are drawn, uniformly and without replacement (Floyd's algorithm, at a cost that
does not depend on d). So

.. math:: \operatorname{E}\left[\frac{1}{k} \sum_{j \in S_i} f_j\right] = \frac{1}{d} \sum_{j \to i} f_j,
    \qquad \operatorname{E}\left[\frac{d}{k} \sum_{j \in S_i} f_j\right] = \sum_{j \to i} f_j.

Means and, with the factor d / k, sums are unbiased. A softmax over the sample is a ratio of two such sums: consistent
in k, and exact where all neighbours are taken, but biased in between.

References:
    Hamilton, Ying, Leskovec: Inductive representation learning on large graphs, NeurIPS 2017, section 3.1.
    Bentley, Floyd: A sample of brilliance, Communications of the ACM 30 (1987).
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch_geometric.data import Data

from ..layers.inputs import check_edge_index


class Sample(NamedTuple):
    """A part of a graph, numbered anew; the targets come first, in their order.

    Shapes:
        nodes: (n,), their numbers in the whole graph.
        edge_index: (2, e), in the sample's numbers, sorted by target.
        edges: (e,), the edges' places in the whole graph's list.
        inclusion: (e,), the chance that the edge was drawn, given its target: min(1, k / d).
    """

    nodes: Tensor
    edge_index: Tensor
    edges: Tensor
    inclusion: Tensor


class NeighbourSampler:
    """Draws neighbours of neighbours, without pyg-lib.

    With all fanouts -1 the targets' answers from a model of len(fanouts) layers are those of the whole graph. Every
    node has its in-neighbours drawn once, when it is first met.

    Args:
        edge_index: The whole graph, row 0 the source, row 1 the target.
        num_nodes: Number of nodes.
        fanouts: k for the targets, for the nodes met then, and so on; -1 for all neighbours.

    Shapes:
        edge_index: (2, E).

    Raises:
        ValueError: A fanout is neither -1 nor positive, or an edge ends at a missing node.
    """

    def __init__(self, edge_index: Tensor, num_nodes: int, fanouts: Sequence[int]) -> None:
        check_edge_index("edge_index", edge_index, num_nodes, num_nodes)
        if not fanouts or not all(k == -1 or k > 0 for k in fanouts):
            raise ValueError(f"fanouts: expected positive numbers or -1, one for each layer, got {list(fanouts)}")
        self.fanouts, self.num_nodes = tuple(fanouts), num_nodes
        target, order = edge_index[1].long().sort(stable=True)
        self.order = order
        self.source = edge_index[0].long()[order]
        self.start = torch.searchsorted(target, torch.arange(num_nodes + 1))
        self._place = torch.full((num_nodes,), -1)

    def sample(self, targets: Tensor, generator: torch.Generator | None = None) -> Sample:
        """Draw a sample for these targets, which must differ.

        Args:
            targets: Numbers of nodes.
            generator: Where the draws come from; None is torch's default generator.

        Raises:
            ValueError: A target stands twice, or is not there.
        """
        targets = targets.long()
        if targets.numel() and (int(targets.min()) < 0 or int(targets.max()) >= self.num_nodes):
            raise ValueError(f"targets: expected nodes 0 .. {self.num_nodes - 1}, got {targets.tolist()}")
        if len(targets.unique()) < len(targets):
            raise ValueError("targets: expected different nodes, got one twice")
        place = self._place
        place[targets] = torch.arange(len(targets))
        nodes, met = [targets], len(targets)
        rows, columns, edges, chances = [], [], [], []
        front = targets
        for fanout in self.fanouts:
            row, at, chance = self._draw(front, fanout, generator)
            source = self.source[at]
            fresh = source[place[source] < 0].unique()
            place[fresh] = torch.arange(met, met + len(fresh))
            rows.append(place[source])
            columns.append(place[front[row]])
            edges.append(self.order[at])
            chances.append(chance)
            nodes.append(fresh)
            met += len(fresh)
            front = fresh
        found = torch.cat(nodes)
        place[found] = -1
        return Sample(found, torch.stack([torch.cat(rows), torch.cat(columns)]), torch.cat(edges), torch.cat(chances))

    def sample_data(self, data: Data, targets: Tensor, generator: torch.Generator | None = None) -> Data:
        """Draw a sample and answer the part of `data` (of the whole graph) that it covers, targets first.

        Its `degree` stays that of the whole graph, if the data have it.
        """
        sample = self.sample(targets, generator)
        part = Data(edge_index=sample.edge_index)
        for name, value in data:
            if name == "edge_index" or name.startswith("hop_") or not isinstance(value, Tensor):
                continue
            if data.is_node_attr(name):
                part[name] = value[sample.nodes]
            elif data.is_edge_attr(name):
                part[name] = value[sample.edges]
        part.num_nodes = len(sample.nodes)
        return part

    def _draw(self, front: Tensor, fanout: int, generator: torch.Generator | None) -> tuple[Tensor, Tensor, Tensor]:
        """Draw edges into each node of the front: the node's place there, the edge's place by target, its chance."""
        first = self.start[front]
        degree = self.start[front + 1] - first
        taken = degree if fanout == -1 else degree.clamp_max(fanout)
        row = torch.repeat_interleave(torch.arange(len(front)), taken)
        step = torch.arange(len(row)) - torch.repeat_interleave(taken.cumsum(0) - taken, taken)
        if fanout != -1:
            many = (degree > fanout).nonzero()[:, 0]
            drawn = floyd(degree[many], fanout, generator)
            step = torch.where((degree > fanout)[row], 0, step)
            step[(degree > fanout)[row]] = drawn.flatten()
        chance = taken.double() / degree.clamp_min(1)
        return row, first[row] + step, chance[row].float()


def floyd(sizes: Tensor, k: int, generator: torch.Generator | None = None) -> Tensor:
    """Draw k different numbers below each size: every subset is equally likely.

    For t = n - k ... n - 1: draw r from 0 ... t; take r, or t if r has been taken.

    Args:
        sizes: n, each at least k.
        k: How many.
        generator: Where the draws come from.

    Shapes:
        sizes: (m,); answer: (m, k), in no particular order.
    """
    taken = torch.full((len(sizes), k), -1)
    draws = torch.rand(len(sizes), k, generator=generator, dtype=torch.float64)
    for step in range(k):
        last = sizes - k + step
        r = (draws[:, step] * (last + 1)).long().minimum(last)
        again = (taken[:, :step] == r[:, None]).any(dim=1)
        taken[:, step] = torch.where(again, last, r)
    return taken
