"""AdamW without decay where it does harm, and a warm-up followed by half a cosine."""

import math
from typing import Any

from lightning import Trainer
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from .data.module import DataModule


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Split the trainable parameters into decayed and not decayed.

    Not decayed: biases and norms (fewer than two dimensions), embeddings, and what any submodule's `no_weight_decay()`
    names (a set of parameter names relative to that submodule, as timm's models have it).

    Args:
        model: whose parameters are trained.
        weight_decay: of the decayed group.

    Returns:
        two parameter groups for an optimiser, each in the model's order; an empty one is left out.

    Raises:
        ValueError: a name in `no_weight_decay()` is no parameter.
    """
    exempt: set[str] = set()
    for prefix, module in model.named_modules():
        dot = f"{prefix}." if prefix else ""
        if isinstance(module, nn.Embedding):
            exempt.add(f"{dot}weight")
        hook = getattr(module, "no_weight_decay", None)
        if callable(hook):
            names = {f"{dot}{name}" for name in hook()}
            exempt |= names
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    decayed = [p for name, p in named.items() if p.ndim >= 2 and name not in exempt]
    kept = [p for name, p in named.items() if p.ndim < 2 or name in exempt]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": kept, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def warmup_cosine_factor(step: int, total: int, warmup: int, floor: float) -> float:
    """Factor on the learning rate at optimiser step `step` (from 0).

        (step + 1) / (warmup + 1)                                        for step < warmup
        floor + (1 - floor) (1 + cos(pi (step - warmup) / (total - warmup))) / 2   after it

    The first step already moves, the peak of 1 is at step = warmup, and from step = total on it stays at `floor`.

    References:
        Loshchilov and Hutter, SGDR, ICLR 2017, eq. 5 (one period, floor for eta_min / eta_max).
    """
    if step < warmup:
        return (step + 1) / (warmup + 1)
    done = min(1.0, (step - warmup) / max(1, total - warmup))
    return floor + (1.0 - floor) * 0.5 * (1.0 + math.cos(math.pi * done))


def warmup_cosine(optimizer: Optimizer, total: int, warmup: int, floor: float = 0.0) -> LambdaLR:
    """The schedule of `warmup_cosine_factor`, stepped once per optimiser step."""
    return LambdaLR(optimizer, lambda step: warmup_cosine_factor(step, total, warmup, floor))


def total_steps(trainer: Trainer) -> tuple[int, int]:
    """Optimiser steps of the whole training and of one epoch.

    Counted without creating the trainer's loaders: `Trainer.estimated_stepping_batches` does, before a resumed run has
    restored its place in the epoch (it is asked where the data are not one of our data modules).

    Raises:
        ValueError: the training has no end.
    """
    data = trainer.datamodule  # type: ignore[attr-defined]
    epochs = trainer.max_epochs if trainer.max_epochs is not None else 1000
    if isinstance(data, DataModule):
        batches, limit = data.train_batches(), trainer.limit_train_batches
        batches = min(batches, limit) if isinstance(limit, int) else int(batches * (1.0 if limit is None else limit))
        per_epoch = max(1, math.ceil(batches / trainer.accumulate_grad_batches))
        ends: list[float] = [n for n in (epochs * per_epoch, trainer.max_steps) if n > 0]
    else:
        ends = [trainer.estimated_stepping_batches]
        per_epoch = max(1, int(min(ends[0], 2**62)) // max(1, epochs))
    if not ends or math.isinf(min(ends)):
        raise ValueError("trainer.max_epochs or trainer.max_steps: expected an end, as the cosine needs one, got none")
    return int(min(ends)), per_epoch
