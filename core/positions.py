"""Where a token stands: sinusoidal, learned and rotary positions, along a sequence or on a grid.

Relative tables, ALiBi and distances are biases on the logits: `core.layers.biases` has their modules.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from .layers.padding import valid_rows, zero_rows
from .layers.rotary import Rotary, angles_of, batched_positions
from .masks import Mask

Size = int | tuple[int, ...]  # the length of a sequence, or (height, width) of a grid

__all__ = [
    "LearnedPositions",
    "Rotary",
    "SinusoidalPositions",
    "grid_positions",
    "relative_bucket",
    "resize_positions",
    "sinusoidal",
    "sinusoidal_2d",
]


def grid_positions(
    height: int,
    width: int,
    *,
    prefix: int = 0,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Row and column of every cell of a grid, row by row, after `prefix` rows of zeros (class tokens).

    Shapes:
        out: (prefix + height * width, 2), in cells.
    """
    dtype = torch.get_default_dtype() if dtype is None else dtype
    rows = torch.arange(height, device=device, dtype=dtype)
    columns = torch.arange(width, device=device, dtype=dtype)
    cells = torch.cartesian_prod(rows, columns)
    return torch.cat([cells.new_zeros((prefix, 2)), cells])


def sinusoidal(positions: Tensor, dim: int, *, base: float = 10_000.0) -> Tensor:
    """Sinusoidal encoding of real-valued positions.

        e_(p, 2i) = sin(p / base^(2i / dim)),  e_(p, 2i + 1) = cos(p / base^(2i / dim))

    Args:
        positions: in tokens, or in any unit that base is meant for; integers and floats.
        dim: features, even.
        base: the longest wavelength is 2 pi * base, nearly.

    Shapes:
        positions: (...); out: (..., dim), float64 for float64 positions, else float32.

    Raises:
        ValueError: dim is odd or not positive.

    References:
        Vaswani et al., Attention is all you need, NeurIPS 2017, section 3.5.
    """
    if dim < 2 or dim % 2:
        raise ValueError(f"dim: expected an even number of at least 2, got {dim}")
    angles = angles_of(positions, dim // 2, base)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2)


def sinusoidal_2d(positions: Tensor, dim: int, *, base: float = 10_000.0) -> Tensor:
    """Sinusoidal encoding of rows (first half of the features) and columns (second half).

    Shapes:
        positions: (..., 2); out: (..., dim).

    Raises:
        ValueError: dim is no multiple of 4, or the positions are not pairs.
    """
    if dim < 4 or dim % 4:
        raise ValueError(f"dim: expected a multiple of 4, got {dim}")
    if positions.shape[-1:] != (2,):
        raise ValueError(f"positions: expected (..., 2), got {tuple(positions.shape)}")
    return torch.cat([sinusoidal(axis, dim // 2, base=base) for axis in positions.unbind(-1)], dim=-1)


class SinusoidalPositions(nn.Module):
    """Add the sinusoidal encoding: out = x + e(positions); no parameters, any length.

    Args:
        dim: features; even, for two axes a multiple of 4.
        axes: 1 for sequences, 2 for grids.
        base: see `sinusoidal`.

    Shapes:
        x: (B, L, dim); positions: (L,) or (B, L), for two axes (L, 2) or (B, L, 2); out: (B, L, dim).

    Raises:
        ValueError: axes is neither 1 nor 2, or positions are missing on a grid or of another shape.
    """

    def __init__(self, dim: int, *, axes: int = 1, base: float = 10_000.0) -> None:
        super().__init__()
        if axes not in (1, 2):
            raise ValueError(f"axes: expected 1 or 2, got {axes}")
        self.dim, self.axes, self.base = dim, axes, base

    def forward(self, x: Tensor, positions: Tensor | None = None, *, mask: Mask | None = None) -> Tensor:
        """Add the encoding; rows that mask's Padding rules out are 0. Default positions: 0, 1, 2, ... for one axis."""
        keep = valid_rows(mask, x)
        positions = batched_positions(positions, x.shape[0], x.shape[1], self.axes, x.device)
        encode = sinusoidal if self.axes == 1 else sinusoidal_2d
        return zero_rows(x + encode(positions, self.dim, base=self.base).to(x.dtype), keep)

    def extra_repr(self) -> str:
        """Features, axes and base."""
        return f"{self.dim}, axes={self.axes}, base={self.base:g}"


class LearnedPositions(nn.Module):
    """Add a learned row per position, of a sequence or a grid: out_l = x_l + table_l.

    A table for another size is read by interpolation: sequences linearly, grids bicubically, both with the ends of the
    first and last cell aligned (align_corners=False) and, when shrinking, without smoothing. Prefix rows are never
    interpolated.

    Args:
        size: length of the sequence, or (height, width) of the grid in cells, row by row.
        dim: features.
        prefix: rows in front of the sequence or grid, such as class tokens.
        mode: "linear" for sequences; "bicubic" or "bilinear" for grids. Default: linear, bicubic.
        std: of the normal distribution that the table starts from.

    Shapes:
        table: (prefix + cells, dim); x: (B, prefix + cells, dim); out: as x.

    Raises:
        ValueError: x has another number of rows than the table or the size asked for.

    References:
        Dosovitskiy et al., An image is worth 16x16 words, ICLR 2021, section 3.2 (resizing).
    """

    def __init__(self, size: Size, dim: int, *, prefix: int = 0, mode: str | None = None, std: float = 0.02) -> None:
        super().__init__()
        self.size = _as_size(size)
        self.prefix = prefix
        self.mode = mode or ("linear" if len(self.size) == 1 else "bicubic")
        _check_mode(self.mode, self.size)
        self.table = nn.Parameter(torch.empty(prefix + math.prod(self.size), dim))
        nn.init.trunc_normal_(self.table, std=std)

    def forward(self, x: Tensor, size: Size | None = None, *, mask: Mask | None = None) -> Tensor:
        """Add the rows of the table, interpolated to `size` if that is another; padded rows of mask are 0."""
        keep = valid_rows(mask, x)
        table = self.rows(self.size if size is None else size)
        if x.shape[-2:] != table.shape:
            raise ValueError(
                f"x: expected (B, {table.shape[0]}, {table.shape[1]}) for {self.prefix} prefix rows and size "
                f"{self.size if size is None else size}, got {tuple(x.shape)}"
            )
        return zero_rows(x + table.to(x.dtype), keep)

    def rows(self, size: Size) -> Tensor:
        """The table for a length or grid.

        Shapes:
            out: (prefix + cells, dim).
        """
        return resize_positions(self.table, self.size, size, prefix=self.prefix, mode=self.mode)

    def resize_(self, size: Size) -> "LearnedPositions":
        """Interpolate the table to another size, in place (a new parameter: do this before making an optimiser)."""
        self.table = nn.Parameter(self.rows(size).detach().clone(), requires_grad=self.table.requires_grad)
        self.size = _as_size(size)
        return self

    def load_resized(self, state: Mapping[str, Tensor], size: Size) -> None:
        """Load the state of a layer of another size: its table is interpolated to this one's size.

        Args:
            state: a state_dict with the entry "table".
            size: the size that state was trained at.

        Raises:
            ValueError: the table has other features, or other rows than prefix and size say.
        """
        if set(state) != {"table"}:
            raise ValueError(f"state: expected the one entry 'table', got {sorted(state)}")
        if state["table"].shape[-1] != self.table.shape[-1]:
            raise ValueError(f"state: expected {self.table.shape[-1]} features, got {state['table'].shape[-1]}")
        table = resize_positions(state["table"], size, self.size, prefix=self.prefix, mode=self.mode)
        with torch.no_grad():
            self.table.copy_(table)

    def extra_repr(self) -> str:
        """Size, features and prefix."""
        return f"size={self.size}, dim={self.table.shape[-1]}, prefix={self.prefix}, mode={self.mode}"


def resize_positions(
    table: Tensor,
    size: Size,
    new_size: Size,
    *,
    prefix: int = 0,
    mode: str = "bicubic",
) -> Tensor:
    """Interpolate a table of positions to another length or grid; the same size answers the table itself.

    Args:
        table: prefix rows, then the sequence, or the grid row by row.
        size: length or (height, width) of the table.
        new_size: the same of the answer.
        prefix: rows that are kept as they are.
        mode: "linear" for lengths; "bicubic" or "bilinear" for grids.

    Shapes:
        table: (prefix + cells, dim); out: (prefix + new cells, dim), differentiable.

    Raises:
        ValueError: the table has another number of rows, or the mode does not fit the size.
    """
    old, new = _as_size(size), _as_size(new_size)
    if len(old) != len(new):
        raise ValueError(f"new_size: expected {len(old)} numbers as size = {old} has, got {new}")
    _check_mode(mode, old)
    if table.dim() != 2 or table.shape[0] != prefix + math.prod(old):
        raise ValueError(
            f"table: expected ({prefix + math.prod(old)}, dim) for prefix {prefix} and size {old}, "
            f"got {tuple(table.shape)}"
        )
    if old == new:
        return table
    cells = table[prefix:].T.reshape(1, -1, *old)
    at_least_float32 = cells if cells.dtype in (torch.float32, torch.float64) else cells.float()
    resized = nn.functional.interpolate(at_least_float32, size=new, mode=mode, align_corners=False)
    return torch.cat([table[:prefix], resized[0].flatten(1).T.to(table.dtype)])


def relative_bucket(offset: Tensor, *, buckets: int, max_distance: float) -> Tensor:
    """Bucket of a signed offset: exact near 0, logarithmic beyond, one bucket from max_distance on.

        n = buckets // 2 for either sign;  |d| < n / 2: |d|,  else n / 2 + floor(log(2|d| / n) / log(2 max / n) * n / 2)

    Args:
        offset: key position - query position, in tokens.
        buckets: an even number of at least 4; positive offsets take the upper half.
        max_distance: where the last bucket begins, more than buckets / 4.

    Shapes:
        offset: (...); out: (...), int64 in [0, buckets).

    Raises:
        ValueError: buckets or max_distance do not fit.

    References:
        Raffel et al., Exploring the limits of transfer learning, JMLR 2020, section 2.1 (T5).
    """
    if buckets < 4 or buckets % 2:
        raise ValueError(f"buckets: expected an even number of at least 4, got {buckets}")
    side = buckets // 2
    exact = side // 2
    if max_distance <= exact:
        raise ValueError(f"max_distance: expected more than {exact}, got {max_distance}")
    distance = offset.abs()
    ratio = (distance.clamp(min=1).double() / exact).log() / math.log(max_distance / exact)
    far = (exact + (ratio * (side - exact)).floor().long()).clamp(max=side - 1)
    near = distance.floor().long() if distance.is_floating_point() else distance.long()
    return torch.where(distance < exact, near, far) + (offset > 0) * side


def _as_size(size: int | tuple[int, ...]) -> tuple[int, ...]:
    out = (size,) if isinstance(size, int) else tuple(size)
    if len(out) not in (1, 2) or min(out) < 1:
        raise ValueError(f"size: expected a length or (height, width), positive, got {size}")
    return out


def _check_mode(mode: str, size: tuple[int, ...]) -> None:
    allowed = ("linear",) if len(size) == 1 else ("bicubic", "bilinear")
    if mode not in allowed:
        raise ValueError(f"mode: expected one of {allowed} for size {size}, got {mode!r}")
