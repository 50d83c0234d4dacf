"""The base of every bias, and their sum."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from functools import reduce
from operator import add
from typing import ClassVar

import torch
from torch import Tensor

from ..symbols import Mod, Pairs, Part, Sizes, Symbolic, by_row, combine, node, per_head
from .forms import Form


class Bias(Symbolic):
    """A real number for each pair of query and key, added to the scaled score before the temperature.

    `block` is the one method that a bias must have; it must be differentiable in what the bias learns. What backends
    ask beyond `Symbolic` has defaults too: `form`, which promises nothing, and, for tiles, `ready`, `evaluate`,
    `add_to`, `write` and `pull`, which work with the block and its gradient.
    """

    writes_quickly: ClassVar[bool] = False  # whether `write` is one pass over a tile: then it goes before the others

    def materialize(self, B: int, H: int, Lq: int, Lk: int, device: torch.device | str | None = None) -> Tensor:
        """Compute the bias as a tensor.

        Args:
            B: Batch size.
            H: Number of query heads.
            Lq: Number of queries.
            Lk: Number of keys.
            device: Where to put a bias that holds no tensor of its own; the others answer where their tensors are.

        Shapes:
            Answer: float32 or wider, 4-D, broadcastable to (B, H, Lq, Lk).

        Raises:
            ValueError: The bias does not fit these sizes.
        """
        return self.block(self.whole_part(B, H, Lq, Lk, device))

    def form(self) -> Form | None:
        """Say by which of the forms that become features of queries and keys this bias is given; None if by none."""
        return None

    def evaluate(self, part: Part, differentiable: bool) -> Tensor:
        """Compute what `add_to` and `pull` work with: the block over the part, or what makes that block unnecessary.

        Args:
            part: Where.
            differentiable: Whether `pull` will follow.
        """
        with torch.set_grad_enabled(differentiable):
            return self.block(part)

    def ready(self) -> Bias:
        """Answer an equal bias, with the same `learned()`, that evaluates many parts in turn faster."""
        return self

    def add_to(self, logits: Tensor, evaluated: Tensor, factor: float) -> None:
        """Add factor * bias to logits of shape (items, H, rows, cols), in place."""
        logits.add_(evaluated.detach(), alpha=factor)

    def write(self, logits: Tensor, evaluated: Tensor, factor: float, start: Tensor | None) -> None:
        """Put start + factor * bias into logits; start is (items, H, rows, 1), None for 0."""
        logits.zero_() if start is None else logits.copy_(start)
        self.add_to(logits, evaluated, factor)

    def pull(self, d_logits: Tensor, part: Part, evaluated: Tensor, factor: float) -> list[Tensor | None]:
        """Answer what `d_logits` (items, H, rows, cols) adds to the gradient of each of `learned()`."""
        learned = self.learned()
        if not evaluated.requires_grad:
            return [None] * len(learned)
        gradient = (factor * d_logits.sum_to_size(evaluated.shape)).to(evaluated.dtype)
        return list(torch.autograd.grad(evaluated, learned, gradient, allow_unused=True))

    def learned(self) -> list[Tensor]:
        """List the tensors of this bias that require grad."""
        return [t for _, t in self.tensors() if t.requires_grad]

    def leaves(self) -> Iterator[Bias]:
        """Go through the biases that this one is the sum of."""
        yield self

    def __add__(self, other: Bias) -> Bias:
        return Sum((*self.leaves(), *other.leaves())) if isinstance(other, Bias) else NotImplemented


@node
class Sum(Bias):
    """bias(i, j) = the sum of the parts' bias(i, j)."""

    parts: tuple[Bias, ...]

    def check_sizes(self, B: int, H: int, Lq: int, Lk: int) -> None:
        for part in self.parts:
            part.check_sizes(B, H, Lq, Lk)

    def block(self, part: Part) -> Tensor:
        return reduce(torch.add, (p.block(part) for p in self.parts))

    def at(self, pairs: Pairs) -> Tensor:
        return reduce(torch.add, (p.at(pairs) for p in self.parts))

    def elementwise(self, sizes: Sizes) -> Mod:
        return combine(add, [p.elementwise(sizes) for p in self.parts])

    def leaves(self) -> Iterator[Bias]:
        """Go through the biases that this one is the sum of."""
        for part in self.parts:
            yield from part.leaves()


class DistanceBias(Bias):
    """bias(b, h, i, j) = -rate[h] * f(b, i, j): one distance for all heads, and a rate for each."""

    writes_quickly = True

    @abstractmethod
    def distance(self, part: Part) -> Tensor:
        """Compute f over a part, (items or 1, rows, cols)."""

    @abstractmethod
    def distance_at(self, pairs: Pairs) -> Tensor:
        """Look up f at listed pairs; broadcastable to S."""

    @abstractmethod
    def rates(self) -> float | Tensor:
        """Answer the rate, a scalar or (H,)."""

    def block(self, part: Part) -> Tensor:
        return _fall(self.distance(part)[:, None], per_head(self.rates()))

    def at(self, pairs: Pairs) -> Tensor:
        f = self.distance_at(pairs)
        return _fall(f[None], per_head(self.rates(), f.ndim))

    def evaluate(self, part: Part, differentiable: bool) -> Tensor:
        return self.distance(part)

    def add_to(self, logits: Tensor, evaluated: Tensor, factor: float) -> None:
        rate = self.rates()
        rate = rate.detach() if isinstance(rate, Tensor) else torch.tensor(rate, device=logits.device)
        logits.addcmul_(evaluated[:, None].to(logits.dtype), rate.to(logits.dtype).reshape(-1, 1, 1), value=-factor)

    def write(self, logits: Tensor, evaluated: Tensor, factor: float, start: Tensor | None) -> None:
        rate, f = self.rates(), evaluated.to(logits.dtype).expand(logits[:, 0].shape)
        rates = rate.detach().reshape(-1).tolist() if isinstance(rate, Tensor) else [rate]
        for head in range(logits.shape[1]):  # one operation for all heads has no vectorised kernel
            fall = -factor * rates[head % len(rates)]
            if start is None:
                torch.mul(f, fall, out=logits[:, head])
            else:
                torch.add(start[:, head], f, alpha=fall, out=logits[:, head])

    def pull(self, d_logits: Tensor, part: Part, evaluated: Tensor, factor: float) -> list[Tensor | None]:
        rate = self.rates()
        if not (isinstance(rate, Tensor) and rate.requires_grad):
            return []
        f = evaluated.to(d_logits.dtype).flatten(1)
        by_head = torch.matmul(d_logits.flatten(2), f[..., None]).sum(dim=(0, 2))
        return [(-factor * by_head).sum_to_size(rate.shape).to(rate.dtype)]


def _fall(f: Tensor, rate: float | Tensor) -> Tensor:
    """Answer -rate * f; a pair whose f is not finite keeps that, but adds nothing to the gradient of the rate."""
    finite = f.isfinite()
    return torch.where(finite, -rate * torch.where(finite, f, 0.0), -f)


def fall_mod(distance: Mod, kernel: str, rate: float | Tensor, sizes: Sizes) -> Mod:
    """Answer -rate * f(distance) as a function of one pair; where f is not finite, -f, and no gradient for the rate."""
    by_head = by_row(rate, sizes)

    def mod(b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        d = distance(b, h, i, j)
        f = d if kernel == "exponential" else torch.log1p(d) if kernel == "logarithmic" else d * d
        finite = f < torch.inf
        slope = by_head if isinstance(by_head, float | int) else by_head(b, h, i, j)
        return torch.where(finite, -slope * torch.where(finite, f, 0.0), -f)

    return mod
