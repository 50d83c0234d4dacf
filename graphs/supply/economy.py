"""An economy: sectors, who buys what from whom, and what else each unit of output needs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch_geometric.data import Data, HeteroData

from .input_output import check_coefficients

Flow = Literal["demand", "cost"]
RELATIONS = ("materials", "labour", "capital")


class FlowEdges(NamedTuple):
    """The edges along which a shock travels, row 0 where it comes from (key), row 1 where it arrives (query).

    Shapes:
        index: (2, E)
        coefficient: (E,), a_ij > 0
        relation: (E,), or None
    """

    index: Tensor  # type: ignore[assignment]  # hides tuple.index
    coefficient: Tensor
    relation: Tensor | None = None


@dataclass(frozen=True)
class Economy:
    """Technical coefficients with names: rows sell, columns buy.

    Args:
        coefficients: a_ij, what i delivers per unit of j's output.
        names: Of the sectors.
        factors: Labour, capital and the like per unit of output.
        factor_names: Of the factors.
        demand: Final demand, or None.
        relation: For each pair the number of its relation in `relations`, or None; only pairs with a_ij > 0 count.
        relations: Names of the relations.
        notes: What was changed when it was read.

    Shapes:
        coefficients: (n, n)
        factors: (k, n)
        demand: (n,)
        relation: (n, n) integer

    Raises:
        ValueError: The coefficients are none (see `check_coefficients`), or shapes and names do not fit.
    """

    coefficients: Tensor
    names: tuple[str, ...]
    factors: Tensor | None = None
    factor_names: tuple[str, ...] = ()
    demand: Tensor | None = None
    relation: Tensor | None = None
    relations: tuple[str, ...] = RELATIONS
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_coefficients(self.coefficients, self.names)
        n = len(self.names)
        if len(set(self.names)) != n:
            twice = next(name for k, name in enumerate(self.names) if name in self.names[:k])
            raise ValueError(f"names: expected each sector once, got {twice!r} twice")
        shapes = {
            "factors": (self.factors, (len(self.factor_names), n)),
            "demand": (self.demand, (n,)),
            "relation": (self.relation, (n, n)),
        }
        for what, (tensor, expected) in shapes.items():
            if tensor is not None and tuple(tensor.shape) != expected:
                raise ValueError(f"{what}: expected {expected}, got {tuple(tensor.shape)}")
        if self.factors is None and self.factor_names:
            raise ValueError(f"factors: expected one row for each of {', '.join(self.factor_names)}, got None")

    def __len__(self) -> int:
        return len(self.names)

    def threshold(self, above: float, diagonal: bool = False) -> "Economy":
        """The economy with the coefficients above a bound alone, and by default without what sectors sell themselves.

        Raises:
            ValueError: above is negative, or nothing is left.
        """
        if above < 0:
            raise ValueError(f"above: expected at least 0, got {above}")
        kept = torch.where(self.coefficients > above, self.coefficients, 0.0)
        if not diagonal:
            kept = kept.masked_fill(torch.eye(len(self), dtype=torch.bool, device=kept.device), 0.0)
        if not kept.any():
            raise ValueError(f"above: expected less than the greatest coefficient off the diagonal, got {above:g}")
        return replace(self, coefficients=kept)

    def edges(self, flow: Flow = "demand") -> FlowEdges:
        """The pairs with a_ij > 0. Demand travels from the buyer j to the supplier i, cost from i to j."""
        if flow not in ("demand", "cost"):
            raise ValueError(f"flow: expected 'demand' or 'cost', got {flow!r}")
        supplier, buyer = self.coefficients.nonzero().T
        index = torch.stack([buyer, supplier] if flow == "demand" else [supplier, buyer])
        relation = None if self.relation is None else self.relation[supplier, buyer]
        return FlowEdges(index, self.coefficients[supplier, buyer], relation)

    def to_data(self, flow: Flow = "demand") -> Data:
        """PyG's `Data`: edge_weight a_ij, edge_type if there are relations, x = the factors, names."""
        edges = self.edges(flow)
        data = Data(edge_index=edges.index, edge_weight=edges.coefficient, num_nodes=len(self))
        data.names = list(self.names)
        if edges.relation is not None:
            data.edge_type = edges.relation
        if self.factors is not None:
            data.x = self.factors.T.contiguous()
        return data

    def to_hetero(self, flow: Flow = "demand") -> HeteroData:
        """PyG's `HeteroData`: one node type "sector", one edge type per relation.

        Raises:
            ValueError: The economy has no relations.
        """
        edges = self.edges(flow)
        if edges.relation is None:
            raise ValueError("relation: expected the relation of each pair, got None")
        data = HeteroData()
        data["sector"].num_nodes = len(self)
        data["sector"].x = torch.zeros(len(self), 1) if self.factors is None else self.factors.T.contiguous()
        for number, name in enumerate(self.relations):
            own = edges.relation == number
            data["sector", name, "sector"].edge_index = edges.index[:, own]
            data["sector", name, "sector"].edge_weight = edges.coefficient[own]
        return data


def from_edges(
    supplier: Sequence[int], buyer: Sequence[int], coefficient: Sequence[float], names: Sequence[str]
) -> Economy:
    """An economy from a list of edges.

    Raises:
        ValueError: An edge leads to a missing node or stands twice, or the coefficients are none.
    """
    n = len(names)
    if not len(supplier) == len(buyer) == len(coefficient):
        raise ValueError(
            "supplier, buyer, coefficient: expected equal lengths, "
            f"got {len(supplier)}, {len(buyer)}, {len(coefficient)}"
        )
    matrix, known = torch.zeros(n, n, dtype=torch.float64), set()
    for number, (i, j, a) in enumerate(zip(supplier, buyer, coefficient, strict=True)):
        if not (0 <= i < n and 0 <= j < n):
            raise ValueError(f"edge {number}: expected nodes 0 .. {n - 1}, got {i} -> {j}")
        if (i, j) in known:
            raise ValueError(f"edge {number}: expected each pair once, got {names[i]!r} -> {names[j]!r} twice")
        known.add((i, j))
        matrix[i, j] = a
    return Economy(matrix, tuple(names))


@dataclass(frozen=True)
class EconomyOptions:
    """How synthetic economies are drawn.

    Sectors stand in tiers. A sector buys most from the tier above it (materials), some from any tier, which closes
    cycles, and from the pools of labour and the funds of capital, which buy from the last tiers in turn. Suppliers are
    preferred by a power law, as real ones are: a few hubs sell to nearly all.

    Args:
        sectors: Least and greatest number of sectors, drawn evenly.
        tiers: Number of tiers of materials.
        suppliers: Least and greatest number of suppliers of a sector.
        feedback: Probability that a supplier is of any tier and not of the one above.
        hub: Greatest exponent of the power law; each economy's is drawn evenly from 0 (no preference) to it.
        bought: Least and greatest share of a sector's inputs in its output.
        smallest: Coefficients below it are left out.
        services: Share of sectors that are pools of labour or funds of capital, half each.

    Raises:
        ValueError: A range or a share is impossible.
    """

    sectors: tuple[int, int] = (30, 80)
    tiers: int = 4
    suppliers: tuple[int, int] = (1, 12)
    feedback: float = 0.5
    hub: float = 1.6
    bought: tuple[float, float] = (0.05, 0.8)
    smallest: float = 0.02
    services: float = 0.15

    def __post_init__(self) -> None:
        if not 2 <= self.sectors[0] <= self.sectors[1]:
            raise ValueError(f"sectors: expected 2 <= least <= greatest, got {self.sectors}")
        if not 1 <= self.suppliers[0] <= self.suppliers[1]:
            raise ValueError(f"suppliers: expected 1 <= least <= greatest, got {self.suppliers}")
        if not 0 < self.bought[0] <= self.bought[1] < 1:
            raise ValueError(f"bought: expected 0 < least <= greatest < 1, got {self.bought}")
        if not (0 <= self.feedback <= 1 and 0 <= self.services < 1):
            raise ValueError(f"feedback, services: expected shares, got {self.feedback} and {self.services}")
        if self.tiers < 1 or self.smallest < 0 or self.hub < 0:
            raise ValueError(
                f"tiers, smallest, hub: expected at least 1, 0 and 0, got {self.tiers}, {self.smallest} and {self.hub}"
            )


def draw_economy(generator: torch.Generator, options: EconomyOptions | None = None) -> Economy:
    """A random economy, layered and cyclic, with relations; the same for the same generator state.

    Returns:
        Coefficients in float64 whose columns sum to less than 1 (so that every demand can be met), relations by what
        the supplier is, and two factors per unit of output: hours of labour and capital, drawn evenly between 0.05 and
        what value added leaves.
    """
    options = EconomyOptions() if options is None else options

    def even(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(shape, generator=generator, dtype=torch.float64)

    n = int(torch.randint(options.sectors[0], options.sectors[1] + 1, (), generator=generator))
    pools = round(options.services * n / 2)
    kind = torch.zeros(n, dtype=torch.long)  # of the supplier: its relation to all who buy from it
    kind[n - 2 * pools : n - pools], kind[n - pools :] = 1, 2
    tier = (torch.arange(n) * options.tiers // max(n - 2 * pools, 1)).clamp_max(options.tiers - 1)
    rank = torch.randperm(n, generator=generator).double() + 1
    appeal = rank ** (-options.hub * float(even(0.0, 1.0)))
    matrix = torch.zeros(n, n, dtype=torch.float64)
    for buyer in range(n):
        count = int(torch.randint(options.suppliers[0], options.suppliers[1] + 1, (), generator=generator))
        near = (kind == 0) & (tier == (int(tier[buyer]) - 1 if kind[buyer] == 0 else options.tiers - 1))
        anywhere = torch.rand((), generator=generator) < options.feedback or not near.any()
        chance = appeal * torch.where(near | (kind > 0), 1.0, 0.3 if anywhere else 0.0)
        chance[buyer] = 0.0
        count = min(count, int((chance > 0).sum()))
        chosen = torch.multinomial(chance, count, generator=generator)
        share = -torch.log(even(0.0, 1.0, count).clamp_min(1e-12))
        matrix[chosen, buyer] = share / share.sum() * even(*options.bought, 1)
    matrix = torch.where(matrix > options.smallest, matrix, 0.0)
    left = 1 - matrix.sum(0)
    labour = 0.05 + (left - 0.05).clamp_min(0) * even(0.0, 1.0, n)
    factors = torch.stack([labour, (left - labour).clamp_min(0.05)])
    names = tuple(f"{('S', 'L', 'K')[int(kind[k])]}{k:02d}" for k in range(n))
    return Economy(
        matrix,
        names,
        factors,
        ("labour", "capital"),
        even(0.0, 1.0, n),
        kind[:, None].expand(n, n).contiguous(),
    )
