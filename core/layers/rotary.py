"""Rotary positions: rotate queries and keys so that their dot products see offsets only."""

import math

import torch
from torch import Tensor, nn


class Rotary(nn.Module):
    """Rotate pairs of features by angles that grow with the position, so that dot products see offsets only.

        (x_2i + 1j * x_2i+1) <- (x_2i + 1j * x_2i+1) * exp(1j * p * theta_i),  theta_i = base^(-2i / dim)

    With several axes the features are split evenly, every axis rotating its own share (theta of that share's width).

    Args:
        dim: features per head, a multiple of 2 * axes.
        axes: 1 for sequences, 2 for grids, ...
        base: sets the slowest rotation.

    Shapes:
        x: (B, H, L, dim); positions: (L,) or (B, L), for several axes (L, axes) or (B, L, axes); out: as x.

    Raises:
        ValueError: dim or the positions do not fit.

    References:
        Su et al., RoFormer, 2021, equations 13 and 34.
    """

    def __init__(self, dim: int, *, axes: int = 1, base: float = 10_000.0) -> None:
        super().__init__()
        if axes < 1 or dim < 2 * axes or dim % (2 * axes):
            raise ValueError(f"dim: expected a multiple of 2 * axes = {2 * axes}, got {dim}")
        self.dim, self.axes, self.base = dim, axes, base

    def forward(self, x: Tensor, positions: Tensor | None = None, *, keep: Tensor | None = None) -> Tensor:
        """Rotate x.

        Args:
            x: queries or keys.
            positions: in tokens; real-valued ones too. Default for one axis: 0, 1, 2, ...
            keep: True at the valid rows; the others count as position 0, whatever stands there.

        Shapes:
            x: (B, H, L, dim); positions: see the class; keep: (B, L); out: as x.
        """
        if x.dim() != 4 or x.shape[-1] != self.dim:
            raise ValueError(f"x: expected (B, H, L, {self.dim}), got {tuple(x.shape)}")
        batch, length = x.shape[0], x.shape[2]
        positions = batched_positions(positions, batch, length, self.axes, x.device)
        share = self.dim // self.axes
        parts = [positions] if self.axes == 1 else list(positions.unbind(-1))
        angles = torch.cat([angles_of(part, share // 2, self.base) for part in parts], dim=-1)
        if keep is not None:
            angles = angles.masked_fill(~keep[..., None], 0)
        cos, sin = angles.cos()[:, None], angles.sin()[:, None]
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        cos, sin = cos.to(wide.dtype), sin.to(wide.dtype)
        even, odd = wide[..., 0::2], wide[..., 1::2]
        turned = torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1)
        return turned.flatten(-2).to(x.dtype)

    def extra_repr(self) -> str:
        """Features, axes and base."""
        return f"{self.dim}, axes={self.axes}, base={self.base:g}"


def angles_of(positions: Tensor, pairs: int, base: float) -> Tensor:
    """Positions times theta_i = base^(-i / pairs), i < pairs; in float64 for float64 positions, else float32."""
    dtype = torch.float64 if positions.dtype == torch.float64 else torch.float32
    exponent = torch.arange(pairs, device=positions.device, dtype=torch.float64) / pairs
    theta = torch.exp(exponent * -math.log(base)).to(dtype)
    return positions.to(dtype)[..., None] * theta


def batched_positions(positions: Tensor | None, batch: int, length: int, axes: int, device: torch.device) -> Tensor:
    """Check positions and give them a batch axis, (1 or B, L) or (1 or B, L, axes); None is 0, 1, 2, ..."""
    if positions is None:
        if axes != 1:
            raise ValueError(f"positions: expected (L, {axes}) or (B, L, {axes}) for {axes} axes, got None")
        return torch.arange(length, device=device)[None]
    single = 1 if axes == 1 else 2
    if positions.dim() not in (single, single + 1) or (axes > 1 and positions.shape[-1] != axes):
        tail = "" if axes == 1 else f", {axes}"
        raise ValueError(f"positions: expected (L{tail}) or (B, L{tail}), got {tuple(positions.shape)}")
    batched = positions[None] if positions.dim() == single else positions
    if batched.shape[1] != length or batched.shape[0] not in (1, batch):
        raise ValueError(f"positions: expected {length} of them for 1 or {batch} items, got {tuple(positions.shape)}")
    return batched
