"""Attention that does not go through `core.attend`: timm's `Attention` and torch.nn.MultiheadAttention.

An adapter reads, from what a finished call was given and what its children computed, the attention problem that the
call solved. Nothing is run through the module again, and the module is not changed.
"""

import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from ... import biases, masks
from ...engine.problem import Problem, pose
from ...layers import MultiheadAttention, TorchMultiheadAttention
from ...scores import Dot

TIMM_MODULES = ("timm.layers.attention", "timm.models.vision_transformer")
"""Where timm has kept its `Attention`."""


class Call(NamedTuple):
    """One call of attention.

    Attributes:
        problem: What was asked; with its graph where the watch keeps it.
        attended: A tensor of the running graph that says how the output depends on the heads; None where torch's fast
            path leaves none.
        to_heads: Turns a gradient of `attended` into the gradient of the heads' outputs, (B, H, Lq, Dv).
    """

    problem: Problem
    attended: Tensor | None
    to_heads: Callable[[Tensor], Tensor]


class Seen(NamedTuple):
    """What a child of a module that is being called received and answered."""

    inputs: tuple[Any, ...]
    output: Any


class Finished(NamedTuple):
    """A call of a module that has ended: what it was given and answered, and the same of its children, by name."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    output: Any
    children: Mapping[str, Seen]

    def child(self, *names: str) -> Seen:
        """Answer the first of these children that was called.

        Raises:
            ValueError: None of them was.
        """
        for name in names:
            if name in self.children:
                return self.children[name]
        raise ValueError(f"{' or '.join(names)}: expected the module to call it, got calls of {sorted(self.children)}")

    def arguments(self, module: nn.Module) -> dict[str, Any]:
        """Answer what was given, by name; what was not given is left out."""
        return inspect.signature(module.forward).bind(*self.args, **self.kwargs).arguments


Reader = Callable[[nn.Module, Finished], Call]


def is_core(module: nn.Module) -> bool:
    """Whether a module is one of core's attention layers."""
    return isinstance(module, (MultiheadAttention, TorchMultiheadAttention))


def is_torch(module: nn.Module) -> bool:
    """Whether a module computes just what torch.nn.MultiheadAttention does."""
    return isinstance(module, nn.MultiheadAttention) and type(module).forward is nn.MultiheadAttention.forward


def is_timm(module: nn.Module) -> bool:
    """Whether a module computes just what timm's `Attention` does. timm is not imported for it."""
    forward = type(module).forward
    if not getattr(forward, "__module__", "").startswith("timm."):
        return False
    known = (getattr(sys.modules.get(name), "Attention", None) for name in TIMM_MODULES)
    return any(cls is not None and forward is cls.forward for cls in known)


def is_torch_block(module: nn.Module) -> bool:
    """Whether a module is torch's encoder layer, whose fast path leaves its attention uncalled."""
    return isinstance(module, nn.TransformerEncoderLayer) and is_torch(module.self_attn)


def after_timm(module: nn.Module, call: Finished) -> Call:
    """Read a finished call of timm's `Attention`: q and k are what its norms, or identities, answered."""
    given = call.arguments(module)
    q, k = call.child("q_norm").output, call.child("k_norm").output
    B, H, L, _ = q.shape
    v = call.child("qkv").output.reshape(B, L, 3, H, -1).permute(2, 0, 3, 1, 4)[2]
    mask: masks.Mask | None = masks.Causal() if given.get("is_causal") else None
    bias: biases.Bias | None = None
    attn_mask = given.get("attn_mask")
    if attn_mask is not None and mask is None:  # timm lets is_causal take precedence
        attn_mask = attn_mask.reshape((1,) * (4 - attn_mask.ndim) + tuple(attn_mask.shape))
        if attn_mask.dtype == torch.bool:
            mask = masks.Dense(attn_mask)
        else:
            bias = biases.Dense(attn_mask)
    problem = _pose(q, k, v, mask, bias, cast(float, module.scale))
    joined = call.child("norm", "proj").inputs[0]
    return Call(problem, joined, lambda gradient: gradient.reshape(B, L, H, -1).transpose(1, 2))


def after_torch(module: nn.Module, call: Finished) -> Call:
    """Read a finished call of torch.nn.MultiheadAttention; its projections are computed once more.

    Raises:
        ValueError: The input is a nested tensor.
    """
    mha = cast(nn.MultiheadAttention, module)
    given = call.arguments(mha)
    query, key, value = given["query"], given["key"], given["value"]
    if query.is_nested:
        raise ValueError(
            "query: expected a padded tensor where torch.nn.MultiheadAttention is captured, got a nested one"
        )
    unbatched, axis = query.dim() == 2, 0 if mha.batch_first or query.dim() == 2 else 1
    alike = query is key and key is value
    query, key, value = (x[None] if unbatched else x.transpose(0, axis) for x in (query, key, value))
    key, value = (query, query) if alike else (key, value)
    padding = given.get("key_padding_mask")
    padding = padding[None] if unbatched and padding is not None else padding
    problem = _torch_problem(mha, query, key, value, padding, given.get("attn_mask"))

    def to_heads(gradient: Tensor) -> Tensor:
        gradient = gradient[None] if unbatched else gradient.transpose(0, axis)
        heads = gradient @ mha.out_proj.weight.detach()
        return heads.reshape(*heads.shape[:-1], mha.num_heads, mha.head_dim).transpose(1, 2)

    return Call(problem, call.output[0], to_heads)


def after_torch_block(module: nn.Module, call: Finished) -> Call:
    """Read a finished call of torch.nn.TransformerEncoderLayer that took the fast path past its attention."""
    block = cast(nn.TransformerEncoderLayer, module)
    given = call.arguments(block)
    src, padding = given["src"], given.get("src_key_padding_mask")
    if src.is_nested:
        lengths = torch.tensor([item.shape[0] for item in src.unbind()], device=src.device)
        src = torch.nested.to_padded_tensor(src, 0.0)
        padding = torch.arange(src.shape[1], device=src.device) >= lengths[:, None]
    x = block.norm1.forward(src) if block.norm_first else src
    problem = _torch_problem(block.self_attn, x, x, x, padding, given.get("src_mask"))
    return Call(problem, None, lambda gradient: gradient)


def _torch_problem(
    mha: nn.MultiheadAttention, query: Tensor, key: Tensor, value: Tensor, padding: Tensor | None, pairs: Tensor | None
) -> Problem:
    """Pose what torch's layer computes, batch first, with the projections of core's layer on the same parameters."""
    twin = TorchMultiheadAttention.__new__(TorchMultiheadAttention)
    twin.__dict__.update(mha.__dict__)
    mask, bias = twin.structure(padding, pairs, query.shape[0], query.shape[1], key.shape[1])
    q, k, v = twin.project(query, key, value)
    k, v = twin.extend(k, v)
    return _pose(twin.split_heads(q), twin.split_heads(k), twin.split_heads(v), mask, bias, None)


def _pose(
    q: Tensor, k: Tensor, v: Tensor, mask: masks.Mask | None, bias: biases.Bias | None, scale: float | None
) -> Problem:
    return pose(q, k, v, mask=mask, bias=bias, score=Dot(), scale=scale, temperature=1.0, dropout_p=0.0, need=())
