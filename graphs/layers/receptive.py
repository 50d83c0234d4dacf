r"""Which nodes' features can change which nodes' answers.

.. math:: R_{ij} = \left[\frac{\partial f_i}{\partial x_j} \neq 0\right]

measured by exact zeros: where no path of operations leads from j to i, automatic differentiation answers exactly 0.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch_geometric.data import Data


class ReceptiveField(NamedTuple):
    """What some nodes' answers depend on.

    Shapes:
        rows: (R,), the nodes whose answers were looked at.
        reaches: (R, N) bool, whether row i's answer depends on node j's features.
        hops: (R, N) int64, edges on the shortest path from j to i; -1 where there is none.
    """

    rows: Tensor
    reaches: Tensor
    hops: Tensor

    @property
    def depth(self) -> int:
        """The longest shortest path over which anything passes; -1 where it passes without one."""
        reached = self.hops[self.reaches]
        if not reached.numel():
            return 0
        return -1 if bool((reached < 0).any()) else int(reached.max())

    def beyond(self, hops: int) -> Tensor:
        """Pairs (row i, node j), (n, 2), with an influence over more than so many hops, or without any path."""
        return (self.reaches & ((self.hops < 0) | (self.hops > hops))).nonzero()

    def share(self, hops: int) -> float:
        """Of the pairs at exactly this distance, the share with an influence; NaN where there are none."""
        there = self.hops == hops
        return float(self.reaches[there].float().mean())


def receptive_field(
    model: Callable[[Data], Tensor],
    data: Data,
    rows: Tensor | None = None,
    *,
    draws: int = 2,
    noise: float = 1.0,
    seed: int = 0,
) -> ReceptiveField:
    """R and the distances, for a model that answers one row for each node.

    A zero can only hide an influence, never make one: gradients vanish where a unit is off (ReLU) or terms cancel. So
    the answer is the union over several draws of random features around the data's own and of random directions of the
    answers. The model is called as it stands, so put it into eval mode: dropout would hide influences.

    Args:
        model: From a PyG `Data` to (N, ...).
        data: The graph.
        rows: Nodes whose answers to look at; None for all. Each costs a backward pass.
        draws: How many draws.
        noise: Standard deviation of what is added to the features in every draw but the first.
        seed: Of the draws.

    Raises:
        ValueError: The model does not answer for every node, or its answers do not depend on the features at all.
    """
    count = int(data.num_nodes)
    rows = torch.arange(count) if rows is None else rows
    generator = torch.Generator().manual_seed(seed)
    reaches = torch.zeros(len(rows), count, dtype=torch.bool)
    for draw in range(draws):
        x = data.x.detach().clone()
        if draw:
            x += noise * torch.randn(x.shape, generator=generator, dtype=x.dtype).to(x)
        x.requires_grad_()
        given = data.clone()
        given.x = x
        out: Any = model(given)
        if not isinstance(out, Tensor) or out.shape[:1] != (count,):
            got = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
            raise ValueError(f"model: expected answers ({count}, ...), got {got}")
        if not out.requires_grad:
            raise ValueError("model: expected answers that depend on x, got ones without a gradient")
        direction = torch.randn(out.shape[1:], generator=generator, dtype=out.dtype).to(out)
        for place, row in enumerate(rows.tolist()):
            (gradient,) = torch.autograd.grad((out[row] * direction).sum(), x, retain_graph=True)
            reaches[place] |= (gradient != 0).flatten(1).any(dim=1)
    return ReceptiveField(rows, reaches, hop_distances(data.edge_index, count, rows))


def hop_distances(edge_index: Tensor, num_nodes: int, rows: Tensor | None = None) -> Tensor:
    """Edges on the shortest directed path from every node j to each row i, (R, N); -1 where there is none.

    Args:
        edge_index: Row 0 the source, row 1 the target.
        num_nodes: N.
        rows: The nodes i; None for all.
    """
    rows = torch.arange(num_nodes) if rows is None else rows
    source, target = edge_index.long()
    distance = torch.full((len(rows), num_nodes), -1)
    front = torch.zeros(len(rows), num_nodes, dtype=torch.bool)
    front[torch.arange(len(rows)), rows] = True
    step = 0
    while bool(front.any()):
        distance[front] = step
        met = torch.zeros(len(rows), num_nodes).index_add(1, source, front[:, target].float()) > 0
        front = met & (distance < 0)
        step += 1
    return distance
