"""Units: what an explanation ranks (image patches, sequence positions), and what it means to remove one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Baseline = Literal["zero", "mean", "mask"] | Tensor


@dataclass(frozen=True, eq=False)
class Units(ABC):
    """Splits an input into units u = 1 .. n and replaces a removed unit by the baseline b.

        without(x, keep)_u = x_u where keep_u, else b_u

    Args:
        baseline: "zero"; "mean", the mean over the batch's valid units; a tensor that broadcasts to the input, such as
            a mean over the training set. `Positions` also takes "mask": the unit is dropped through the model's
            attention mask, and the input stays as it is.
        prefix: tokens that stand before the units among the keys of the attention (a class token: 1).
    """

    baseline: Baseline = "zero"
    prefix: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.baseline, Tensor) and self.baseline not in self.named_baselines():
            names = ", ".join(map(repr, self.named_baselines()))
            raise ValueError(f"baseline: expected {names} or a tensor, got {self.baseline!r}")
        if self.prefix < 0:
            raise ValueError(f"prefix: expected at least 0 tokens, got {self.prefix}")

    @property
    def masked(self) -> bool:
        """Whether units are dropped through the attention mask."""
        return isinstance(self.baseline, str) and self.baseline == "mask"

    @property
    def baseline_name(self) -> str:
        """The baseline in a word."""
        return self.baseline if isinstance(self.baseline, str) else "given tensor"

    def keys(self, units: int) -> int:
        """How many keys the attention has for so many units: one for each, and the prefix."""
        return self.prefix + units

    def of_keys(self, weights: Tensor) -> Tensor:
        """From what the keys get, (B, keys), to what the units get, (B, n); a unit of several keys gets their sum."""
        return weights[:, self.prefix :]

    @abstractmethod
    def validity(self, x: Tensor) -> Tensor:
        """Which units exist: (B, n), bool."""

    @abstractmethod
    def spread(self, unit_values: Tensor, x: Tensor) -> Tensor:
        """Repeat one value per unit, (B, n), over the elements of that unit; broadcasts to x."""

    @abstractmethod
    def pool(self, element_values: Tensor) -> Tensor:
        """Sum what has x's shape within every unit: (B, n)."""

    def reference(self, x: Tensor) -> Tensor:
        """The baseline for the whole input, of x's shape; under "mask" 0, which only gradient methods use."""
        if isinstance(self.baseline, Tensor):
            return self.baseline.to(x).expand_as(x)
        if self.baseline == "mean":
            return self.mean(x).expand_as(x)
        return torch.zeros_like(x)

    def without(self, x: Tensor, keep: Tensor) -> Tensor:
        """The input with every unit that is not kept replaced by the baseline; under "mask" the input itself.

        Args:
            x: the input.
            keep: (B, n), bool.
        """
        return x if self.masked else torch.where(self.spread(keep, x), x, self.reference(x))

    @abstractmethod
    def mean(self, x: Tensor) -> Tensor:
        """The mean over the valid elements of the batch, per channel or feature."""

    def named_baselines(self) -> tuple[str, ...]:
        """The baselines that have names."""
        return ("zero", "mean")


@dataclass(frozen=True, eq=False)
class Patches(Units):
    """Square patches of images, numbered row by row as vision transformers number them.

    Args:
        baseline: as in `Units`; the mean is one colour.
        prefix: as in `Units`. Default: 1, a class token.
        size: side of a patch in pixels.

    Shapes:
        x: (B, C, H, W), H and W multiples of `size`; n = (H / size) (W / size).
    """

    prefix: int = 1
    size: int = 16

    def validity(self, x: Tensor) -> Tensor:
        """All of them."""
        if x.dim() != 4 or x.shape[2] % self.size or x.shape[3] % self.size:
            raise ValueError(
                f"inputs: expected images (B, C, H, W) with sides that are multiples of {self.size}, "
                f"got {tuple(x.shape)}"
            )
        n = (x.shape[2] // self.size) * (x.shape[3] // self.size)
        return torch.ones(x.shape[0], n, dtype=torch.bool, device=x.device)

    def spread(self, unit_values: Tensor, x: Tensor) -> Tensor:
        """One value per patch to (B, 1, H, W)."""
        grid = unit_values.reshape(len(x), x.shape[2] // self.size, x.shape[3] // self.size)
        return grid.repeat_interleave(self.size, 1).repeat_interleave(self.size, 2)[:, None]

    def pool(self, element_values: Tensor) -> Tensor:
        """Sum over channels and pixels of a patch."""
        B, C, H, W = element_values.shape
        tiles = element_values.reshape(B, C, H // self.size, self.size, W // self.size, self.size)
        return tiles.sum((1, 3, 5)).flatten(1)

    def mean(self, x: Tensor) -> Tensor:
        """One colour."""
        return x.mean((0, 2, 3), keepdim=True)


@dataclass(frozen=True, eq=False)
class Positions(Units):
    """Positions of a sequence of embeddings or events.

    Args:
        baseline: as in `Units`; the mean is one vector. "mask" hands the kept positions to the model's `call`.
        prefix: as in `Units`.
        valid: which positions are not padding, (B, L), bool. Default: all.

    Shapes:
        x: (B, L, ...), floating point; n = L.
    """

    valid: Tensor | None = None

    def validity(self, x: Tensor) -> Tensor:
        """The positions that are not padding."""
        if x.dim() < 2:
            raise ValueError(f"inputs: expected sequences (B, L, ...), got {tuple(x.shape)}")
        if self.valid is None:
            return torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
        if self.valid.shape != x.shape[:2] or self.valid.dtype != torch.bool:
            raise ValueError(
                f"valid: expected bool of shape {tuple(x.shape[:2])}, got {self.valid.dtype} of "
                f"{tuple(self.valid.shape)}"
            )
        return self.valid.to(x.device)

    def spread(self, unit_values: Tensor, x: Tensor) -> Tensor:
        """One value per position to (B, L, 1, ...)."""
        return unit_values.reshape(*unit_values.shape, *(1,) * (x.dim() - 2))

    def pool(self, element_values: Tensor) -> Tensor:
        """Sum over the features of a position."""
        return element_values.flatten(2).sum(2) if element_values.dim() > 2 else element_values

    def mean(self, x: Tensor) -> Tensor:
        """One vector."""
        valid = self.validity(x)
        return x[valid].mean(0) if valid.any() else torch.zeros_like(x[:1, 0])

    def named_baselines(self) -> tuple[str, ...]:
        """Those of all units, and the mask."""
        return ("zero", "mean", "mask")
