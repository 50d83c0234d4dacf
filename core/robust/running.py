"""A model that is run as it was trained to be used, and which attention is called with what."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import nn

from ..analysis.capture import Call, Watch, is_core, is_timm, is_torch, watching
from ..engine.problem import Problem
from ..layers import MultiheadAttention, evaluating

Forward = Callable[[nn.Module, Any], Any]


def run(model: nn.Module, batch: Any) -> Any:
    """Call the model as a batch suggests: a plain tuple is its arguments, a mapping its keyword arguments."""
    if type(batch) is tuple:
        return model(*batch)
    return model(**batch) if isinstance(batch, Mapping) else model(batch)


def attention_layers(model: nn.Module) -> dict[str, MultiheadAttention]:
    """The layers that can be defended and attacked at their keys, by their names in the model."""
    return {name: layer for name, layer in model.named_modules() if isinstance(layer, MultiheadAttention)}


def calls_of(model: nn.Module, receive: Callable[[str, Problem], None]) -> AbstractContextManager[Watch]:
    """Tell `receive` of every call of attention by the model: the calling layer's name, and the problem posed.

    Attention layers of core, torch and timm go by their names; calls of `attend` from elsewhere are named attend[0],
    attend[1], ... in their order within one forward pass of the model. The problem holds the tensors of the
    computation, with their graph.

    Args:
        model: whose calls.
        receive: called after each.
    """
    named = {name for name, layer in model.named_modules() if is_core(layer) or is_torch(layer) or is_timm(layer)}
    outside, current = 0, None

    def on_call(name: str, forward: int | None, call: Call) -> None:
        nonlocal outside, current
        if forward != current:
            outside, current = 0, forward
        if name in named:
            receive(name, call.problem)
        else:
            receive(f"attend[{outside}]", call.problem)
            outside += 1

    return watching(model, None, on_call, attached=True, must_attend=False)


@contextmanager
def at_rest(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without recomputation in backward; modes and random states are put back afterwards.

    torch's fast path of TransformerEncoder is off: it answers other numbers in padded rows, and without gradients only,
    so that outputs before and under attack could not be compared.
    """
    recomputing = [
        (module, name)
        for module in model.modules()
        for name in ("checkpoint", "grad_checkpointing")
        if getattr(module, name, None) is True
    ]
    devices = {p.device for p in model.parameters() if p.device.type == "cuda"}
    fast = torch.backends.mha.get_fastpath_enabled()
    with torch.random.fork_rng(devices=list(devices)), evaluating(model):
        try:
            torch.backends.mha.set_fastpath_enabled(False)
            for module, name in recomputing:
                setattr(module, name, False)
            yield
        finally:
            torch.backends.mha.set_fastpath_enabled(fast)
            for module, name in recomputing:
                setattr(module, name, True)
