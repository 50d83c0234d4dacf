"""Masks and biases as functions of one pair (b, h, i, j), as `torch.nn.attention.flex_attention` takes them.

Its kernels inline such a function: everything in it is elementwise, and a tensor is read at one place by one index per
axis. What does not depend on the pair is therefore worked out here, before, and captured. A tensor that learns is read
once, for that is all that the kernel's backward allows.

Nodes without an elementwise form (those that list pairs, and those of other packages) are read from a table of all
pairs, which a backend may only ask for where it is small.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import reduce
from operator import add, and_, or_
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...biases import Alibi, Bias, DistanceDecay, KeyBias, Relative, TimeDecay
from ...biases import Dense as DenseBias
from ...biases.base import Sum, at_least_float32
from ...biases.decay import Kernel
from ...masks import And, Causal, Dilated, Global, Mask, NotAfter, Or, Padding, Segments, Window
from ...masks import Dense as DenseMask
from ...masks.base import Not
from ...symbols.symbolic import Symbolic

Mod = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""A function of (b, h, i, j), scalars, to a scalar."""

MOST_COORDINATES = 8  # of a position, each of which is one more pair of reads


class Sizes(NamedTuple):
    """The sizes of a problem, and where it is."""

    B: int
    H: int
    Lq: int
    Lk: int
    device: torch.device


def allowed(mask: Mask, sizes: Sizes) -> Mod:
    """Answer who may attend to whom, as a function of one pair."""
    if isinstance(mask, (And, Or)):
        return _combine(and_ if isinstance(mask, And) else or_, [allowed(part, sizes) for part in mask.parts])
    if isinstance(mask, Not):
        inner = allowed(mask.part, sizes)
        return lambda b, h, i, j: ~inner(b, h, i, j)
    if type(mask) in _MASKS:
        return _MASKS[type(mask)](mask, sizes)
    return look_up(mask.materialize(*sizes[:4], device=sizes.device), "bhij", sizes)


def added(bias: Bias, sizes: Sizes) -> Mod:
    """Answer the bias, float32, as a function of one pair."""
    if isinstance(bias, Sum):
        return _combine(add, [added(part, sizes) for part in bias.parts])
    if _is_elementwise(bias):
        return _BIASES[type(bias)](bias, sizes)
    return look_up(bias.materialize(*sizes[:4], device=sizes.device).float(), "bhij", sizes)


def tables(node: Symbolic) -> Iterator[Symbolic]:
    """Go through the masks or biases that this one is made of and that need a table of all pairs."""
    if isinstance(node, (And, Or, Sum)):
        for part in node.parts:
            yield from tables(part)
    elif isinstance(node, Not):
        yield from tables(node.part)
    elif not _is_elementwise(node):
        yield node


def look_up(tensor: Tensor, axes: str, sizes: Sizes) -> Mod:
    """Answer the function that reads tensor[b, h, i, j], of those axes that `axes` names; one of size 1 holds for all.

    Shapes:
        tensor: one axis for each letter of `axes`.
    """
    kept = [axis for axis, size in zip(axes, tensor.shape, strict=True) if size > 1]
    flat = tensor.reshape([size for size in tensor.shape if size > 1])
    if not kept:
        kept, flat = ["h"], flat.expand(sizes.H)
    flat = flat.contiguous()
    places = [("b", "h", "i", "j").index(axis) for axis in kept]
    if len(places) == 1:
        return _read_1(flat, *places)
    if len(places) == 2:
        return _read_2(flat, *places)
    if len(places) == 3:
        return _read_3(flat, *places)
    return lambda b, h, i, j: flat[b, h, i, j]


def by_row(value: float | Tensor, sizes: Sizes) -> Mod | float:
    """Answer a number, a scalar or one number per head, (H,), as a function of one pair.

    What learns is read from a copy per row of logits: its gradient is then summed row by row, not at one address.
    """
    if not isinstance(value, Tensor):
        return value
    value = at_least_float32(value).float().reshape(1, -1, 1)
    if value.requires_grad:
        value = value.expand(sizes.B, sizes.H, sizes.Lq)
    return look_up(value, "bhi", sizes)


def _is_elementwise(node: Symbolic) -> bool:
    if isinstance(node, DistanceDecay) and node.positions.shape[-1] > MOST_COORDINATES:
        return False
    return type(node) in _MASKS or type(node) in _BIASES


def _combine(operator: Callable[[Any, Any], Any], mods: list[Mod]) -> Mod:
    return lambda b, h, i, j: reduce(operator, [mod(b, h, i, j) for mod in mods])


def _read_1(flat: Tensor, x: int) -> Mod:
    return lambda b, h, i, j: flat[(b, h, i, j)[x]]


def _read_2(flat: Tensor, x: int, y: int) -> Mod:
    return lambda b, h, i, j: flat[(b, h, i, j)[x], (b, h, i, j)[y]]


def _read_3(flat: Tensor, x: int, y: int, z: int) -> Mod:
    return lambda b, h, i, j: flat[(b, h, i, j)[x], (b, h, i, j)[y], (b, h, i, j)[z]]


def _causal(mask: Causal, sizes: Sizes) -> Mod:
    shift = sizes.Lk - sizes.Lq
    return lambda b, h, i, j: j <= i + shift


def _window(mask: Window, sizes: Sizes) -> Mod:
    low, high = sizes.Lk - sizes.Lq - mask.left, sizes.Lk - sizes.Lq + mask.right
    return lambda b, h, i, j: (j >= i + low) & (j <= i + high)


def _dilated(mask: Dilated, sizes: Sizes) -> Mod:
    step, last = mask.dilation, (mask.left + mask.right) * mask.dilation
    first = sizes.Lk - sizes.Lq - mask.left * step

    def mod(b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        place = j - i - first  # from the first visible key on
        return (place >= 0) & (place <= last) & (place % step == 0)

    return mod


def _global(mask: Global, sizes: Sizes) -> Mod:
    chosen = mask.chosen(sizes.Lk)
    position = torch.arange(sizes.Lk - sizes.Lq, sizes.Lk, device=sizes.device)
    rows = chosen[:, position.clamp_min(0)] & (position >= 0)
    return _combine(or_, [look_up(rows, "bi", sizes), look_up(chosen, "bj", sizes)])


def _not_after(mask: NotAfter, sizes: Sizes) -> Mod:
    times, key_times = _of_one_dtype(mask.times, mask.key_times)
    own, other = look_up(times.detach(), "bi", sizes), look_up(key_times.detach(), "bj", sizes)
    return lambda b, h, i, j: other(b, h, i, j) <= own(b, h, i, j)


def _segments(mask: Segments, sizes: Sizes) -> Mod:
    own = look_up(mask.ids[:, sizes.Lk - sizes.Lq :], "bi", sizes)
    other = look_up(mask.ids, "bj", sizes)
    return lambda b, h, i, j: own(b, h, i, j) == other(b, h, i, j)


def _padding(mask: Padding, sizes: Sizes) -> Mod:
    keys, queries = look_up(mask.keep_keys(sizes.Lk), "bj", sizes), mask.keep_queries(sizes.Lq)
    return keys if queries is None else _combine(and_, [keys, look_up(queries, "bi", sizes)])


def _time_decay(bias: TimeDecay, sizes: Sizes) -> Mod:
    times, key_times = _of_one_dtype(bias.times, bias.key_times)
    if times.dtype.is_floating_point:
        times, key_times = at_least_float32(times), at_least_float32(key_times)
    else:
        times, key_times = times.long(), key_times.long()  # whose differences are exact
    own, other = look_up(times, "bi", sizes), look_up(key_times, "bj", sizes)
    return _fall(
        lambda b, h, i, j: (own(b, h, i, j) - other(b, h, i, j)).abs().float(), bias.kernel, by_row(bias.rate, sizes)
    )


def _distance_decay(bias: DistanceDecay, sizes: Sizes) -> Mod:
    x, y = _of_one_dtype(bias.positions, bias.key_positions)
    x, y = at_least_float32(x), at_least_float32(y)
    axes = [(look_up(u, "bi", sizes), look_up(v, "bj", sizes)) for u, v in zip(x.unbind(-1), y.unbind(-1), strict=True)]

    def distance(b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        apart = [own(b, h, i, j) - other(b, h, i, j) for own, other in axes]
        return reduce(add, [d * d for d in apart]).sqrt().float()

    return _fall(distance, bias.kernel, by_row(bias.rate, sizes))


def _alibi(bias: Alibi, sizes: Sizes) -> Mod:
    shift = sizes.Lk - sizes.Lq
    return _fall(lambda b, h, i, j: (j - i - shift).abs().float(), "exponential", by_row(bias.slopes, sizes))


def _relative(bias: Relative, sizes: Sizes) -> Mod:
    m, shift = bias.table.shape[1] // 2, sizes.Lk - sizes.Lq
    table = _own(bias.table)
    return lambda b, h, i, j: table[h, (j - i - shift).clamp(-m, m) + m]


def _key(bias: KeyBias, sizes: Sizes) -> Mod:
    return look_up(_own(bias.value), "bj" if bias.value.ndim == 2 else "bhj", sizes)


def _dense_bias(bias: DenseBias, sizes: Sizes) -> Mod:
    return look_up(_own(bias.tensor), "bhij", sizes)


def _fall(distance: Mod, kernel: Kernel, rate: Mod | float) -> Mod:
    """Answer -rate * f(distance); where f is not finite, -f, and no gradient for the rate."""

    def mod(b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        d = distance(b, h, i, j)
        f = d if kernel == "exponential" else torch.log1p(d) if kernel == "logarithmic" else d * d
        finite = f < torch.inf
        slope = rate if isinstance(rate, float | int) else rate(b, h, i, j)
        return torch.where(finite, -slope * torch.where(finite, f, 0.0), -f)

    return mod


def _of_one_dtype(x: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor]:
    """Answer both in the dtype that their difference has; y is x where it is missing."""
    y = x if y is None else y
    dtype = torch.promote_types(x.dtype, y.dtype)
    return x.to(dtype), y.to(dtype)


def _own(learned: Tensor) -> Tensor:
    """Answer the numbers in float32, as a tensor that nothing else reads."""
    value = at_least_float32(learned).float()
    return value.clone() if value is learned and value.requires_grad else value


_MASKS: dict[type, Callable[[Any, Sizes], Mod]] = {
    Causal: _causal,
    Window: _window,
    Dilated: _dilated,
    Global: _global,
    NotAfter: _not_after,
    Segments: _segments,
    Padding: _padding,
    DenseMask: lambda mask, sizes: look_up(mask.tensor, "bhij", sizes),
}

_BIASES: dict[type, Callable[[Any, Sizes], Mod]] = {
    TimeDecay: _time_decay,
    DistanceDecay: _distance_decay,
    Alibi: _alibi,
    Relative: _relative,
    KeyBias: _key,
    DenseBias: _dense_bias,
}
