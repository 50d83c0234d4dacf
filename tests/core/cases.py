"""Every mask, bias and score with a dense formula of its own, written pair by pair and apart from the package."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from itertools import product

import torch
from torch import Tensor

import core
from core import biases, masks

Allowed = Callable[[int, int, int, int], bool]
Logit = Callable[[int, int, int, int], float]

ANY = torch.empty(1, 1, 1, 1)
BACKENDS = sorted(c.backend for c in core.plan(ANY, ANY, ANY).candidates if not c.reasons)
"""Those that serve here whatever the mask and the bias are."""


def cases(n: int) -> int:
    """Answer how many problems a property test draws: n, times ATTENTION_SUITE_CASES in the long run of a benchmark."""
    return n * int(os.environ.get("ATTENTION_SUITE_CASES", "1"))


class Sizes:
    """The sizes of one problem, and the random things that cases are drawn from."""

    def __init__(self, B: int, H: int, Lq: int, Lk: int, seed: int = 0, dtype: torch.dtype = torch.float64):
        self.B, self.H, self.Lq, self.Lk, self.dtype = B, H, Lq, Lk, dtype
        self.shift = Lk - Lq
        self.g = torch.Generator().manual_seed(seed)

    def integers(self, low: int, high: int, *shape: int) -> Tensor:
        return torch.randint(low, high, shape, generator=self.g)

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.g, dtype=self.dtype)

    def dense(self, f: Callable[[int, int, int, int], float | bool]) -> Tensor:
        out = torch.zeros(self.B, self.H, self.Lq, self.Lk, dtype=torch.float64)
        for b, h, i, j in product(range(self.B), range(self.H), range(self.Lq), range(self.Lk)):
            out[b, h, i, j] = f(b, h, i, j)
        return out


def mask_cases(s: Sizes) -> dict[str, tuple[masks.Mask, Allowed]]:
    """Answer every kind of mask for these sizes, each with its definition for one pair."""
    lengths, keep_q = s.integers(0, s.Lk + 1, s.B), s.integers(0, 2, s.B, s.Lq).bool()
    keep = s.integers(0, 2, s.B, s.Lk).bool()
    shared, own = s.integers(-1, s.Lk, 2), s.integers(-1, s.Lk, s.B, 2)
    times, key_times = s.integers(0, 5, s.B, s.Lq).double(), s.integers(0, 5, s.B, s.Lk).double()
    near, near_b = s.integers(-1, s.Lk, s.Lq, 3), s.integers(-1, s.Lk, s.B, s.Lq, 3)
    E = 2 * s.Lk
    edges = torch.stack([s.integers(0, s.Lk, E), s.integers(0, s.Lq, E)])
    item, head = s.integers(0, max(s.B, 1), E), s.integers(0, s.H, E)
    ids = s.integers(0, 3, s.B, s.Lk)
    tensor = s.integers(0, 2, s.B, 1, s.Lq, s.Lk).bool()

    def is_global(index: Tensor, i: int, j: int) -> bool:
        chosen = [g for g in index.tolist() if g >= 0]
        return (i + s.shift) in chosen or j in chosen

    def on_edge(b: int, h: int, i: int, j: int, by_item: bool, by_head: bool) -> bool:
        return any(
            (k, q) == (j, i) and (not by_item or eb == b) and (not by_head or eh == h)
            for k, q, eb, eh in zip(*edges.tolist(), item.tolist(), head.tolist(), strict=True)
        )

    cases: dict[str, tuple[masks.Mask, Allowed]] = {
        "padding lengths": (masks.Padding(lengths), lambda b, h, i, j: j < lengths[b]),
        "padding keep": (masks.Padding(keep), lambda b, h, i, j: bool(keep[b, j])),
        "padding both": (masks.Padding(lengths, keep_q), lambda b, h, i, j: j < lengths[b] and bool(keep_q[b, i])),
        "causal": (masks.Causal(), lambda b, h, i, j: j <= i + s.shift),
        "window": (masks.Window(2, 1), lambda b, h, i, j: -2 <= j - (i + s.shift) <= 1),
        "window 0": (masks.Window(0, 0), lambda b, h, i, j: j == i + s.shift),
        "dilated": (masks.Dilated(2, 1, 3), lambda b, h, i, j: j - (i + s.shift) in (-6, -3, 0, 3)),
        "global": (masks.Global(shared), lambda b, h, i, j: is_global(shared, i, j)),
        "global per item": (masks.Global(own), lambda b, h, i, j: is_global(own[b], i, j)),
        "not after": (masks.NotAfter(times, key_times), lambda b, h, i, j: bool(key_times[b, j] <= times[b, i])),
        "neighbours": (masks.Neighbours(near), lambda b, h, i, j: j in near[i].tolist()),
        "neighbours per item": (masks.Neighbours(near_b), lambda b, h, i, j: j in near_b[b, i].tolist()),
        "edges": (masks.Edges(edges), lambda b, h, i, j: on_edge(b, h, i, j, False, False)),
        "edges of items": (masks.Edges(edges, item), lambda b, h, i, j: on_edge(b, h, i, j, True, False)),
        "edges of heads": (masks.Edges(edges, head=head), lambda b, h, i, j: on_edge(b, h, i, j, False, True)),
        "edges of both": (masks.Edges(edges, item, head), lambda b, h, i, j: on_edge(b, h, i, j, True, True)),
        "dense": (masks.Dense(tensor), lambda b, h, i, j: bool(tensor[b, 0, i, j])),
        "not causal": (~masks.Causal(), lambda b, h, i, j: j > i + s.shift),
        "window or global": (
            masks.Window(1, 1) | masks.Global(shared),
            lambda b, h, i, j: abs(j - i - s.shift) <= 1 or is_global(shared, i, j),
        ),
        "causal and padding": (
            masks.Causal() & masks.Padding(lengths),
            lambda b, h, i, j: j <= i + s.shift and j < lengths[b],
        ),
        "all three": (
            (masks.Causal() | masks.Edges(edges)) & ~masks.Window(0, 0) & masks.Padding(keep),
            lambda b, h, i, j: (
                (j <= i + s.shift or on_edge(b, h, i, j, False, False)) and j != i + s.shift and bool(keep[b, j])
            ),
        ),
    }
    if s.B == 0:
        for name in ("edges of items", "edges of both"):
            del cases[name]  # there is no item that an edge could belong to
    if s.Lq <= s.Lk:
        cases["segments"] = (masks.Segments(ids), lambda b, h, i, j: bool(ids[b, i + s.shift] == ids[b, j]))
    if s.Lq == s.Lk:
        cases["not after itself"] = (masks.NotAfter(times), lambda b, h, i, j: bool(times[b, j] <= times[b, i]))
        same = s.integers(0, s.Lk + 1, s.B)
        cases["causal and lengths on both sides"] = (
            masks.Causal() & masks.Padding(same, same),
            lambda b, h, i, j: j <= i and i < same[b],
        )
    return cases


def bias_cases(s: Sizes) -> dict[str, tuple[Callable[..., biases.Bias], tuple[Tensor, ...], Logit]]:
    """Answer every kind of bias: how to build it from its learnable tensors, those tensors, and its definition."""
    times, key_times = s.normal(s.B, s.Lq) * 3, s.normal(s.B, s.Lk) * 3
    x, y = s.normal(s.B, s.Lq, 2), s.normal(s.B, s.Lk, 2)
    rate, scalar = s.normal(s.H).abs(), s.normal(()).abs()
    table, key_value, head_value = s.normal(s.H, 5), s.normal(s.B, s.Lk), s.normal(s.B, s.H, s.Lk)
    E = 2 * s.Lk
    edges = torch.stack([s.integers(0, s.Lk, E), s.integers(0, s.Lq, E)])
    item = s.integers(0, max(s.B, 1), E)
    value, per_head = s.normal(E), s.normal(E, s.H)
    tensor = s.normal(1, s.H, s.Lq, s.Lk)

    def dt(b: int, i: int, j: int) -> float:
        return abs(float(times[b, i]) - float(key_times[b, j]))

    def dx(b: int, i: int, j: int) -> float:
        return math.dist(x[b, i].tolist(), y[b, j].tolist())

    def on_edges(values: list[float], i: int, j: int, b: int | None = None) -> float:
        pairs = zip(*edges.tolist(), item.tolist(), values, strict=True)
        return sum(v for k, q, e, v in pairs if (k, q) == (j, i) and (b is None or e == b))

    def decay(kernel: biases.Kernel) -> Callable[..., biases.Bias]:
        return lambda r: biases.TimeDecay(times, r, kernel, key_times)

    def spatial(kernel: biases.Kernel) -> Callable[..., biases.Bias]:
        return lambda r: biases.DistanceDecay(x, r, kernel, y)

    cases: dict[str, tuple[Callable[..., biases.Bias], tuple[Tensor, ...], Logit]] = {
        "time exponential": (decay("exponential"), (rate,), lambda b, h, i, j: -float(rate[h]) * dt(b, i, j)),
        "time logarithmic": (
            decay("logarithmic"),
            (rate,),
            lambda b, h, i, j: -float(rate[h]) * math.log(1 + dt(b, i, j)),
        ),
        "time gaussian": (decay("gaussian"), (scalar,), lambda b, h, i, j: -float(scalar) * dt(b, i, j) ** 2),
        "distance exponential": (spatial("exponential"), (rate,), lambda b, h, i, j: -float(rate[h]) * dx(b, i, j)),
        "distance gaussian": (spatial("gaussian"), (scalar,), lambda b, h, i, j: -float(scalar) * dx(b, i, j) ** 2),
        "alibi": (biases.Alibi, (rate,), lambda b, h, i, j: -float(rate[h]) * abs(j - i - s.shift)),
        "relative": (
            biases.Relative,
            (table,),
            lambda b, h, i, j: float(table[h, max(-2, min(2, j - i - s.shift)) + 2]),
        ),
        "edges": (lambda v: biases.EdgeBias(edges, v), (value,), lambda b, h, i, j: on_edges(value.tolist(), i, j)),
        "edges per head": (
            lambda v: biases.EdgeBias(edges, v),
            (per_head,),
            lambda b, h, i, j: on_edges(per_head[:, h].tolist(), i, j),
        ),
        "key": (biases.KeyBias, (key_value,), lambda b, h, i, j: float(key_value[b, j])),
        "key per head": (biases.KeyBias, (head_value,), lambda b, h, i, j: float(head_value[b, h, j])),
        "dense": (biases.Dense, (tensor,), lambda b, h, i, j: float(tensor[0, h, i, j])),
        "sum": (
            lambda r, t: biases.Alibi(r) + biases.Relative(t) + biases.TimeDecay(times, 0.5, key_times=key_times),
            (rate, table),
            lambda b, h, i, j: (
                -float(rate[h]) * abs(j - i - s.shift)
                + float(table[h, max(-2, min(2, j - i - s.shift)) + 2])
                - 0.5 * dt(b, i, j)
            ),
        ),
    }
    if s.B:
        cases["edges of items"] = (
            lambda v: biases.EdgeBias(edges, v, item),
            (value,),
            lambda b, h, i, j: on_edges(value.tolist(), i, j, b),
        )
    return cases


def softmax_rows(logits: list[float]) -> Iterator[float]:
    """Softmax of plain numbers, -inf where masked; all 0 where everything is masked."""
    top = max(logits, default=-math.inf)
    if top == -math.inf:
        return iter([0.0] * len(logits))
    e = [math.exp(x - top) for x in logits]
    return iter([x / sum(e) for x in e])
