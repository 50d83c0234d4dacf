"""`attend` and `plan`: check the arguments, choose a backend, run it, answer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, overload

import torch
from torch import Tensor

from . import scores
from .backends import BACKENDS
from .biases import Bias
from .engine import AttentionOutput, Plan, autocast_is_on, choose, dropout, make_plan, observers, pose
from .masks import Mask


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
    and torch.export, and only for whether a bias can be folded into features (by the backend `fused`). No random
    number is drawn.

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
    return make_plan(problem, backend, BACKENDS)


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
    chosen = BACKENDS[choose(problem, backend, BACKENDS)]
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
