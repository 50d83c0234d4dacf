"""Put other weights into an attention layer of a model, without changing the model.

    out_i = Wo concat_h(sum_j w'_hij v_hj) + bo,   w' = rewrite(w, allowed)

`rewritten` holds for core.MultiheadAttention (also inside blocks, encoders and pooling), core.TorchMultiheadAttention,
torch.nn.MultiheadAttention and timm's Attention, fused or not. Everything is restored on the way out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ...backends import Reference
from ...engine import AttentionOutput, Problem, observers
from ...layers import MultiheadAttention, TorchMultiheadAttention
from ..capture.adapters import TIMM_MODULES

Rewrite = Callable[[Tensor, Tensor], Tensor]
"""Takes the weights and which of them are allowed, (B, H, Lq, Lk) each; answers the weights to use. Answering the
very tensor that it was given leaves the layer's output as it is."""

SUPPORTED = (
    "core.MultiheadAttention, core.TorchMultiheadAttention, torch.nn.MultiheadAttention, timm.layers.Attention "
    "without attn_mask"
)


def attention_layers(model: nn.Module) -> dict[str, nn.Module]:
    """The attention layers of a model whose weights can be rewritten, by name, in the order of registration."""
    return {name: module for name, module in model.named_modules() if _kind(module) is not None}


@contextmanager
def rewritten(module: nn.Module, rewrite: Rewrite) -> Iterator[None]:
    """Give every call of an attention layer the weights that `rewrite` answers, as long as the context is open.

    Gradients flow through the new weights, the values and, where `rewrite` keeps it, the softmax. Dropout on the
    weights is not applied to rewritten ones.

    Args:
        module: an attention layer, see `attention_layers`.
        rewrite: from weights and what is allowed to new weights, (B, H, Lq, Lk) each.

    Raises:
        TypeError: weights of this type of module cannot be rewritten.
        ValueError: `rewrite` answers another shape; a timm layer is called with a mask.
    """
    kind = _kind(module)
    if kind is None:
        raise TypeError(f"module: expected one of {SUPPORTED}, got {type(module).__module__}.{type(module).__name__}")
    with kind(module, rewrite):
        yield


def uniform_weights(weights: Tensor, allowed: Tensor) -> Tensor:
    """A `Rewrite`: w'_ij = 1 / (number of keys that i may see); 0 in a row that may see none."""
    share = allowed.to(weights.dtype)
    return share / share.sum(-1, keepdim=True).clamp(min=1)


@contextmanager
def recorded(layers: dict[str, nn.Module]) -> Iterator[list[tuple[str, Tensor, Tensor]]]:
    """List (name, weights, allowed) of every call of these layers, in the order in which they run.

    Outputs stay bitwise as they are.
    """
    calls: list[tuple[str, Tensor, Tensor]] = []

    def keep(name: str) -> Rewrite:
        def note(weights: Tensor, allowed: Tensor) -> Tensor:
            calls.append((name, weights.detach(), allowed))
            return weights

        return note

    with ExitStack() as stack:
        for name, module in layers.items():
            stack.enter_context(rewritten(module, keep(name)))
        yield calls


def _kind(module: nn.Module) -> Callable[[nn.Module, Rewrite], Any] | None:
    if isinstance(module, (MultiheadAttention, TorchMultiheadAttention)):
        return _through_attend
    if type(module) is nn.MultiheadAttention:
        return _through_twin
    if type(module).__name__ == "Attention" and type(module).__module__ in TIMM_MODULES:
        return _through_timm
    return None


@contextmanager
def _through_attend(module: nn.Module, rewrite: Rewrite) -> Iterator[None]:
    """The layer calls `attend` and then its out_proj: watch the one, replace the input of the other."""
    posed: list[Problem] = []
    running = [False]

    def begin(*_: Any) -> None:
        running[0] = True
        posed.clear()

    def watch(problem: Problem, answer: AttentionOutput) -> None:
        if running[0]:
            posed.append(problem)

    def replace(_: nn.Module, args: tuple[Any, ...]) -> tuple[Tensor] | None:
        if not (running[0] and posed):
            return None
        running[0] = False
        problem = posed.pop()
        weights, allowed = _weights(problem)
        values = problem.v.repeat_interleave(problem.groups, dim=1)
        return _combine(rewrite, weights, allowed, values, args[0])

    def end(*_: Any) -> None:
        running[0] = False
        posed.clear()

    out_proj = module.out_proj
    assert isinstance(out_proj, nn.Module)
    with _removed_after(
        module.register_forward_pre_hook(begin),
        out_proj.register_forward_pre_hook(replace),
        module.register_forward_hook(end, always_call=True),
    ):
        observers.append(watch)
        try:
            yield
        finally:
            observers.remove(watch)


@contextmanager
def _through_twin(module: nn.Module, rewrite: Rewrite) -> Iterator[None]:
    """The layer of torch runs as core's twin of it, which has the same parameters and calls `attend`."""
    module.__class__ = TorchMultiheadAttention
    try:
        with _through_attend(module, rewrite):
            yield
    finally:
        module.__class__ = nn.MultiheadAttention


@contextmanager
def _through_timm(module: nn.Module, rewrite: Rewrite) -> Iterator[None]:
    """Weights and values from the output of qkv; the first layer after the attention gets another input."""
    layer: Any = module
    joint: list[Tensor] = []

    def begin(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        joint.clear()
        masks = [*args[1:], kwargs.get("attn_mask"), kwargs.get("is_causal")]
        if any(mask is not None and mask is not False for mask in masks):
            raise ValueError("attn_mask, is_causal: expected none in a timm layer whose weights are rewritten, got one")

    def keep(_: nn.Module, args: tuple[Any, ...], out: Tensor) -> None:
        joint.append(out)

    def replace(_: nn.Module, args: tuple[Any, ...]) -> tuple[Tensor] | None:
        if not joint:
            return None
        out = joint.pop()
        B, L = out.shape[:2]
        q, k, v = out.reshape(B, L, 3, layer.num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        weights = (layer.q_norm(q) * layer.scale @ layer.k_norm(k).mT).softmax(dim=-1)
        return _combine(rewrite, weights, torch.ones_like(weights, dtype=torch.bool), v, args[0])

    after = getattr(layer, "norm", None)
    with _removed_after(
        module.register_forward_pre_hook(begin, with_kwargs=True),
        layer.qkv.register_forward_hook(keep),
        (layer.proj if after is None else after).register_forward_pre_hook(replace),
    ):
        yield


@contextmanager
def _removed_after(*handles: Any) -> Iterator[None]:
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _weights(problem: Problem) -> tuple[Tensor, Tensor]:
    """The weights of a problem as the reference defines them, and the pairs that are allowed."""
    with torch.autocast(problem.q.device.type, enabled=False):
        weights = Reference().run(dataclasses.replace(problem, need=frozenset({"weights"})), None).weights
    assert weights is not None
    sizes = (problem.B, problem.H, problem.Lq, problem.Lk)
    allowed = torch.ones((), dtype=torch.bool, device=problem.q.device)
    for mask in (problem.pattern, problem.padding):
        if mask is not None:
            allowed = allowed & mask.materialize(*sizes, device=problem.q.device)
    if problem.bias is not None:
        allowed = allowed & ~torch.isneginf(problem.bias.materialize(*sizes, device=problem.q.device))
    return weights, allowed.expand(sizes)


def _combine(
    rewrite: Rewrite, weights: Tensor, allowed: Tensor, values: Tensor, before: Tensor
) -> tuple[Tensor] | None:
    """What stands before the output projection, (B, Lq, H * Dv); None where the weights are to stay as they are."""
    new = rewrite(weights, allowed)
    if new is weights:
        return None
    if new.shape != weights.shape:
        raise ValueError(f"rewrite: expected weights of shape {tuple(weights.shape)}, got {tuple(new.shape)}")
    values = values.masked_fill(~allowed.any(dim=2)[..., None], 0.0)  # what nobody sees may be NaN
    return ((new.to(values.dtype) @ values).transpose(1, 2).flatten(2).to(before.dtype),)


def check_rewriting(layers: dict[str, nn.Module], run: Callable[[], Tensor]) -> Sequence[str]:
    """Rewrite every layer's weights with equal ones; the output must stay what it was.

    Args:
        layers: as `attention_layers` answers them.
        run: runs the model, without dropout.

    Returns:
        The names of the layers that ran, in their order; a layer that ran twice is there twice.

    Raises:
        ValueError: the output changed: some layer does more between its weights and its output than is known here.
    """
    ran: list[str] = []

    def copied(name: str) -> Rewrite:
        def same(weights: Tensor, allowed: Tensor) -> Tensor:
            ran.append(name)
            return weights.clone()

        return same

    before = run()
    with ExitStack() as stack:
        for name, module in layers.items():
            stack.enter_context(rewritten(module, copied(name)))
        after = run()
    change = (after - before).abs().max().item() if before.numel() else 0.0
    bound = 1e-3 * (1.0 + before.abs().max().item()) if before.numel() else 0.0
    if not change <= bound:
        names = ", ".join(layers)
        raise ValueError(
            f"model: expected the same output with every weight of {names} put back as it was, got a change of "
            f"{change:.3g}: one of these layers is none of {SUPPORTED}, or the model draws random numbers in eval()"
        )
    return ran
