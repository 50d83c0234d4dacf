"""Does the output depend on the attention weights? Jain and Wallace's tests and Wiegreffe and Pinter's controls.

| test | what is done | needs |
|---|---|---|
| `permutation_test` | permute the weights of the layer under test among the allowed keys | the model |
| `adversarial_attention` | find weights far from the model's that leave the output where it is | the model |
| `uniform_control` | make the weights uniform | the model; a second one retrained so, to be conclusive |
| `seed_control` | compare the attention of models that were trained with other seeds | those models |

Weights are changed in the row that is read, in every head, and the model runs on from there. Changes of output are
total variations of the class probabilities, those of attention Jensen-Shannon divergences of the read row in nats (at
most ln 2 = .693).

References:
    Jain & Wallace, Attention is not explanation, NAACL 2019, sections 4.2.1 (permutation) and 4.2.2 (adversarial).
    Wiegreffe & Pinter, Attention is not not explanation, EMNLP 2019: the uniform-weights baseline and the variance over
    seeds. Their diagnostic with frozen weights and their adversarially trained models are not built here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .intervention import Rewrite, uniform_weights
from .ranks import shuffled
from .subject import Subject

PENALTY = 50.0
"""The weight of the constraint in the adversary's objective."""


class Adversary(NamedTuple):
    """The attention farthest from the model's that was found with about the same output.

    Attributes:
        divergence: Jensen-Shannon divergence of the read rows, (B,); 0 where no other was found. A lower bound of
            the largest possible.
        variation: total variation of the output, (B,), at most epsilon.
        attention: the read row, (B, Lk).
    """

    divergence: Tensor
    variation: Tensor
    attention: Tensor


def jensen_shannon(p: Tensor, q: Tensor) -> Tensor:
    """JS(p, q) = (KL(p || m) + KL(q || m)) / 2 with m = (p + q) / 2, in nats, over the last axis."""

    def negentropy(x: Tensor) -> Tensor:
        return x * x.clamp(min=torch.finfo(x.dtype).tiny).log()  # 0 at 0, with a finite gradient

    return ((negentropy(p) + negentropy(q)) / 2 - negentropy((p + q) / 2)).sum(-1)


@torch.no_grad()
def permutation_test(subject: Subject, *, permutations: int, generator: torch.Generator) -> Tensor:
    """Median over permutations of the output's total variation, (B,).

    Every row and head is permuted on its own among its allowed keys.

    Args:
        subject: the model under test.
        permutations: how many (Jain and Wallace: 100).
        generator: draws them, on the CPU.
    """
    changes = []
    for _ in range(permutations):
        order = shuffled(subject.allowed, generator)

        def permuted(weights: Tensor, allowed: Tensor, order: Tensor = order) -> Tensor:
            return weights.gather(-1, order)

        with subject.opened(), subject.with_weights(permuted):
            changes.append(subject.variation(subject.intact()))
    return torch.stack(changes).median(0).values


def adversarial_attention(
    subject: Subject,
    *,
    epsilon: float,
    generator: torch.Generator,
    steps: int = 100,
    restarts: int = 2,
    rate: float = 0.2,
) -> Adversary:
    """Maximise JS(adversary's row, model's row) with the output's total variation at most epsilon.

        minimise  -JS(w', w) + 50 max(0, TV(y(w'), y(w)) - .8 epsilon)

    by Adam over the logits of w', started in turn at the model's attention with noise and at a permutation of it; of
    all steps whose total variation is at most epsilon, the farthest is kept for every item. Jain and Wallace's penalty
    weighs 500; with it the constraint's gradient fills Adam's second moment, and the search stands still. Here the
    gradient of every item is brought to length 1, the second moment forgets within ten steps, and .8 epsilon in the
    penalty keeps the minimiser inside the bound.

    Args:
        subject: the model under test.
        epsilon: bound on the total variation.
        generator: draws the starting points, on the CPU.
        steps: of Adam, per restart.
        restarts: starting points.
        rate: Adam's learning rate.
    """
    original = subject.read(subject.weights).detach()
    best = Adversary(torch.zeros(len(original)).to(original), torch.zeros(len(original)).to(original), original)
    for restart in range(restarts):
        start = subject.weights.detach().clamp(min=1e-6).log()
        if restart % 2:
            start = start.gather(-1, shuffled(subject.allowed, generator))
        else:
            start = start + torch.randn(start.shape, generator=generator).to(start)
        logits = start.requires_grad_()
        optimiser = torch.optim.Adam([logits], lr=rate, betas=(0.9, 0.9))
        for _ in range(steps):
            with subject.opened(), torch.enable_grad():
                weights = _masked_softmax(logits, subject.allowed)
                row = subject.read(weights)
                divergence = jensen_shannon(row, original)
                with subject.with_weights(_constant(weights)):  # backward inside: a checkpointed block runs again in it
                    variation = subject.variation(subject.intact())
                    loss = PENALTY * (variation - 0.8 * epsilon).clamp(min=0) - divergence
                    (gradient,) = torch.autograd.grad(loss.sum(), [logits])
            best = _farther(best, Adversary(divergence.detach(), variation.detach(), row.detach()), epsilon)
            length = gradient.flatten(1).norm(dim=1).clamp(min=1e-8)
            logits.grad = gradient / length[:, None, None, None]
            optimiser.step()
    return best


@torch.no_grad()
def uniform_control(subject: Subject) -> tuple[Tensor, Tensor]:
    """Total variation of the output with uniform weights, (B,), and that output.

    The model was not trained with uniform weights, so a large change does not show that the task needs attention; a
    small one shows that this model's output does not.
    """
    with subject.opened(), subject.with_weights(uniform_weights):
        output = subject.intact()
    return subject.variation(output), output


@torch.no_grad()
def seed_control(subject: Subject, models: Sequence[nn.Module]) -> Tensor:
    """Mean over models of the Jensen-Shannon divergence of their read row to the subject's, (B,).

    Args:
        subject: the model under test.
        models: of the same architecture, trained in the same way with other seeds.

    Raises:
        ValueError: a model has no such layer, or one of another shape.
    """
    original = subject.read(subject.weights)
    answers = []
    for model in models:
        other = subject.twin(model)
        if other.weights.shape[2:] != subject.weights.shape[2:]:
            raise ValueError(
                f"models: expected attention over {tuple(subject.weights.shape[2:])} in layer {subject.layer!r}, got "
                f"{tuple(other.weights.shape[2:])}"
            )
        answers.append(jensen_shannon(other.read(other.weights), original))
    return torch.stack(answers).mean(0)


def _constant(weights: Tensor) -> Rewrite:
    """These weights, whatever the layer computes."""
    return lambda old, allowed: weights


def _masked_softmax(logits: Tensor, allowed: Tensor) -> Tensor:
    """Softmax over what is allowed; 0 in a row where nothing is."""
    alive = allowed.any(-1, keepdim=True)
    return torch.where(alive, logits.masked_fill(~allowed & alive, -torch.inf).softmax(-1), 0.0)


def _farther(best: Adversary, found: Adversary, epsilon: float) -> Adversary:
    """Item by item the farther of two, among those within epsilon."""
    better = (found.variation <= epsilon) & (found.divergence > best.divergence)
    return Adversary(
        torch.where(better, found.divergence, best.divergence),
        torch.where(better, found.variation, best.variation),
        torch.where(better[:, None], found.attention, best.attention),
    )
