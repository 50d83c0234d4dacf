"""`attend` and `plan`: check the arguments, choose a backend, run it, answer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, overload

import torch
from torch import Tensor

from . import scores
from .backends import BACKENDS
from .biases import Bias
from .engine import dropout
from .engine.cost import Cost
from .engine.observe import observers
from .engine.problem import AttentionOutput, Problem, autocast_is_on, pose
from .masks import Mask

DENSE_BYTES = 1 << 27  # what a step may hold for the square of the length before "auto" looks for linear memory
FASTEST = ("fused",)  # where a kernel runs without a dense mask, nothing is faster: no need to ask the others


@dataclass(frozen=True)
class Candidate:
    """One backend in a plan: why it cannot serve (empty if it can) and what a training step would cost on it."""

    backend: str
    reasons: tuple[str, ...]
    cost: Cost


@dataclass(frozen=True)
class Plan:
    """Which backend runs, and why each other one does not.

    Printing it shows a table: floating-point operations, peak memory and, in milliseconds of the machine that
    `core.rates` was measured on, the time of one training step, forward and backward.
    """

    backend: str
    candidates: tuple[Candidate, ...]

    def __str__(self) -> str:
        rows = [("", "backend", "GFLOP", "ms", "peak MB", "memory", "cannot serve because")]
        for c in self.candidates:
            mark = "->" if c.backend == self.backend else ""
            numbers = (c.cost.flops / 1e9, c.cost.seconds * 1e3, c.cost.peak_bytes / 1e6)
            flops, time, peak = (f"{number:.3g}" for number in numbers)
            rows.append((mark, c.backend, flops, time, peak, c.cost.memory, "; ".join(c.reasons) or "-"))
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def plan(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    mask: Mask | None = None,
    bias: Bias | None = None,
    score: scores.Score = scores.Dot(),  # noqa: B008  # frozen, without state
    scale: float | Tensor | None = None,
    temperature: float | Tensor = 1.0,
    dropout_p: float = 0.0,
    generator: torch.Generator | None = None,
    backend: str = "auto",
    need: Iterable[str] = (),
) -> Plan:
    """Say which backend `attend` would run with these arguments, why not the others, and what each would cost.

    The choice rests on shapes, dtypes and structure. Tensor values are looked at only on the CPU outside torch.compile
    and torch.export, and only for whether a bias can be folded into features (see `core.folding`). No random number is
    drawn.

    Raises:
        TypeError: As `attend`.
        ValueError: As `attend`.
    """
    problem = pose(
        q,
        k,
        v,
        mask=mask,
        bias=bias,
        score=score,
        scale=scale,
        temperature=temperature,
        dropout_p=dropout_p,
        need=need,
    )
    chosen = _choose(problem, backend)
    candidates = tuple(
        Candidate(n, tuple(b.not_supported_reasons(problem)), b.cost(problem)) for n, b in BACKENDS.items()
    )
    return Plan(chosen, candidates)


@overload
def attend(  # type: ignore[overload-overlap]  # the empty tuple is told apart first
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    mask: Mask | None = ...,
    bias: Bias | None = ...,
    score: scores.Score = ...,
    scale: float | Tensor | None = ...,
    temperature: float | Tensor = ...,
    dropout_p: float = ...,
    generator: torch.Generator | None = ...,
    backend: str = ...,
    need: tuple[()] = ...,
) -> Tensor: ...


@overload
def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    mask: Mask | None = ...,
    bias: Bias | None = ...,
    score: scores.Score = ...,
    scale: float | Tensor | None = ...,
    temperature: float | Tensor = ...,
    dropout_p: float = ...,
    generator: torch.Generator | None = ...,
    backend: str = ...,
    need: Iterable[Literal["lse", "entropy", "weights", "pair_weights"]],
) -> AttentionOutput: ...


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    mask: Mask | None = None,
    bias: Bias | None = None,
    score: scores.Score = scores.Dot(),  # noqa: B008  # frozen, without state
    scale: float | Tensor | None = None,
    temperature: float | Tensor = 1.0,
    dropout_p: float = 0.0,
    generator: torch.Generator | None = None,
    backend: str = "auto",
    need: Iterable[str] = (),
) -> Tensor | AttentionOutput:
    """Attend: out_i = sum_j w_ij v_j with w_i = softmax over the allowed j of the logits.

    logits_ij = (scale * score(q_i, k_j) + bias_ij) / temperature

    A query with no allowed key is dead: out 0, weights 0, entropy 0, lse -inf, gradients 0. Keys that no query of the
    item may see change nothing, whatever they hold.

    Args:
        q: Queries.
        k: Keys; their heads are shared by H / Hk consecutive query heads each.
        v: Values.
        mask: Who may attend to whom, from `core.masks`; None lets everyone see everyone.
        bias: Additive logits, from `core.biases`.
        score: How queries and keys are compared, from `core.scores`.
        scale: Factor of the score; None is D ** -0.5 for Dot and 1 for the others. A number, a scalar or (H,).
        temperature: Divides the logits, bias included. A number, a scalar or (H,), above 0.
        dropout_p: Probability of dropping a weight; the others are divided by 1 - dropout_p.
        generator: Where the seed of the dropout is drawn from; None is the default generator.
        backend: "auto", or the name of the one to run.
        need: Extras to answer: "lse", "entropy", "weights", "pair_weights".

    Shapes:
        q: (B, H, Lq, D).
        k: (B, Hk, Lk, D), H a multiple of Hk.
        v: (B, Hk, Lk, Dv).
        out: (B, H, Lq, Dv), in q's dtype (under autocast in autocast's).

    Returns:
        out; with any `need` an `AttentionOutput` that holds it and what was asked for.

    Raises:
        TypeError: An argument is of the wrong kind.
        ValueError: An argument has the wrong shape, dtype, device or value, or the named backend cannot serve; the
            message says why.
    """
    problem = pose(
        q,
        k,
        v,
        mask=mask,
        bias=bias,
        score=score,
        scale=scale,
        temperature=temperature,
        dropout_p=dropout_p,
        need=need,
    )
    chosen = BACKENDS[_choose(problem, backend)]
    seed = dropout.draw_seed(generator, q.device) if dropout_p > 0 else None
    if autocast_is_on(q.device):
        with torch.autocast(q.device.type, enabled=False):
            answer = chosen.run(problem, seed)
    else:
        answer = chosen.run(problem, seed)
    assert isinstance(answer, AttentionOutput)
    for observer in observers:
        observer(problem, answer)
    return answer if problem.need else answer.out


def _choose(problem: Problem, backend: str) -> str:
    if backend == "auto":
        costs: dict[str, Cost] = {}
        for name, candidate in BACKENDS.items():
            if not candidate.not_supported_reasons(problem):
                costs[name] = candidate.cost(problem)
                if costs[name].route in FASTEST:
                    return name
        light = [name for name, cost in costs.items() if cost.is_linear or cost.peak_bytes <= DENSE_BYTES]
        return min(light or costs, key=lambda name: costs[name].seconds)
    if backend not in BACKENDS:
        raise ValueError(f"backend is {backend!r}, expected 'auto' or one of {', '.join(map(repr, BACKENDS))}")
    reasons = BACKENDS[backend].not_supported_reasons(problem)
    if reasons:
        raise ValueError(f"backend {backend!r} cannot serve: " + "; ".join(reasons))
    return backend
