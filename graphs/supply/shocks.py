r"""Shocks, how they travel, and what is uncertain about them.

A demand shock f enters where customers buy and travels to suppliers; a cost shock v enters where value is added and
travels to buyers. After k hops it is :math:`A^k f`. The uncertainty of a forecast is sampled: coefficients are
multiplied by lognormal noise of mean 1 and the forecast is repeated.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .economy import Economy, Flow, FlowEdges


class Band(NamedTuple):
    """Quantiles over scenarios. Shapes: low, middle, high as the forecast."""

    low: Tensor
    middle: Tensor
    high: Tensor


def unit_shocks(n: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """One shock of 1 at each sector: the columns of the identity, (n, n)."""
    return torch.eye(n, dtype=dtype)


def shock_at(economy: Economy, sizes: dict[str, float]) -> Tensor:
    """A shock by sectors' names, (n,).

    Raises:
        ValueError: There is no such sector.
    """
    shock = torch.zeros(len(economy), dtype=economy.coefficients.dtype)
    for name, size in sizes.items():
        if name not in economy.names:
            raise ValueError(f"sizes: expected sectors such as {', '.join(economy.names[:4])}, got {name!r}")
        shock[economy.names.index(name)] = size
    return shock


def sparse_shocks(n: int, count: int, most: int, generator: torch.Generator) -> Tensor:
    """`count` shocks at 1 to `most` sectors each, of lognormal sizes (median 1, log deviation 1).

    Shapes:
        answer: (n, count), float64

    Raises:
        ValueError: most is not in 1 .. n.
    """
    if not 1 <= most <= n:
        raise ValueError(f"most: expected 1 .. {n}, got {most}")
    shocks = torch.zeros(n, count, dtype=torch.float64)
    for column in range(count):
        hit = int(torch.randint(1, most + 1, (), generator=generator))
        where = torch.randperm(n, generator=generator)[:hit]
        shocks[where, column] = torch.randn(hit, generator=generator, dtype=torch.float64).exp()
    return shocks


def travel(economy: Economy, shock: Tensor, hops: int, flow: Flow = "demand") -> Tensor:
    """What arrives after exactly k = 0 .. hops hops: A^k f for demand, (A')^k v for cost.

    Shapes:
        shock: (n,) or (n, m)
        answer: (hops + 1, n) or (hops + 1, n, m)

    Raises:
        ValueError: hops is negative.
    """
    if hops < 0:
        raise ValueError(f"hops: expected at least 0, got {hops}")
    edges = economy.edges(flow)
    found = [shock]
    for _ in range(hops):
        found.append(step(edges, found[-1]))
    return torch.stack(found)


def step(edges: FlowEdges, state: Tensor) -> Tensor:
    """One hop by plain sums over edges, without attention: sum_j a_ij x_j.

    Shapes:
        state: (n,) or (n, m)
    """
    coefficient = edges.coefficient.to(state.dtype)
    moved = state[edges.index[0]] * (coefficient if state.dim() == 1 else coefficient[:, None])
    return torch.zeros_like(state).index_add(0, edges.index[1], moved)


def respond(edges: FlowEdges, shock: Tensor, hops: int | None = None, tolerance: float = 1e-13) -> Tensor:
    """sum_{k=0}^{D} A^k f by sums over edges; without `hops` until a round is below the tolerance: L f.

    Raises:
        ValueError: The sum does not settle within 10,000 rounds (spectral radius of 1 or more).
    """
    total, front = shock, shock
    for _ in range(10_000 if hops is None else hops):
        front = step(edges, front)
        total = total + front
        if hops is None and not total.isfinite().all():
            break
        if hops is None and front.abs().max() <= tolerance * total.abs().max():
            return total
    if hops is None:
        raise ValueError("edges: expected a spectral radius below 1, got a sum over hops that does not settle")
    return total


def perturb(edges: FlowEdges, spread: float, generator: torch.Generator) -> FlowEdges:
    """Coefficients times lognormal noise of mean 1 and log standard deviation `spread`.

    Raises:
        ValueError: spread is negative.
    """
    if spread < 0:
        raise ValueError(f"spread: expected at least 0, got {spread}")
    noise = torch.randn(len(edges.coefficient), generator=generator, dtype=torch.float64)
    factor = (spread * noise - spread**2 / 2).exp().to(edges.coefficient)
    return edges._replace(coefficient=edges.coefficient * factor)


def sample_band(
    forecast: Callable[[FlowEdges], Tensor],
    edges: FlowEdges,
    scenarios: int,
    spread: float,
    generator: torch.Generator,
    quantiles: Sequence[float] = (0.05, 0.5, 0.95),
) -> Band:
    """Repeat a forecast on perturbed coefficients and answer its quantiles.

    Args:
        forecast: From edges to anything of a fixed shape: a model, or `respond`.
        edges: The coefficients as they are thought to be.
        scenarios: How many samples; a band of 5 % to 95 % wants a hundred or more.
        spread: Log standard deviation of a coefficient's noise; independent between edges.
        generator: Of the noise.
        quantiles: Low, middle and high.

    Raises:
        ValueError: scenarios is below 2, or the quantiles do not ascend within 0 .. 1.
    """
    if scenarios < 2:
        raise ValueError(f"scenarios: expected at least 2, got {scenarios}")
    low, middle, high = quantiles
    if not 0 <= low <= middle <= high <= 1:
        raise ValueError(f"quantiles: expected 0 <= low <= middle <= high <= 1, got {tuple(quantiles)}")
    found = torch.stack([forecast(perturb(edges, spread, generator)) for _ in range(scenarios)])
    order = found.sort(dim=0).values
    return Band(*(order[round(q * (scenarios - 1))] for q in (low, middle, high)))
