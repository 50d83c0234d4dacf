"""Attributions: one number per unit, from attention, from gradients, and from removing the unit (the reference).

    attention          mean over heads of the row that is read of the layer under test
    rollout            that row of the product over layers of (A_l + I) / 2
    gradient x input   sum over the unit's elements of (x - b) ds/dx
    integrated gradients  sum over the unit's elements of (x - b) int_0^1 ds/dx (b + t (x - b)) dt
    leave-one-out      s(x) - s(x without the unit)

with the score s and the baseline b of the `Subject`.

References:
    Abnar & Zuidema, Quantifying attention flow in transformers, ACL 2020, section 3 (rollout).
    Sundararajan et al., Axiomatic attribution for deep networks, ICML 2017, equation 1 (integrated gradients).
    Jain & Wallace, Attention is not explanation, NAACL 2019, section 4.1 (gradients and leave-one-out as references).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ...extras import MissingExtraError
from .subject import Subject

METHODS = ("attention", "rollout", "gradient x input", "integrated gradients")
REFERENCE = "leave-one-out"


class Attributions(NamedTuple):
    """What each method gives every unit, and how well the integral converged.

    Attributes:
        values: by method, (B, n) each; 0 at units that do not exist. Attention and rollout are never negative.
        convergence_delta: |sum of integrated gradients - (s(x) - s(b))| / |s(x) - s(b)|, (B,).
    """

    values: dict[str, Tensor]
    convergence_delta: Tensor


def attribute(subject: Subject, *, steps: int = 32) -> Attributions:
    """Every method's attributions.

    Args:
        subject: the model under test.
        steps: points of the Gauss-Legendre rule of integrated gradients.

    Raises:
        MissingExtraError: captum is not installed.
    """
    with subject.opened():
        integrated, delta = integrated_gradients(subject, steps)
        values = {
            "attention": attention(subject),
            "rollout": rollout(subject),
            "gradient x input": gradient_times_input(subject),
            "integrated gradients": integrated,
            REFERENCE: leave_one_out(subject),
        }
    return Attributions({name: v.detach().masked_fill(~subject.valid, 0.0) for name, v in values.items()}, delta)


def attention(subject: Subject) -> Tensor:
    """The weights that the row gives to the units, (B, n)."""
    return subject.units.of_keys(subject.read(subject.weights))


def rollout(subject: Subject) -> Tensor:
    """The row's weights followed back to the units through the layers below, (B, n).

    R_0 = I,  R_l = (A_l + I) / 2 R_(l-1)

    over the self-attention layers that run before the layer under test, A_l the mean of the heads. Where that layer is
    a self-attention of the same length it is the last factor, and the row of R is read; where it pools, the answer is
    its row times R.
    """
    length = subject.weights.shape[-1]
    R = torch.eye(length, dtype=subject.weights.dtype, device=subject.weights.device)
    *below, (_, last, _) = subject.calls
    square = [weights for _, weights, _ in below if weights.shape[-2:] == (length, length)]
    if last.shape[-2] == length:
        square.append(last)
    for weights in square:
        R = (R + weights.mean(1) @ R) / 2
    if last.shape[-2] == length:
        row = subject.read(R.expand(len(last), -1, -1)[:, None])
    else:
        row = (subject.read(last)[:, None] @ R)[:, 0]
    return subject.units.of_keys(row)


def gradient_times_input(subject: Subject) -> Tensor:
    """(x - b) ds/dx, summed over every unit's elements, (B, n)."""
    x = subject.x.detach().requires_grad_()
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(subject.score(subject.output(x)).sum(), x)
    return subject.units.pool(gradient * (subject.x - subject.units.reference(subject.x)))


def integrated_gradients(subject: Subject, steps: int) -> tuple[Tensor, Tensor]:
    """Integrated gradients by captum, from the baseline to the input, (B, n), and their relative error, (B,).

    Raises:
        MissingExtraError: captum is not installed.
    """
    try:
        from captum.attr import IntegratedGradients
    except ModuleNotFoundError as error:
        raise MissingExtraError("faithfulness", error, "viz") from error

    def score(x: Tensor) -> Tensor:
        return subject.score(subject.output(x))

    x, reference = subject.x.detach(), subject.units.reference(subject.x).detach()
    with torch.enable_grad():
        values, delta = IntegratedGradients(score).attribute(
            x, reference, n_steps=steps, internal_batch_size=len(x), return_convergence_delta=True
        )
    with torch.no_grad():
        change = (score(x) - score(reference)).abs()
    return subject.units.pool(values), delta.detach().abs() / change.clamp(min=1e-6)


@torch.no_grad()
def leave_one_out(subject: Subject) -> Tensor:
    """The score lost with every unit in turn removed, (B, n); positive where the unit speaks for the target."""
    intact = subject.score(subject.intact())
    losses = []
    for unit in range(subject.valid.shape[1]):
        keep = subject.valid.clone()
        keep[:, unit] = False
        losses.append(intact - subject.score(subject.without(keep)))
    return torch.stack(losses, 1)
