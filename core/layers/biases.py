"""Learned biases as modules: each holds parameters and answers a symbolic bias for `attend`."""

import math
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn

from .. import biases
from ..biases import Kernel


class _Decay(nn.Module):
    """Per-head rates, stored as log half-lives (log half-distances).

    rate_h = ln 2 / f(half_h), f(d) = d (exponential), log(1 + d) (logarithmic), d^2 (gaussian)
    """

    what = "half_lives"

    def __init__(self, heads: int, half: float | Sequence[float], learnable: bool, kernel: Kernel) -> None:
        super().__init__()
        if kernel not in ("exponential", "logarithmic", "gaussian"):
            raise ValueError(f"kernel: expected 'exponential', 'logarithmic' or 'gaussian', got {kernel!r}")
        values = [float(half)] * heads if isinstance(half, (int, float)) else [float(value) for value in half]
        if len(values) != heads:
            raise ValueError(f"{self.what}: expected one number or one for each of {heads} heads, got {len(values)}")
        if not all(0 < value < math.inf for value in values):
            raise ValueError(f"{self.what}: expected positive finite numbers, got {values}")
        self.heads, self.kernel = heads, kernel
        log_half = torch.tensor(values, dtype=torch.float64).log().to(torch.get_default_dtype())
        if learnable:
            self.log_half = nn.Parameter(log_half)
        else:
            self.register_buffer("log_half", log_half)

    @classmethod
    def spread(
        cls, heads: int, shortest: float, longest: float, learnable: bool = True, kernel: Kernel = "exponential"
    ) -> Self:
        """Scales from shortest to longest, evenly on a log scale (one head: their geometric mean)."""
        return cls(heads, log_spaced(heads, shortest, longest), learnable, kernel)

    @property
    def scales(self) -> Tensor:
        """Half-lives or half-distances in the data's unit: (heads,)."""
        return self.log_half.exp()

    @property
    def rate(self) -> Tensor:
        """What multiplies f: (heads,)."""
        if self.kernel == "exponential":
            return math.log(2) / self.scales
        if self.kernel == "logarithmic":
            return math.log(2) / self.scales.log1p()
        return math.log(2) / self.scales.square()

    def extra_repr(self) -> str:
        """The half-lives or half-distances, as they are now."""
        values = ", ".join(f"{value:.4g}" for value in self.scales.tolist())
        learnable = isinstance(self.log_half, nn.Parameter)
        return f"heads={self.heads}, {self.what}=[{values}], learnable={learnable}, kernel={self.kernel}"


class TimeDecayBias(_Decay):
    """Weights that fall with the time between query and key: bias_hij = -rate_h f(|t_i - t_j|).

        rate_h = ln 2 / f(half_life_h),  f(d) = d (exponential), log(1 + d) (logarithmic), d^2 (gaussian)

    Two keys of equal score, one of them half_life_h away and the other at distance 0, have weights in the ratio 1 : 2
    at temperature 1; a temperature T makes that ratio 1 : 2^(1/T), so it multiplies the half-life of the exponential
    kernel.

    Args:
        heads: query heads.
        half_lives: in the unit of the times (hours, days, ...); one number for all heads or one for each. Heads that
            start at different scales learn to divide the work: see `spread`.
        learnable: train log half-lives; else they are fixed.
        kernel: f.

    Shapes:
        times: (B, Lq); key_times: (B, Lk); half_lives: (heads,).

    Raises:
        ValueError: a half-life is not positive, or there are not as many as heads.
    """

    what = "half_lives"

    def __init__(
        self, heads: int, half_lives: float | Sequence[float], learnable: bool = True, kernel: Kernel = "exponential"
    ) -> None:
        super().__init__(heads, half_lives, learnable, kernel)

    @property
    def half_lives(self) -> Tensor:
        """In the unit of the times: (heads,)."""
        return self.scales

    def forward(self, times: Tensor, key_times: Tensor | None = None) -> biases.TimeDecay:
        """The bias for these times; key_times is needed where keys are not the queries."""
        return biases.TimeDecay(times, self.rate, self.kernel, key_times)


class DistanceDecayBias(_Decay):
    """Weights that fall with the Euclidean distance: bias_hij = -rate_h f(|x_i - x_j|).

        rate_h = ln 2 / f(half_distance_h),  f(d) = d (exponential), log(1 + d) (logarithmic), d^2 (gaussian)

    With the cells of a grid as positions (`grid_positions`) the exponential kernel is ALiBi in two dimensions.

    Args:
        heads: query heads.
        half_distances: in the unit of the positions; one number for all heads or one for each.
        learnable: train log half-distances; else they are fixed.
        kernel: f.

    Shapes:
        positions: (B, Lq, n); key_positions: (B, Lk, n); half_distances: (heads,).

    Raises:
        ValueError: a half-distance is not positive, or there are not as many as heads.
    """

    what = "half_distances"

    def __init__(
        self,
        heads: int,
        half_distances: float | Sequence[float],
        learnable: bool = True,
        kernel: Kernel = "exponential",
    ) -> None:
        super().__init__(heads, half_distances, learnable, kernel)

    @property
    def half_distances(self) -> Tensor:
        """In the unit of the positions: (heads,)."""
        return self.scales

    def forward(self, positions: Tensor, key_positions: Tensor | None = None) -> biases.DistanceDecay:
        """The bias for these positions; key_positions is needed where keys are not the queries."""
        return biases.DistanceDecay(positions, self.rate, self.kernel, key_positions)


class AlibiBias(nn.Module):
    """Weights that fall with the distance in tokens: bias_hij = -slope_h |i - j|.

    Slopes start at 2^(-8h/n), h = 1 .. n, for n heads a power of two; for other n at those of the power of two below,
    followed by every other one of those for twice as many heads.

    Args:
        heads: query heads.
        learnable: train log slopes; else they are fixed.

    Shapes:
        slopes: (heads,).

    References:
        Press et al., Train short, test long, ICLR 2022, section 3; the slopes of other n as in the authors' code. There
        the attention is causal; here |i - j| serves both directions.
    """

    def __init__(self, heads: int, learnable: bool = False) -> None:
        super().__init__()
        if heads < 1:
            raise ValueError(f"heads: expected at least 1, got {heads}")
        log_slopes = torch.tensor(alibi_slopes(heads), dtype=torch.float64).log().to(torch.get_default_dtype())
        if learnable:
            self.log_slopes = nn.Parameter(log_slopes)
        else:
            self.register_buffer("log_slopes", log_slopes)

    @property
    def slopes(self) -> Tensor:
        """Fall of the logit per token: (heads,)."""
        return self.log_slopes.exp()

    def forward(self) -> biases.Alibi:
        """The bias, for any length."""
        return biases.Alibi(self.slopes)

    def extra_repr(self) -> str:
        """The slopes, as they are now."""
        values = ", ".join(f"{value:.4g}" for value in self.slopes.tolist())
        return f"slopes=[{values}], learnable={isinstance(self.log_slopes, nn.Parameter)}"


class RelativeBias(nn.Module):
    """A learned number per head and offset: bias_hij = table_h[clip(j - i, -m, m) + m].

    Args:
        heads: query heads.
        max_distance: m, in tokens; offsets beyond it share the last number.
        std: of the normal distribution that the table starts from.

    Shapes:
        table: (heads, 2m + 1).

    References:
        Raffel et al., JMLR 2020, section 2.1 (a scalar per head and offset, there in buckets).
    """

    def __init__(self, heads: int, max_distance: int, *, std: float = 0.02) -> None:
        super().__init__()
        if heads < 1 or max_distance < 0:
            raise ValueError(f"heads, max_distance: expected >= 1 and >= 0, got {heads} and {max_distance}")
        self.table = nn.Parameter(torch.empty(heads, 2 * max_distance + 1))
        nn.init.trunc_normal_(self.table, std=std)

    def forward(self) -> biases.Relative:
        """The bias, for any length."""
        return biases.Relative(self.table)

    def extra_repr(self) -> str:
        """Heads and reach."""
        return f"heads={self.table.shape[0]}, max_distance={self.table.shape[1] // 2}"


class RelativeGridBias(nn.Module):
    """A learned number per head and offset on a grid: bias_hij = table_h[row_j - row_i, column_j - column_i].

    For another grid the table is interpolated bicubically. Prefix rows (class tokens) have three numbers of their own
    per
    head: seen by cells, seeing cells, among themselves.

    Args:
        heads: query heads.
        size: (height, width) in cells.
        prefix: rows in front of the grid.
        std: of the normal distribution that the table starts from.

    Shapes:
        table: (heads, 2 height - 1, 2 width - 1); prefix_table: (heads, 3).

    References:
        Liu et al., Swin transformer, ICCV 2021, equation 4; Bao et al., BEiT, ICLR 2022 (class-token entries).
    """

    def __init__(self, heads: int, size: tuple[int, int], *, prefix: int = 0, std: float = 0.02) -> None:
        super().__init__()
        height, width = size
        if min(height, width) < 1 or heads < 1:
            raise ValueError(f"heads, size: expected positive numbers, got {heads} and {size}")
        self.prefix = prefix
        self.size = (height, width)
        self.table = nn.Parameter(torch.empty(heads, 2 * height - 1, 2 * width - 1))
        nn.init.trunc_normal_(self.table, std=std)
        self.prefix_table = nn.Parameter(torch.zeros(heads, 3)) if prefix else None

    def forward(self, size: tuple[int, int] | None = None) -> biases.Dense:
        """The bias on a grid of this size (default: the layer's own): (1, heads, L, L), L = prefix + height * width."""
        height, width = self.size if size is None else size
        table: Tensor = self.table
        if (height, width) != self.size:
            new = (2 * height - 1, 2 * width - 1)
            table = nn.functional.interpolate(table[None], size=new, mode="bicubic", align_corners=False)[0]
        rows = torch.arange(height, device=table.device)
        columns = torch.arange(width, device=table.device)
        row = (rows[None, :] - rows[:, None]) + height - 1
        column = (columns[None, :] - columns[:, None]) + width - 1
        bias = table[:, row[:, None, :, None], column[None, :, None, :]].flatten(3).flatten(1, 2)
        if self.prefix_table is not None:
            seen, seeing, among = self.prefix_table[:, :, None, None].unbind(1)
            cells, n = height * width, self.prefix
            top = torch.cat([among.expand(-1, n, n), seeing.expand(-1, n, cells)], dim=2)
            bottom = torch.cat([seen.expand(-1, cells, n), bias], dim=2)
            bias = torch.cat([top, bottom], dim=1)
        return biases.Dense(bias[None])

    def extra_repr(self) -> str:
        """Heads, size and prefix."""
        return f"heads={self.table.shape[0]}, size={self.size}, prefix={self.prefix}"


class EdgeFeatureBias(nn.Module):
    """A bias from the features of edges: bias_hij = sum over edges e from j to i of (W z_e + c)_h; 0 off the edges.

    W and c start at 0, so that training starts from plain attention.

    Args:
        features: per edge.
        heads: query heads.
        bias: have c.

    Shapes:
        edge_index: (2, E), row 0 the key, row 1 the query; edge_features: (E, features); batch: (E,).

    Raises:
        ValueError: edge_features of another shape.
    """

    def __init__(self, features: int, heads: int, *, bias: bool = True) -> None:
        super().__init__()
        self.proj = nn.Linear(features, heads, bias=bias)
        nn.init.zeros_(self.proj.weight)
        if bias:
            nn.init.zeros_(self.proj.bias)

    def forward(self, edge_index: Tensor, edge_features: Tensor, batch: Tensor | None = None) -> biases.EdgeBias:
        """The bias of these edges; batch names the item of each where the items' graphs differ."""
        if edge_features.dim() != 2 or edge_features.shape != (edge_index.shape[-1], self.proj.in_features):
            expected = (edge_index.shape[-1], self.proj.in_features)
            raise ValueError(f"edge_features: expected {expected}, got {tuple(edge_features.shape)}")
        return biases.EdgeBias(edge_index, self.proj(edge_features), batch)


def log_spaced(heads: int, shortest: float, longest: float) -> list[float]:
    """`heads` numbers from shortest to longest, evenly on a log scale; for one head their geometric mean.

    Raises:
        ValueError: not 0 < shortest <= longest, or heads < 1.
    """
    if heads < 1 or not 0 < shortest <= longest < math.inf:
        raise ValueError(f"shortest, longest: expected 0 < shortest <= longest, got {shortest} and {longest}")
    if heads == 1:
        return [math.sqrt(shortest * longest)]
    return [shortest * (longest / shortest) ** (head / (heads - 1)) for head in range(heads)]


def alibi_slopes(heads: int) -> list[float]:
    """The slopes of Press et al. for any number of heads; see AlibiBias."""
    below = 2 ** int(math.log2(heads))
    slopes = [2 ** (-8 * (head + 1) / below) for head in range(below)]
    return slopes + [2 ** (-8 * (head + 1) / (2 * below)) for head in range(0, 2 * (heads - below), 2)]
