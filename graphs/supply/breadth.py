r"""Heads as relations: how many heads does it take to read K relations whose importance changes?

A buyer's cost changes with what its suppliers of each relation (materials, labour, capital) charge:

.. math:: y_{bi} = \sum_{r=1}^{K} m_{br} \operatorname{mean}_{j \in S_r(i)} s_{bj}

with supplier changes s and multipliers m that differ from sample to sample. The model is one attention whose heads see
all suppliers alike, and gates that are positive combinations of the multipliers:

.. math:: \hat y_{bi} = \sum_h g_h(m_b) \sum_j \operatorname{softmax}_j(q_{hi} \cdot k_{hj})\, s_{bj}, \quad
    g(m) = W m, \; W \ge 0

Let P (H x K) be the shares of the relations in each head's attention. An exact answer needs W' P = I. With fewer heads
than relations that is impossible: at least the sum of the K - H smallest eigenvalues of E[m m'] stays unexplained (for
groups of equal variance). With H = K, two matrices without negative entries are each other's inverse only if each is a
permutation up to scale, so in an exact answer each head is one relation: what is found is not one of many equivalent
solutions. Gates of any sign (`signed`) have no such proof; what training finds with them is measured, not derived.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

import core
from core import masks

from .economy import RELATIONS
from .relations import TypedEdges, relation_mask


class SupplierGroups(NamedTuple):
    """Buyers, and suppliers of several relations.

    Shapes:
        features: (n, F), what is known of a node: a noisy signature of what it supplies; buyers' are noise
        edges: supplier above buyer
        buyers: (buyers,), nodes
    """

    features: Tensor
    edges: TypedEdges
    buyers: Tensor


class Samples(NamedTuple):
    """Periods of one graph.

    Shapes:
        change: (n, b), of the suppliers
        multiplier: (b, K)
        part: (buyers, b, K), what each relation adds to the target
    """

    change: Tensor
    multiplier: Tensor
    part: Tensor

    @property
    def target(self) -> Tensor:
        """y: (buyers, b)."""
        return self.part.sum(-1)


def draw_groups(
    generator: torch.Generator,
    prototypes: Tensor,
    buyers: int = 40,
    suppliers: int = 20,
    each: tuple[int, int] = (2, 5),
    noise: float = 0.3,
    names: tuple[str, ...] = RELATIONS,
) -> SupplierGroups:
    """A graph: `suppliers` nodes of each relation, of whom each buyer has `each` (least, greatest) at random.

    Args:
        generator: Of everything drawn.
        prototypes: The signature of each relation; a supplier's is that plus normal noise.
        buyers: Number of buyers.
        suppliers: Number of suppliers of each relation.
        each: Least and greatest number of suppliers of each relation that a buyer has.
        noise: Standard deviation of the noise, for signatures that are of the order of 1.
        names: Of the relations.

    Shapes:
        prototypes: (K, F)

    Raises:
        ValueError: Names and prototypes differ in number, or there are fewer suppliers than a buyer needs.
    """
    relations, width = prototypes.shape
    if len(names) != relations:
        raise ValueError(f"names: expected {relations}, one for each prototype, got {len(names)}")
    if not 1 <= each[0] <= each[1] <= suppliers:
        raise ValueError(f"each: expected 1 <= least <= greatest <= {suppliers}, got {each}")
    kind = torch.arange(relations).repeat_interleave(suppliers)
    signatures = prototypes[kind] + noise * torch.randn(len(kind), width, generator=generator)
    features = torch.cat([signatures, noise * torch.randn(buyers, width, generator=generator)])
    source, target, relation = [], [], []
    for buyer in range(buyers):
        for own in range(relations):
            count = int(torch.randint(each[0], each[1] + 1, (), generator=generator))
            chosen = torch.randperm(suppliers, generator=generator)[:count] + own * suppliers
            source.append(chosen)
            target.append(torch.full((count,), len(kind) + buyer))
            relation.append(torch.full((count,), own))
    shuffled = torch.randperm(sum(map(len, source)), generator=generator)  # the order of edges tells nothing
    index = torch.stack([torch.cat(source), torch.cat(target)])[:, shuffled]
    edges = TypedEdges(index, torch.cat(relation)[shuffled], names)
    return SupplierGroups(features, edges, torch.arange(buyers) + len(kind))


def draw_samples(groups: SupplierGroups, count: int, generator: torch.Generator) -> Samples:
    """Normal changes of suppliers, exponential multipliers of mean 1."""
    n, relations = len(groups.features), len(groups.edges.names)
    change = torch.randn(n, count, generator=generator)
    multiplier = -torch.rand(count, relations, generator=generator).clamp_min(1e-12).log()
    (source, target), kind = groups.edges.index, groups.edges.relation
    slot = target * relations + kind
    total = torch.zeros(n * relations, count).index_add(0, slot, change[source])
    size = torch.zeros(n * relations).index_add(0, slot, torch.ones(len(slot))).clamp_min(1)
    mean = (total / size[:, None]).view(n, relations, count)[groups.buyers]
    return Samples(change, multiplier, mean.permute(0, 2, 1) * multiplier)


def least_unexplained(heads: int, relations: int) -> float:
    """What H heads must leave unexplained of K relations of equal variance: (K - H) / 2K for H < K, else 0.

    E[m m'] of exponential multipliers of mean 1 is I + 1 1', with eigenvalues K + 1 (once) and 1 (K - 1 times), and
    their sum, 2K, is the variance to explain; H fixed directions explain at most the H greatest.
    """
    return max(relations - heads, 0) / (2 * relations) if heads else 1.0


class BreadthModel(nn.Module):
    """One attention with H heads over the suppliers, and positive gates from the multipliers (see the equation above).

    Args:
        features: F, of a node.
        relations: K, multipliers.
        heads: H.
        dim: Features of queries and keys.
        hidden: Units of the two-layer encoder of node features, before queries and keys.
        masked: The control: head r is confined to the edges of relation r.
        signed: The other control: gates of any sign, W free; mixtures of relations could then be taken apart.

    Shapes:
        answer: (buyers, b)
    """

    def __init__(
        self,
        features: int,
        relations: int,
        heads: int,
        dim: int = 8,
        hidden: int = 32,
        masked: bool = False,
        signed: bool = False,
    ) -> None:
        super().__init__()
        self.heads, self.dim, self.masked, self.signed = heads, dim, masked, signed
        self.encoder = nn.Sequential(nn.Linear(features, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh())
        self.query = nn.Linear(hidden, heads * dim)
        self.key = nn.Linear(hidden, heads * dim, bias=False)
        self.mix = nn.Parameter(0.4 + 0.4 * torch.rand(heads, relations))

    @property
    def gate(self) -> Tensor:
        """W: (heads, relations), squares unless signed."""
        return self.mix if self.signed else self.mix.square()

    def attend(self, groups: SupplierGroups, values: Tensor) -> core.AttentionOutput:
        """Attention of every node over its suppliers; values (n, b)."""
        shape = (1, len(groups.features), self.heads, self.dim)
        nodes = self.encoder(groups.features)
        query, key = (project(nodes).view(shape).transpose(1, 2) for project in (self.query, self.key))
        edges = groups.edges
        mask = relation_mask(edges, self.heads) if self.masked else masks.Edges(edges.index)
        value = values[None, None].expand(1, self.heads, -1, -1)
        return core.attend(query, key, value, mask=mask, need=("pair_weights",))

    def forward(self, groups: SupplierGroups, samples: Samples, silenced: int | None = None) -> Tensor:
        """Changes of the buyers' costs; one head can be silenced."""
        out = self.attend(groups, samples.change).out[0, :, groups.buyers]  # (H, buyers, b)
        gates = samples.multiplier @ self.gate.T
        if silenced is not None:
            gates = gates * (torch.arange(self.heads) != silenced)
        return torch.einsum("hib,bh->ib", out, gates)

    @torch.no_grad()
    def weights(self, groups: SupplierGroups) -> Tensor:
        """Attention of each edge, (E, H)."""
        answer = self.attend(groups, groups.features[:, :1])
        assert answer.pair_weights is not None
        weights = answer.pair_weights[0]  # (H, E), or with masks (H, E * copies)
        return weights[:, : len(groups.edges.relation)].T


def train_breadth(
    model: BreadthModel,
    graphs: Sequence[SupplierGroups],
    steps: int,
    generator: torch.Generator,
    batch: int = 64,
    lr: float = 0.02,
) -> BreadthModel:
    """Least squares on fresh samples of one graph after the other, Adam with one cycle."""
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps, pct_start=0.2)
    for number in range(steps):
        groups = graphs[number % len(graphs)]
        samples = draw_samples(groups, batch, generator)
        loss = (model(groups, samples) - samples.target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model


@torch.no_grad()
def unexplained(model: BreadthModel, groups: SupplierGroups, samples: Samples, silenced: int | None = None) -> float:
    """Share of the target's variance that the model leaves: mean (y - f)^2 / var y."""
    error = model(groups, samples, silenced) - samples.target
    return float(error.square().mean() / samples.target.var(correction=0))
