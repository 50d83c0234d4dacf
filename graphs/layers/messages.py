"""What each node gathers over the pairs of a graph, head by head: the engine of `GraphAttention`."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from core import attend, biases, masks
from core.engine import draw_seed, keep

from .inputs import GraphInput
from .pairs import PairList, first_copies
from .structure import StructuralBias

GATES = (None, "head", "feature", "mass")


class EdgeMessages(nn.Module):
    r"""Attention over listed pairs, with edge features, structural bias and gate; the equation is `GraphAttention`'s.

    .. math:: \text{message}_{hi} = g_{hi} \sum_{j \to i} w_{hij} (v_{hj} + W_{e,h} e_{ji})

    Neither logits nor values make a tensor of edges x channels:
    q . (W_e e) = (W_e^T q) . e and the sum of w W_e e is W_e applied to the sum of w e.

    Args:
        channels: Features of a source and of a target.
        out_channels: Features of a head.
        heads: Number of heads.
        edge_dim: As `GraphAttention`; so is what follows.
        bias: Have biases in the projections.
        dropout: Probability of dropping a weight.
        temperature: Divides the logits.
        structure: Parts of the structural bias.
        hops: Largest distance between the nodes of a pair.
        relations: Number of edge types.
        relation_heads: Relation of each head.
        gate: What multiplies the message.
        shared_projection: Have one projection for queries, keys and values.
        backend: Passed to `attend`.

    Raises:
        ValueError: Options that exclude each other or are out of range.
    """

    def __init__(
        self,
        channels: tuple[int, int],
        out_channels: int,
        heads: int,
        *,
        edge_dim: int | None,
        bias: bool,
        dropout: float,
        temperature: float,
        structure: Sequence[str],
        hops: int,
        relations: int,
        relation_heads: Sequence[int] | None,
        gate: str | None,
        shared_projection: bool,
        backend: str,
    ) -> None:
        super().__init__()
        self.channels, self.out_channels, self.heads, self.edge_dim = channels, out_channels, heads, edge_dim
        self.dropout, self.temperature, self.structure, self.hops = float(dropout), temperature, tuple(structure), hops
        self.relations = relations
        self.relation_heads = None if relation_heads is None else tuple(relation_heads)
        self.gate, self.backend = gate, backend
        self._check()
        if shared_projection and channels[0] != channels[1]:
            raise ValueError(f"shared_projection: expected sources and targets of one width, got {channels}")
        (source, target), width = channels, heads * out_channels
        self.lin_key = None if shared_projection else nn.Linear(source, width, bias=bias)
        self.lin_query = None if shared_projection else nn.Linear(target, width, bias=bias)
        self.lin_value = nn.Linear(source, width, bias=bias)
        self.lin_edge = None if edge_dim is None else nn.Linear(edge_dim, width, bias=False)
        self.lin_gate = nn.Linear(target, heads if gate == "head" else width) if gate in ("head", "feature") else None
        self.structural = StructuralBias(heads, self.structure, hops, relations)

    def messages(
        self, graph: GraphInput, pairs: PairList, degree: Tensor | None, need_weights: bool
    ) -> tuple[Tensor, Tensor]:
        """Attend over the pairs.

        Args:
            graph: Checked, without duplicates.
            pairs: What is attended over.
            degree: Of each source, for "degree".
            need_weights: Whether the weights are wanted.

        Shapes:
            answer: the messages (Nt, H, C); the weights (P, H), (0, H) where nobody needs them.
        """
        H, C, targets = self.heads, self.out_channels, graph.target.shape[0]
        v = self.lin_value(graph.source).view(-1, H, C)
        if self.lin_key is None or self.lin_query is None:
            k, q = v, self.lin_value(graph.target).view(-1, H, C) if graph.is_bipartite else v
        else:
            k, q = self.lin_key(graph.source).view(-1, H, C), self.lin_query(graph.target).view(-1, H, C)
        count = pairs.index.shape[1]
        if not count or not targets:
            return q.new_zeros(targets, H, C), q.new_zeros(count, H)
        value = self._pair_bias(graph, pairs, degree, q)
        p = self.dropout if self.training else 0.0
        needs = [
            name
            for name, wanted in (
                ("pair_weights", need_weights or self.lin_edge is not None),
                ("lse", self.gate == "mass"),
            )
            if wanted
        ]
        seed = int(torch.randint(2**31 - 1, ())) if p and self.lin_edge is not None else None
        listed = pairs.index if pairs.listed is None else pairs.index[:, pairs.listed]
        answer = attend(
            q.transpose(0, 1)[None],
            k.transpose(0, 1)[None],
            v.transpose(0, 1)[None],
            mask=masks.Edges(listed, head=pairs.head),
            bias=None if value is None else biases.EdgeBias(pairs.index, value),
            temperature=self.temperature,
            dropout_p=p,
            generator=None if seed is None else torch.Generator().manual_seed(seed),
            backend=self.backend,
            need=needs,
        )
        out = answer.out if needs else answer
        weights = self._by_pair(answer.pair_weights, pairs) if "pair_weights" in needs else q.new_zeros(0, H)
        message = out[0].transpose(0, 1)
        if self.lin_edge is not None:
            kept = weights[: pairs.edges]
            if seed is not None:
                kept = kept * self._kept(seed, p, graph.edge_index).to(kept) / (1 - p)
            message = message + self._edge_values(kept, graph)
        if self.gate == "mass":
            message = message * answer.lse[0].T.exp()[:, :, None].to(message.dtype)
        elif self.lin_gate is not None:
            message = message * self.lin_gate(graph.target).sigmoid().view(targets, H, -1)
        return message, weights

    def _pair_bias(self, graph: GraphInput, pairs: PairList, degree: Tensor | None, q: Tensor) -> Tensor | None:
        """What is added to the logits, (P, H); the parts of one pair's edges add up in `attend`."""
        by_edge, by_pair = [], []
        source = pairs.index[0]
        if self.lin_edge is not None:
            weight = self.lin_edge.weight.view(self.heads, self.out_channels, -1)
            pull = torch.einsum("nhc,hcf->nhf", q, weight) * self.out_channels**-0.5
            by_edge.append((pull[graph.edge_index[1]] * graph.edge_attr[:, None]).sum(dim=-1))
        if self.structural.log_weight is not None:
            if self.relations and self.relation_heads is None and not bool((graph.edge_weight > 0).all()):
                raise ValueError("edge_weight: expected numbers above 0 with relations, whose biases add up, got 0")
            by_edge.append(self.structural.of_weights(graph.edge_weight))
        if self.structural.relation is not None:
            by_edge.append(self.structural.relation[graph.edge_type])
        if self.structural.degree is not None:
            by_pair.append(self.structural.of_degrees(degree)[source])
        if self.structural.distance is not None:
            by_pair.append(self.structural.of_distances(pairs.distance))
        total: Tensor | None = None
        if by_edge:
            total = sum(by_edge[1:], by_edge[0])
            if self.relation_heads is not None:
                own = torch.tensor(self.relation_heads, device=q.device)
                total = torch.where(graph.edge_type[:, None] == own, total, 0.0)
            total = nn.functional.pad(total, (0, 0, 0, pairs.index.shape[1] - pairs.edges))
        if by_pair:
            once = sum(by_pair[1:], by_pair[0])
            if self.relations:  # a pair of several relations stands there several times
                once = torch.where(first_copies(pairs.index)[:, None], once, 0.0)
            total = once if total is None else total + once
        return total

    def _by_pair(self, weights: Tensor, pairs: PairList) -> Tensor:
        """The weights of `attend`'s list, (1, H, P'), by pair, (P, H)."""
        if pairs.listed is None:
            return weights[0].T
        own = weights[0, pairs.head, torch.arange(pairs.head.numel(), device=weights.device)]
        return weights.new_zeros(pairs.index.shape[1], self.heads).index_put((pairs.listed, pairs.head), own)

    def _edge_values(self, weights: Tensor, graph: GraphInput) -> Tensor:
        """W_e applied to the weighted sum of edge features, (Nt, H, C): no tensor of edges x channels."""
        features = weights[:, :, None] * graph.edge_attr[:, None]
        mixed = features.new_zeros(graph.target.shape[0], self.heads, self.edge_dim)
        mixed = mixed.index_add(0, graph.edge_index[1], features)
        return torch.einsum("nhf,hcf->nhc", mixed, self.lin_edge.weight.view(self.heads, self.out_channels, -1))

    def _kept(self, seed: int, p: float, edge_index: Tensor) -> Tensor:
        """Which weights `attend` kept that drew from a generator of this seed, (E, H)."""
        drawn = draw_seed(torch.Generator().manual_seed(seed), edge_index.device)
        heads = torch.arange(self.heads, device=edge_index.device)
        source, target = edge_index[:, :, None]
        return keep(drawn, p, torch.zeros_like(target), heads, target, source, self.heads)

    def _check(self) -> None:
        if self.out_channels < 1 or self.heads < 1 or min(self.channels) < 1:
            got = f"{self.channels}, {self.out_channels}, {self.heads}"
            raise ValueError(f"in_channels, out_channels, heads: expected positive numbers, got {got}")
        if self.edge_dim is not None and self.edge_dim < 1:
            raise ValueError(f"edge_dim: expected a positive number or None, got {self.edge_dim}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout: expected a probability in [0, 1), got {self.dropout}")
        if self.hops < 1 or (self.hops > 1 and ("log_weight" in self.structure or self.relations)):
            raise ValueError(
                f"hops: expected 1 or more, and 1 with 'log_weight' or relations, which far pairs lack; got {self.hops}"
            )
        if self.gate not in GATES:
            raise ValueError(f"gate: expected None, 'head', 'feature' or 'mass', got {self.gate!r}")
        if self.relation_heads is not None:
            known = all(0 <= relation < self.relations for relation in self.relation_heads)
            if len(self.relation_heads) != self.heads or not known:
                wanted = f"{self.heads} relations in 0 .. {self.relations - 1}, one for each head"
                raise ValueError(f"relation_heads: expected {wanted}, got {self.relation_heads}")
