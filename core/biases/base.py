"""The base of every bias, and their sum."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce

import torch
from torch import Tensor

from ..symbols.part import Pairs, Part
from ..symbols.symbolic import Symbolic, expect_shape, expect_tensor, node


class Bias(Symbolic):
    """A real number for each pair of query and key, added to the scaled score before the temperature."""

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
        return self._block(self._whole(B, H, Lq, Lk, device))

    def _at(self, pairs: Pairs) -> Tensor:
        """Look up listed pairs: float32 or wider, broadcastable to (H, *S) of the list."""
        raise TypeError(f"{type(self).__name__} must define _at")

    def _evaluate(self, part: Part, differentiable: bool) -> Tensor:
        """Compute what `_add_to` and `_pull` work with: the block over the part, or what makes that block unnecessary.

        Args:
            part: Where.
            differentiable: Whether `_pull` will follow.
        """
        with torch.set_grad_enabled(differentiable):
            return self._block(part)

    def _ready(self) -> Bias:
        """Answer an equal bias, with the same `learned()`, that evaluates many parts in turn faster."""
        return self

    def _add_to(self, logits: Tensor, evaluated: Tensor, factor: float) -> None:
        """Add factor * bias to logits of shape (items, H, rows, cols), in place."""
        logits.add_(evaluated.detach(), alpha=factor)

    def _write(self, logits: Tensor, evaluated: Tensor, factor: float, start: Tensor | None) -> None:
        """Put start + factor * bias into logits; start is (items, H, rows, 1), None for 0."""
        logits.zero_() if start is None else logits.copy_(start)
        self._add_to(logits, evaluated, factor)

    def _pull(self, d_logits: Tensor, part: Part, evaluated: Tensor, factor: float) -> list[Tensor | None]:
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

    def _validate(self, B: int, H: int, Lq: int, Lk: int) -> None:
        for part in self.parts:
            part._validate(B, H, Lq, Lk)

    def _block(self, part: Part) -> Tensor:
        return reduce(torch.add, (p._block(part) for p in self.parts))

    def _at(self, pairs: Pairs) -> Tensor:
        return reduce(torch.add, (p._at(pairs) for p in self.parts))

    def leaves(self) -> Iterator[Bias]:
        """Go through the biases that this one is the sum of."""
        for part in self.parts:
            yield from part.leaves()


class DistanceBias(Bias):
    """bias(b, h, i, j) = -rate[h] * f(b, i, j): one distance for all heads, and a rate for each."""

    def _distance(self, part: Part) -> Tensor:
        """Compute f over a part, (items or 1, rows, cols)."""
        raise TypeError(f"{type(self).__name__} must define _distance")

    def _distance_at(self, pairs: Pairs) -> Tensor:
        """Look up f at listed pairs; broadcastable to S."""
        raise TypeError(f"{type(self).__name__} must define _distance_at")

    def _rate(self) -> float | Tensor:
        """Answer the rate, a scalar or (H,)."""
        raise TypeError(f"{type(self).__name__} must define _rate")

    def _block(self, part: Part) -> Tensor:
        return _fall(self._distance(part)[:, None], per_head(self._rate()))

    def _at(self, pairs: Pairs) -> Tensor:
        f = self._distance_at(pairs)
        return _fall(f[None], per_head(self._rate(), f.ndim))

    def _evaluate(self, part: Part, differentiable: bool) -> Tensor:
        return self._distance(part)

    def _add_to(self, logits: Tensor, evaluated: Tensor, factor: float) -> None:
        rate = self._rate()
        rate = rate.detach() if isinstance(rate, Tensor) else torch.tensor(rate, device=logits.device)
        logits.addcmul_(evaluated[:, None].to(logits.dtype), rate.to(logits.dtype).reshape(-1, 1, 1), value=-factor)

    def _write(self, logits: Tensor, evaluated: Tensor, factor: float, start: Tensor | None) -> None:
        rate, f = self._rate(), evaluated.to(logits.dtype).expand(logits[:, 0].shape)
        rates = rate.detach().reshape(-1).tolist() if isinstance(rate, Tensor) else [rate]
        for head in range(logits.shape[1]):  # one operation for all heads has no vectorised kernel
            fall = -factor * rates[head % len(rates)]
            if start is None:
                torch.mul(f, fall, out=logits[:, head])
            else:
                torch.add(start[:, head], f, alpha=fall, out=logits[:, head])

    def _pull(self, d_logits: Tensor, part: Part, evaluated: Tensor, factor: float) -> list[Tensor | None]:
        rate = self._rate()
        if not (isinstance(rate, Tensor) and rate.requires_grad):
            return []
        f = evaluated.to(d_logits.dtype).flatten(1)
        by_head = torch.matmul(d_logits.flatten(2), f[..., None]).sum(dim=(0, 2))
        return [(-factor * by_head).sum_to_size(rate.shape).to(rate.dtype)]


def _fall(f: Tensor, rate: float | Tensor) -> Tensor:
    """Answer -rate * f; a pair whose f is not finite keeps that, but adds nothing to the gradient of the rate."""
    finite = f.isfinite()
    return torch.where(finite, -rate * torch.where(finite, f, 0.0), -f)


def at_least_float32(x: Tensor) -> Tensor:
    """Answer x as a floating-point tensor of at least 32 bits; integers, which may be large, become float64."""
    if not x.dtype.is_floating_point:
        return x.double()
    return x if x.dtype in (torch.float32, torch.float64) else x.float()


def check_constant(name: str, value: Tensor) -> None:
    """Raise unless `value` is a tensor that asks for no gradient: places and times carry none."""
    expect_tensor(name, value)
    if value.requires_grad:
        raise ValueError(
            f"{name} requires grad, but no gradient flows to it; expected a tensor without, such as {name}.detach()"
        )


def check_per_head(name: str, value: float | Tensor, H: int) -> None:
    """Raise ValueError unless `value` is a number, a scalar tensor or a tensor (H,)."""
    if isinstance(value, Tensor):
        expect_shape(name, value, value.ndim == 0 or tuple(value.shape) == (H,), f"a scalar or (H,) = ({H},)")


def per_head(value: float | Tensor, after: int = 2) -> float | Tensor:
    """Shape a number per head so that it broadcasts where `after` axes follow; numbers and scalars stay as they are."""
    if not isinstance(value, Tensor):
        return value
    value = at_least_float32(value)
    return value if value.ndim == 0 else value.reshape(-1, *[1] * after)
