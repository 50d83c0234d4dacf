"""Which layer of a model calls `attend`, with what."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..engine import AttentionOutput, Problem, by_head, observers
from ..layers import MultiheadAttention, TorchMultiheadAttention

Forward = Callable[[nn.Module, Any], Any]


def run(model: nn.Module, batch: Any) -> Any:
    """Call the model as a batch suggests: a plain tuple is its arguments, a mapping its keyword arguments."""
    if type(batch) is tuple:
        return model(*batch)
    return model(**batch) if isinstance(batch, Mapping) else model(batch)


def attention_layers(model: nn.Module) -> dict[str, MultiheadAttention]:
    """The layers that can be defended and attacked at their keys, by their names in the model."""
    return {name: layer for name, layer in model.named_modules() if isinstance(layer, MultiheadAttention)}


@contextmanager
def watch(model: nn.Module, receive: Callable[[str, Problem], None]) -> Iterator[None]:
    """Tell `receive` of every call of `attend` by the model: the calling layer's name, and the problem posed.

    Calls from outside core's attention layers are named attend[0], attend[1], ... in their order within one forward
    pass of the model. The problem holds the tensors of the computation, with their graph.

    Args:
        model: whose calls.
        receive: called after each.
    """
    inside: list[str] = []
    outside = 0

    def start(module: nn.Module, args: Any) -> None:
        nonlocal outside
        outside = 0

    def observe(problem: Problem, answer: AttentionOutput) -> None:
        nonlocal outside
        if inside:
            receive(inside[-1], problem)
        else:
            receive(f"attend[{outside}]", problem)
            outside += 1

    handles = [model.register_forward_pre_hook(start)]
    for name, layer in model.named_modules():
        if isinstance(layer, (MultiheadAttention, TorchMultiheadAttention)):

            def enter(module: nn.Module, args: Any, name: str = name) -> None:
                inside.append(name)

            def leave(module: nn.Module, args: Any, out: Any) -> None:
                inside.pop()

            handles.append(layer.register_forward_pre_hook(enter))
            handles.append(layer.register_forward_hook(leave, always_call=True))
    observers.append(observe)
    try:
        yield
    finally:
        observers.remove(observe)
        for handle in handles:
            handle.remove()


@contextmanager
def at_rest(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without recomputation in backward; modes and random states are put back afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    recomputing = [
        (module, name)
        for module in model.modules()
        for name in ("checkpoint", "grad_checkpointing")
        if getattr(module, name, None) is True
    ]
    devices = {p.device for p in model.parameters() if p.device.type == "cuda"}
    with torch.random.fork_rng(devices=list(devices)):
        try:
            model.eval()
            for module, name in recomputing:
                setattr(module, name, False)
            yield
        finally:
            for module, mode in modes:
                module.training = mode
            for module, name in recomputing:
                setattr(module, name, True)


def structure(problem: Problem) -> tuple[Tensor, Tensor | None]:
    """The allowed pairs and the bias, in the open.

    Shapes:
        allowed: (B, H, Lq, Lk), bool; bias: the same, float, or None.
    """
    p, sizes = problem, (problem.B, problem.H, problem.Lq, problem.Lk)
    allowed = torch.ones((), dtype=torch.bool, device=p.q.device)
    for mask in (p.pattern, p.padding):
        if mask is not None:
            allowed = allowed & mask.materialize(*sizes, device=p.q.device)
    if p.bias is None:
        return allowed.expand(sizes), None
    bias = p.bias.materialize(*sizes, device=p.q.device)
    return (allowed & ~bias.isneginf()).expand(sizes), bias.expand(sizes)


def seen_keys(problem: Problem, allowed: Tensor) -> Tensor:
    """The keys that any query of their item sees, (B, Hk, Lk)."""
    p = problem
    return allowed.any(dim=2).reshape(p.B, p.k.shape[1], p.groups, p.Lk).any(dim=2)


def log_weights(problem: Problem, allowed: Tensor, bias: Tensor | None) -> Tensor:
    """Logarithm of the weights that `attend` gives, differentiable; -inf where a pair is not allowed.

    Args:
        problem: as it was posed.
        allowed: from `structure`.
        bias: from `structure`.

    Shapes:
        out: (B, H, Lq, Lk), float32 or wider.
    """
    p = problem
    q, k = p.q.to(p.compute_dtype), p.k.to(p.compute_dtype).repeat_interleave(p.groups, dim=1)
    logits = p.score.prepare(q) @ p.score.prepare(k).mT
    q_offset, k_offset = p.score.offset(q), p.score.offset(k)
    if q_offset is not None and k_offset is not None:
        logits = logits + q_offset[..., :, None] + k_offset[..., None, :]
    logits = logits * by_head(p.scale)
    if bias is not None:
        logits = logits + bias.masked_fill(~allowed, 0).to(logits.dtype)
    logits = logits / by_head(p.temperature)
    lse = logits.masked_fill(~allowed, -torch.inf).logsumexp(dim=-1, keepdim=True)
    lse = lse.masked_fill(~allowed.any(dim=-1, keepdim=True), 0)
    return (logits - lse).masked_fill(~allowed, -torch.inf)
