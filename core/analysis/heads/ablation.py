"""Heads switched off, and what their outputs are: the ground of importance and pruning."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ...layers import TorchMultiheadAttention
from ..capture.adapters import is_core, is_timm, is_torch
from ..capture.watch import SUPPORTED, CaptureError
from .heads import Head


class Site(NamedTuple):
    """An attention module whose heads can be told apart: what reads their concatenated outputs, and how many they are.

    The first input of `reader` is (..., heads * features).
    """

    name: str
    module: nn.Module
    reader: nn.Module
    heads: int


def sites(model: nn.Module) -> dict[str, Site]:
    """Find the attention modules of a model: core's, torch's and timm's.

    Raises:
        CaptureError: There is none.
    """
    found = {}
    for name, module in model.named_modules():
        if is_core(module) or is_torch(module):
            heads = module.num_heads if isinstance(module, nn.MultiheadAttention) else module.heads
            found[name] = Site(name, module, _module(module.out_proj), int(heads))
        elif is_timm(module):
            norm = getattr(module, "norm", None)
            reader = _module(module.proj if norm is None else norm)
            found[name] = Site(name, module, reader, int(module.num_heads))
    if not found:
        types = sorted({type(module).__qualname__ for module in model.modules()})
        raise CaptureError(
            "model: expected attention whose heads can be told apart, core's attention layers or, of these, "
            f"{SUPPORTED.partition(', ')[2]}; got modules {', '.join(types)}"
        )
    return found


def all_heads(model: nn.Module) -> tuple[Head, ...]:
    """List the heads of a model in the order of its modules."""
    return tuple(Head(site.name, index) for site in sites(model).values() for index in range(site.heads))


@contextmanager
def ablated(model: nn.Module, heads: Collection[Head]) -> Iterator[None]:
    """Switch heads off while the context lasts: their outputs are 0 where the output projection reads them.

    The model is as it was afterwards. torch.nn.MultiheadAttention computes through core's layer meanwhile, which
    differs from torch's by rounding.

    Args:
        model: A model with core's, torch's or timm's attention.
        heads: Which heads; none is allowed.

    Raises:
        CaptureError: The model has no such head.
    """
    gates = _gates(model, heads)

    def close(site: Site, joined: Tensor) -> Tensor:
        gate = gates[site.name].to(device=joined.device, dtype=joined.dtype)
        return (by_head(joined, site.heads) * gate[:, None]).flatten(-2)

    with reading(model, list(gates), close):
        yield


@contextmanager
def reading(model: nn.Module, names: Collection[str], change: Callable[[Site, Tensor], Tensor]) -> Iterator[None]:
    """Put `change(site, x)` in the place of the heads' concatenated outputs x of some modules.

    Args:
        model: A model with core's, torch's or timm's attention.
        names: Of the modules.
        change: Answers what the output projection reads.
    """
    found = sites(model)
    handles = []
    with through_core([found[name].module for name in names]):
        for name in names:
            site = found[name]

            def hook(_: nn.Module, args: tuple[Any, ...], site: Site = site) -> tuple[Any, ...]:
                return (change(site, args[0]), *args[1:])

            handles.append(site.reader.register_forward_pre_hook(hook))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


@contextmanager
def through_core(modules: Collection[nn.Module]) -> Iterator[None]:
    """Let instances of torch.nn.MultiheadAttention compute through core's layer, which calls its output projection."""
    chosen = [module for module in modules if is_torch(module)]
    if not chosen:
        yield
        return
    fast = torch.backends.mha.get_fastpath_enabled()
    classes = [type(module) for module in chosen]
    try:
        torch.backends.mha.set_fastpath_enabled(False)
        for module in chosen:
            module.__class__ = TorchMultiheadAttention
        yield
    finally:
        for module, kind in zip(chosen, classes, strict=True):
            module.__class__ = kind
        torch.backends.mha.set_fastpath_enabled(fast)


def by_head(joined: Tensor, heads: int) -> Tensor:
    """Take concatenated heads apart: (..., heads * features) to (..., heads, features)."""
    return joined.reshape(*joined.shape[:-1], heads, joined.shape[-1] // heads)


def _gates(model: nn.Module, heads: Collection[Head]) -> dict[str, Tensor]:
    """Answer, for each module that has one of the heads, 0 for these and 1 for the others."""
    found = sites(model)
    gates: dict[str, Tensor] = {}
    for name, index in heads:
        if name not in found or not 0 <= index < found[name].heads:
            known = ", ".join(f"{site.name!r} ({site.heads})" for site in found.values())
            raise CaptureError(f"heads: expected heads of modules (and their number) {known}, got {index} in {name!r}")
        gates.setdefault(name, torch.ones(found[name].heads))[index] = 0.0
    return gates


def _module(value: Any) -> nn.Module:
    assert isinstance(value, nn.Module)
    return value
