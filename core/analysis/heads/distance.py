"""How much an output depends on an input, by the distance between the two."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class DistanceGradient:
    """The gradient of one output position with respect to every input position.

    Attributes:
        distance: output position - input position, ascending; positive for inputs in the past.
        norm: root mean square over the items of the Jacobian's Frobenius norm, per distance.

    Shapes:
        distance: (L,), int64; norm: (L,).
    """

    distance: Tensor
    norm: Tensor

    @property
    def reach(self) -> tuple[int, int]:
        """The farthest past and the farthest future that the output depends on, in positions; (0, 0) if on neither."""
        reached = self.distance[self.norm > 0]
        if not len(reached):
            return 0, 0
        return max(int(reached.max()), 0), max(-int(reached.min()), 0)


def gradient_by_distance(
    model: Callable[[Tensor], Tensor],
    x: Tensor,
    *,
    position: int = -1,
    probes: int | None = None,
    generator: torch.Generator | None = None,
) -> DistanceGradient:
    """Measure how the dependence of an output on the inputs falls with their distance.

        g(d) = sqrt(mean_b ||J_b,i-d||_F^2),  J_bj = d y_bi / d x_bj

    Frobenius' norm takes one backward pass for each output feature; with `probes` p it is estimated by
    E_u ||u^T J||^2 = ||J||_F^2 for u ~ N(0, I), in p passes. A distance with gradient exactly 0 is out of reach.

    Args:
        model: maps x to outputs, each item by itself (no batch norm in training); run it in eval mode or without
            dropout.
        x: the inputs, as vectors (embed tokens first).
        position: i, the position of the output; negative ones count from the end. For a model with one output per item
            it is the position that output stands for.
        probes: random directions; None is exact.
        generator: where they are drawn from; None is the default generator.

    Shapes:
        x: (B, L, n); model(x): (B, L, m) or (B, m).

    Raises:
        ValueError: x or the outputs have another shape, the position lies outside, or probes is not positive.

    References:
        Pascanu, Mikolov, Bengio: On the difficulty of training recurrent neural networks. ICML 2013, section 2 (the
        product of Jacobians). Hutchinson, Communications in Statistics 19 (1990) (random probes).
    """
    if x.ndim != 3 or 0 in x.shape:
        raise ValueError(f"x: expected (B, L, n), none of them 0, got {tuple(x.shape)}")
    B, L, _ = x.shape
    if not -L <= position < L:
        raise ValueError(f"position: expected one within the length of x, {L}, got {position}")
    if probes is not None and probes < 1:
        raise ValueError(f"probes: expected at least 1, or None for all directions, got {probes}")
    place = position % L
    with torch.enable_grad():
        given = x.detach().clone().requires_grad_()
        out = model(given)
        if out.ndim not in (2, 3) or out.shape[0] != B or (out.ndim == 3 and out.shape[1] != L):
            raise ValueError(f"model: expected ({B}, {L}, m) or ({B}, m) for this x, got {tuple(out.shape)}")
        if out.ndim == 3:
            out = out[:, place]
        features = out.shape[1]
        squares = given.new_zeros(L)
        for step in range(features if probes is None else probes):
            if probes is None:
                direction = torch.zeros_like(out)
                direction[:, step] = 1.0
            else:
                direction = torch.randn(out.shape, generator=generator, device=out.device, dtype=out.dtype)
            (gradient,) = torch.autograd.grad(out, given, direction, retain_graph=True, materialize_grads=True)
            squares += gradient.square().sum(dim=-1).mean(dim=0)
    if probes is not None:
        squares = squares / probes
    distance = place - torch.arange(L, device=x.device)
    return DistanceGradient(distance.flip(0), squares.sqrt().flip(0))
