"""Which module of a model attends, and what it asks: the ground that capture and relevance stand on.

While a model is watched, torch's global module hooks keep the stack of the modules that are running,
`core.engine.observe` reports every call of `attend`, and adapters read the calls of timm's and torch's own attention.
Hooks on the modules themselves would switch off torch's fast paths and core's joint projection, and so change outputs;
global ones change nothing. Outside the context nothing is registered.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils import _pytree as pytree

from ...engine.observe import observers
from ...engine.problem import AttentionOutput, Problem
from .adapters import (
    Call,
    Finished,
    Reader,
    Seen,
    after_timm,
    after_torch,
    after_torch_block,
    is_timm,
    is_torch,
    is_torch_block,
)
from .cut import altered

SUPPORTED = (
    "whatever calls core.attend (all of core's layers), torch.nn.MultiheadAttention and TransformerEncoderLayer, "
    "timm.layers.Attention"
)


_measuring: list[str] = []
"""Modules whose calls are being measured right now; calls of `attend` that this makes are nobody's to record."""

OnCall = Callable[[str, int | None, Call], None]
"""Receives the module's name, which call of the whole model it is part of (None outside one), and the call."""


class CaptureError(RuntimeError):
    """Nothing, or not what was asked for, can be captured; the message says why and what to do."""


class CaptureWarning(UserWarning):
    """A module that looks like attention ran and could not be captured; the message names it."""


@dataclass(eq=False)
class _Frame:
    """A module that is running."""

    module: nn.Module
    name: str
    calls_before: int
    children: dict[str, Seen] = field(default_factory=dict)


class Watch:
    """A model under watch.

    Attributes:
        called: How often each module was seen to attend, chosen or not.
        unsupported: The modules that look like attention and were not understood, with their class.
    """

    def __init__(
        self, model: nn.Module, layers: Sequence[str] | None, on_call: OnCall, attached: bool, must_attend: bool
    ) -> None:
        self.model, self.layers, self.on_call = model, layers, on_call
        self.attached, self.must_attend = attached, must_attend
        self.names = {module: name for name, module in model.named_modules()}
        self.readers = {module: reader for module in self.names if (reader := _reader(module)) is not None}
        self.watched = {module: name for module, name in self.names.items() if not _is_plain_leaf(module)}
        for owner in self.readers:
            self.watched.update((child, self.names[child]) for child in owner.children())
        self.stack: list[_Frame] = []
        self.called: dict[str, int] = {}
        self.unsupported: dict[str, str] = {}
        self.calls = 0
        self.forwards = 0
        self._check_layers()

    def chosen(self, name: str) -> bool:
        """Whether the patterns choose this module."""
        return self.layers is None or any(_matches(pattern, name) for pattern in self.layers)

    @property
    def forward(self) -> int | None:
        """Which call of the whole model is running, from 0; None if only a part of it was called."""
        whole = any(frame.module is self.model for frame in self.stack)
        return self.forwards - 1 if whole else None

    def check(self) -> None:
        """Raise unless what was asked for has been seen.

        Raises:
            CaptureError: No module attended though one must, or none that a pattern chooses.
        """
        if not self.called and self.must_attend:
            types = sorted({_class(module) for module in self.names})
            named = "".join(f"\n  {name}: {kind}" for name, kind in self.unsupported.items())
            raise CaptureError(
                "model: expected attention that can be captured to run inside the context, got none"
                + (f" but these, which are not supported:{named}" if named else "")
                + f"\nmodules: {', '.join(types)}\nsupported: {SUPPORTED}"
            )
        for pattern in self.layers or ():
            if not any(_matches(pattern, name) for name in self.called):
                raise CaptureError(f"layers: expected modules that attended, {_listed(self.called)}, got {pattern!r}")

    def before(self, module: nn.Module, args: Any) -> None:
        """Note that a module starts (a global forward pre-hook)."""
        if torch.compiler.is_compiling():
            raise CaptureError("model: expected one without torch.compile, got one that is being compiled")
        name = self.watched.get(module)
        if name is None or _in_backward():
            return
        self.stack.append(_Frame(module, name, self.calls))
        self.forwards += module is self.model

    def after(self, module: nn.Module, args: Any, *rest: Any) -> None:
        """Note that a module has ended (a global forward hook); on an error `rest` lacks the keyword arguments."""
        if module not in self.watched or _in_backward() or all(frame.module is not module for frame in self.stack):
            return
        while self.stack[-1].module is not module:  # left behind by an error that the model caught
            self.stack.pop()
        try:
            if len(rest) == 2 and rest[1] is not None:
                self._end(self.stack[-1], Finished(args, rest[0], rest[1], self.stack[-1].children))
        finally:
            self.stack.pop()
        if module is self.model and len(rest) == 2 and rest[1] is not None:
            self.check()

    def observe(self, problem: Problem, answer: AttentionOutput) -> None:
        """Note a call of `attend` (an observer of `core.engine.observe`)."""
        if torch.compiler.is_compiling():
            raise CaptureError("model: expected one without torch.compile, got an attend that is being compiled")
        if not self.stack or _measuring or _in_backward():
            return
        name = self.stack[-1].name
        self._count(name)
        if self.chosen(name):
            self._report(name, Call(problem, answer.out, lambda gradient: gradient))

    def _end(self, frame: _Frame, call: Finished) -> None:
        """Read a call that has ended well, if its module has an adapter; hand it to its parent, if that one has."""
        reader = self.readers.get(frame.module)
        passed_by = is_torch_block(frame.module) and self.calls == frame.calls_before
        if reader is not None and (passed_by or not is_torch_block(frame.module)):
            name = f"{frame.name}.self_attn".removeprefix(".") if passed_by else frame.name
            self._count(name)
            if self.chosen(name):
                with torch.set_grad_enabled(self.attached and torch.is_grad_enabled()):
                    read = reader(frame.module, call)
                self._report(name, read)
        parent = self.stack[-2] if len(self.stack) > 1 else None
        if parent is not None and parent.module in self.readers:
            parent.children[frame.name.removeprefix(parent.name).removeprefix(".")] = Seen(call.args, call.output)
        elif self.calls == frame.calls_before and _looks_like_attention(frame.module):
            self._not_understood(frame.name, frame.module)

    def _report(self, name: str, call: Call) -> None:
        """Hand a call on; what is computed of it meanwhile, by any watch, is not the model's."""
        call = call if self.attached else call._replace(problem=detached(call.problem))
        _measuring.append(name)
        try:
            self.on_call(name, self.forward, call)
        finally:
            _measuring.pop()

    def _count(self, name: str) -> None:
        self.calls += 1
        self.called[name] = self.called.get(name, 0) + 1

    def _not_understood(self, name: str, module: nn.Module) -> None:
        if name in self.unsupported:
            return
        self.unsupported[name] = _class(module)
        warnings.warn(
            f"{_shown(name)} ({_class(module)}) looks like attention, ran, and cannot be captured; supported: "
            f"{SUPPORTED}",
            CaptureWarning,
            stacklevel=2,
        )

    def _check_layers(self) -> None:
        for pattern in self.layers or ():
            if not any(_matches(pattern, name) for name in self.names.values()):
                likely = [name for module, name in self.names.items() if _looks_like_attention(module)]
                raise CaptureError(
                    f"layers: expected names of modules, such as those that look like attention, {_listed(likely)}, "
                    f"got {pattern!r}, which matches none"
                )


@contextmanager
def watching(
    model: nn.Module,
    layers: str | Sequence[str] | None,
    on_call: OnCall,
    *,
    attached: bool = False,
    must_attend: bool = True,
) -> Iterator[Watch]:
    """Report every call of attention inside a model while the context lasts.

    A second forward pass of activation checkpointing, inside backward, is not reported.

    Args:
        model: Any module.
        layers: Names or patterns (`*`, `?`, `[...]`) of modules; one that names a module chooses all inside it. None
            chooses all.
        on_call: Is told of each call when it has ended, before the model goes on.
        attached: Hand on the problems with their graph.
        must_attend: Raise where no attention was seen.

    Raises:
        TypeError: The model is not a module.
        CaptureError: A pattern matches nothing, the model is compiled, or no attention was seen though it must be.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model: expected a torch.nn.Module, got a {type(model).__name__}")
    _refuse_compiled(model)
    watch = Watch(model, [layers] if isinstance(layers, str) else layers, on_call, attached, must_attend)
    handles = [
        register_module_forward_pre_hook(watch.before),
        register_module_forward_hook(watch.after, with_kwargs=True, always_call=True),
    ]
    observers.append(watch.observe)
    try:
        yield watch
    finally:
        for handle in handles:
            handle.remove()
            # torch leaves this note of a removed hook behind, and torch.compile would warn of it ever after.
            torch_module._global_forward_hooks_with_kwargs.pop(handle.id, None)
        observers.remove(watch.observe)
    watch.check()


def detached(problem: Problem) -> Problem:
    """Answer a problem without its graph: every tensor of it, those of mask and bias too, is detached."""

    def plain(value: Any) -> Any:
        simple = value is None or isinstance(value, float)
        return value if simple else pytree.tree_map_only(Tensor, torch.Tensor.detach, value)

    p = problem
    return altered(
        p,
        q=p.q.detach(),
        k=p.k.detach(),
        v=p.v.detach(),
        pattern=plain(p.pattern),
        padding=plain(p.padding),
        bias=plain(p.bias),
        scale=plain(p.scale),
        temperature=plain(p.temperature),
    )


def _reader(module: nn.Module) -> Reader | None:
    """Answer the adapter that reads the calls of a module; None if it has none."""
    if is_torch(module):
        return after_torch
    if is_timm(module):
        return after_timm
    return after_torch_block if is_torch_block(module) else None


def _is_plain_leaf(module: nn.Module) -> bool:
    """Whether a module is one of torch's that holds no other: it cannot call `attend`."""
    return type(module).__module__.startswith("torch.nn.modules.") and not module._modules


def _refuse_compiled(model: nn.Module) -> None:
    for name, module in model.named_modules():
        kind = type(module).__name__
        if kind == "OptimizedModule" or getattr(module, "_compiled_call_impl", None) is not None:
            raise CaptureError(
                f"model: expected the module that torch.compile was given, got {_shown(name)} compiled: compiled code "
                "calls no hooks"
            )
        if isinstance(module, torch.jit.ScriptModule):
            raise CaptureError(
                f"model: expected the eager one, got {_shown(name)} as TorchScript, which calls no hooks"
            )


def _matches(pattern: str, name: str) -> bool:
    """Whether a pattern chooses a module, by its name or by that of one around it."""
    parts = name.split(".")
    return any(fnmatchcase(".".join(parts[:n]), pattern) for n in range(1, len(parts) + 1))


def _looks_like_attention(module: nn.Module) -> bool:
    name = type(module).__name__.lower()
    return "attention" in name or "attn" in name or isinstance(module, nn.MultiheadAttention)


def _in_backward() -> bool:
    """Whether autograd is running: then a module's forward is the second one of a checkpoint."""
    return bool(torch._C._current_graph_task_id() != -1)


def _class(module: nn.Module) -> str:
    return f"{type(module).__module__}.{type(module).__qualname__}"


def _shown(name: str) -> str:
    return name or "the model itself"


def _listed(names: Any) -> str:
    return ", ".join(map(repr, names)) or "none"
