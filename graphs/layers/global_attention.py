"""Attention among all nodes of each graph of a batch, however different the graphs' sizes are.

Graphs are padded to the longest of those whose sizes have the same number of binary digits, and each such bucket is one
call of `attend`: the pairs computed are less than four times those that exist, and graphs are items of a batch, so that
nothing passes from one to another.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from core import attend, biases, masks

from .structure import StructuralBias


class GlobalWeights(NamedTuple):
    """Whom some nodes attend to in the global branch.

    Shapes:
        rows: (R,), the nodes that attend.
        keys: (R, H, k), the nodes that they attend to, by falling weight; -1 where the graph has fewer than k.
        weights: (R, H, k), 0 there; over all nodes of the graph they would sum to 1.
    """

    rows: Tensor
    keys: Tensor
    weights: Tensor


class Bucket(NamedTuple):
    """Graphs of similar size, padded to one length.

    Shapes:
        nodes: (B, L), the node at each place, N where there is none.
        lengths: (B,).
        graphs: (B,), numbers of the graphs.
    """

    nodes: Tensor
    lengths: Tensor
    graphs: Tensor


class Layout(NamedTuple):
    """Where each node of a batch stands.

    Shapes:
        place: (N,), the node's place within its graph; graph: (N,).
    """

    buckets: list[Bucket]
    place: Tensor
    graph: Tensor


def layout(batch: Tensor | None, num_nodes: int, device: torch.device) -> Layout:
    """Sort the graphs of a batch into buckets of similar size; a graph's nodes need not stand together.

    Shapes:
        batch: (N,), the graph of each node; None is one graph.
    """
    graph = torch.zeros(num_nodes, dtype=torch.long, device=device) if batch is None else batch.long()
    order = graph.argsort(stable=True)
    sizes = graph.bincount()
    first = sizes.cumsum(0) - sizes
    place = torch.empty_like(graph)
    place[order] = torch.arange(num_nodes, device=device) - first[graph[order]]
    digits = torch.tensor([size.bit_length() for size in sizes.tolist()], dtype=torch.long, device=device)
    buckets = []
    for count in digits.unique().tolist():
        if count == 0:
            continue
        graphs = (digits == count).nonzero()[:, 0]
        lengths = sizes[graphs]
        steps = torch.arange(int(lengths.max()), device=device)
        there = steps < lengths[:, None]
        nodes = order[(first[graphs][:, None] + steps).clamp_max(num_nodes - 1)]
        buckets.append(Bucket(torch.where(there, nodes, num_nodes), lengths, graphs))
    return Layout(buckets, place, graph)


class GlobalAttention(nn.Module):
    r"""Every node attends to every node of its graph.

    .. math:: y_i = \sum_{j \text{ in } i\text{'s graph}} \operatorname{softmax}_j
        \left(\frac{q_i \cdot k_j / \sqrt{C} + d_h \ln(1 + \deg j) + t_{h, \operatorname{dist}(j, i)}}{T}\right) v_j

    Args:
        in_channels: Features of a node.
        out_channels: C, features of a head.
        heads: Number of heads.
        bias: Have biases in the projections.
        dropout: Probability of dropping an attention weight, in training; 0 lets the fast kernels serve.
        temperature: T.
        structure: "degree" (d), "shortest_path" (t).
        max_distance: Distances beyond it count alike, t = 0.
        backend: Passed to `attend`.

    Shapes:
        x: (N, in_channels); batch: (N,); answer: (N, heads, out_channels).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        heads: int,
        *,
        bias: bool = True,
        dropout: float = 0.0,
        temperature: float = 1.0,
        structure: tuple[str, ...] = (),
        max_distance: int = 3,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        self.heads, self.out_channels = heads, out_channels
        self.dropout, self.temperature, self.backend = dropout, temperature, backend
        self.lin_query = nn.Linear(in_channels, heads * out_channels, bias=bias)
        self.lin_key = nn.Linear(in_channels, heads * out_channels, bias=bias)
        self.lin_value = nn.Linear(in_channels, heads * out_channels, bias=bias)
        self.structural = StructuralBias(heads, structure, max_distance)

    def reset_parameters(self) -> None:
        """The projections as torch draws them, the structural biases 0."""
        for layer in (self.lin_query, self.lin_key, self.lin_value, self.structural):
            layer.reset_parameters()

    def forward(
        self,
        x: Tensor,
        batch: Tensor | None = None,
        degree: Tensor | None = None,
        hops: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """Attend within each graph.

        Args:
            x: Features.
            batch: The graph of each node; None is one graph.
            degree: Of each node, for "degree".
            hops: `hop_index` and `hop_distance` of near pairs, for "shortest_path"; pairs not listed are far.
        """
        if not x.shape[0]:
            return self.lin_value.weight.new_zeros(0, self.heads, self.out_channels)
        q, k, v = (self._heads(linear(x)) for linear in (self.lin_query, self.lin_key, self.lin_value))
        where = layout(batch, x.shape[0], x.device)
        key_bias, near = self._biases(degree, hops, where.graph)
        outs, nodes = [], []
        for bucket in where.buckets:
            out = attend(
                *(_padded(table, bucket.nodes) for table in (q, k, v)),
                mask=self._padding(bucket),
                bias=self._bias(bucket, where, key_bias, near),
                temperature=self.temperature,
                dropout_p=self.dropout if self.training else 0.0,
                backend=self.backend,
            )
            there = bucket.nodes < x.shape[0]
            outs.append(out.transpose(1, 2)[there])
            nodes.append(bucket.nodes[there])
        return torch.cat(outs)[torch.cat(nodes).argsort()]

    def weights(
        self,
        x: Tensor,
        rows: Tensor,
        batch: Tensor | None = None,
        degree: Tensor | None = None,
        hops: tuple[Tensor, Tensor] | None = None,
        top: int | None = None,
        block: int = 256,
    ) -> GlobalWeights:
        """Whom these nodes attend to: the `top` keys with the greatest weights, by head.

        Memory is that of `block` rows over all nodes.

        Args:
            x: Features, as `forward`.
            rows: Numbers of the nodes that attend.
            batch: As `forward`.
            degree: As `forward`.
            hops: As `forward`.
            top: How many keys; None for all nodes.
            block: Rows at a time.
        """
        nodes = x.shape[0]
        graph = torch.zeros(nodes, dtype=torch.long, device=x.device) if batch is None else batch.long()
        q, k, v = (self._heads(linear(x)) for linear in (self.lin_query, self.lin_key, self.lin_value))
        key_bias, near = self._biases(degree, hops, graph)
        count = nodes if top is None else min(top, nodes)
        keys, weights = [], []
        for part in rows.split(block):
            dense = torch.zeros(1, self.heads, len(part), nodes, device=x.device, dtype=x.dtype)
            if key_bias is not None:
                dense = dense + key_bias.T[None, :, None]
            if near is not None:
                dense = dense + _near_rows(near, part, nodes).to(dense.dtype)
            same = graph[part][:, None] == graph
            answer = attend(
                q[part].transpose(0, 1)[None],
                k.transpose(0, 1)[None],
                v.transpose(0, 1)[None],
                mask=masks.Dense(same[None, None]),
                bias=None if key_bias is None and near is None else biases.Dense(dense),
                temperature=self.temperature,
                backend="reference",
                need=("weights",),
            )
            assert answer.weights is not None
            found = answer.weights[0].transpose(0, 1).masked_fill(~same[:, None], -1.0).topk(count, dim=-1)
            keys.append(torch.where(found.values < 0, -1, found.indices))
            weights.append(found.values.clamp_min(0))
        empty = q.new_zeros(0, self.heads, count)
        return GlobalWeights(rows, torch.cat([empty.long(), *keys]), torch.cat([empty, *weights]))

    def _heads(self, x: Tensor) -> Tensor:
        return x.view(-1, self.heads, self.out_channels)

    def _padding(self, bucket: Bucket) -> masks.Mask | None:
        full = int(bucket.lengths.min()) == bucket.nodes.shape[1]
        return None if full else masks.Padding(bucket.lengths, bucket.lengths)

    def _biases(
        self, degree: Tensor | None, hops: tuple[Tensor, Tensor] | None, graph: Tensor
    ) -> tuple[Tensor | None, tuple[Tensor, Tensor] | None]:
        """The bias of each key, (N, H), and that of near pairs, with the pairs of a node with itself."""
        key_bias = near = None
        if self.structural.degree is not None:
            assert degree is not None
            key_bias = self.structural.of_degrees(degree)
        if self.structural.distance is not None:
            assert hops is not None
            own = torch.arange(graph.numel(), device=graph.device)
            index = torch.cat([own.expand(2, -1), hops[0]], dim=1)
            near = index, self.structural.of_distances(torch.cat([torch.zeros_like(own), hops[1]]))
        return key_bias, near

    def _bias(
        self, bucket: Bucket, where: Layout, key_bias: Tensor | None, near: tuple[Tensor, Tensor] | None
    ) -> biases.Bias | None:
        bias: biases.Bias | None = None
        if key_bias is not None:
            padded = torch.cat([key_bias, key_bias.new_zeros(1, self.heads)])[bucket.nodes]
            bias = biases.KeyBias(padded.transpose(1, 2))
        if near is not None:
            index, value = near
            item = torch.full((int(where.graph.max()) + 1,), -1, dtype=torch.long, device=index.device)
            item[bucket.graphs] = torch.arange(len(bucket.graphs), device=index.device)
            items = item[where.graph[index[1]]]
            here = items >= 0
            edge = biases.EdgeBias(where.place[index[:, here]], value[here], items[here])
            bias = edge if bias is None else bias + edge
        return bias


def _padded(table: Tensor, nodes: Tensor) -> Tensor:
    """Take (N, H, C) by (B, L) places to (B, H, L, C), zeros where there is no node."""
    if nodes.shape[0] > 1:
        table = torch.cat([table, table.new_zeros(1, *table.shape[1:])])
    return table[nodes].transpose(1, 2)


def _near_rows(near: tuple[Tensor, Tensor], rows: Tensor, nodes: int) -> Tensor:
    """Spread the values of listed pairs over (H, rows, N)."""
    index, value = near
    row = torch.full((nodes,), -1, dtype=torch.long, device=rows.device)
    row[rows] = torch.arange(len(rows), device=rows.device)
    query = row[index[1]]
    here = query >= 0
    spread = value.new_zeros(len(rows), nodes, value.shape[1])
    return spread.index_put((query[here], index[0, here]), value[here]).permute(2, 0, 1)
