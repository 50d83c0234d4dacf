"""Record chosen quantities of every attention in a model while it runs, without changing the model or its outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ...backends import BACKENDS
from ...biases import Bias
from ...engine.problem import Problem, by_head
from ...masks import Mask
from .adapters import Call
from .cut import altered, cut, full_precision, row_blocks, solve
from .linear import expectation
from .records import Capture, Record
from .watch import CaptureError, watching

QUANTITIES = ("entropy", "lse", "weights", "inputs")
MAX_BYTES = 1 << 30
CELLS = 1 << 24  # weights computed at a time

Statistic = Mask | Bias | Callable[[Problem], Tensor]


@contextmanager
def capture(
    model: nn.Module,
    quantities: Sequence[str] = ("entropy",),
    *,
    statistics: Mapping[str, Statistic] | None = None,
    layers: str | Sequence[str] | None = None,
    heads: Sequence[int] | None = None,
    rows: Sequence[int] | None = None,
    max_bytes: int = MAX_BYTES,
    device: torch.device | str | None = None,
) -> Iterator[Capture]:
    """Record what the attention of a model does while the context lasts.

        with capture(model, ("entropy",)) as seen:
            model(x)
        seen["blocks.0.attention"].entropy    # (B, heads, Lq), nats

    Works on every module that calls `core.attend`, so on all of core's layers, on timm's `Attention` and on torch's
    MultiheadAttention, its fast paths included. Outputs, gradients and random numbers stay bit for bit what they are
    without: each quantity is computed besides, from the queries, keys and structure that the module used. Weights are
    those before dropout. The second forward pass of activation checkpointing is not recorded.

    Args:
        model: Any module; afterwards nothing of the capture is left on it.
        quantities: From "entropy", "lse", "weights" and "inputs" (queries, keys, values and structure: what `rollout`
            and `head_redundancy` work from without L x L tensors).
        statistics: Named means under the weights, sum_j w_ij f_ij: f is a mask (mass on its pairs), a bias (its mean),
            or a function from the `Problem` to (B, H, Lq).
        layers: Names or patterns (`*`, `?`) of modules; one that names a module chooses all inside it. None: all.
        heads: Query heads to record. None: all.
        rows: Queries to record, negative ones from the end; the weights of the others are not computed. None: all.
        max_bytes: What all records together may hold.
        device: Where to keep the records. None: where they arise.

    Raises:
        CaptureError: Nothing that can be captured ran, a pattern chose nothing, the model is compiled, a head or row
            does not exist, or the records would exceed `max_bytes`; in the last case before anything is computed.
        ValueError: Unknown quantities, none, or inputs with chosen heads or rows.
    """
    wanted = _Wanted(_checked(quantities, statistics, heads, rows), statistics or {}, heads, rows, max_bytes, device)
    seen = Capture((*wanted.quantities, *wanted.statistics))

    def on_call(name: str, forward: int | None, call: Call) -> None:
        with torch.no_grad(), full_precision(call.problem.q.device):
            seen.add(_record(wanted, seen, name, forward, call.problem))

    with watching(model, layers, on_call):
        yield seen


@dataclass(frozen=True)
class _Wanted:
    """What to record."""

    quantities: tuple[str, ...]
    statistics: Mapping[str, Statistic]
    heads: Sequence[int] | None
    rows: Sequence[int] | None
    max_bytes: int
    device: torch.device | str | None


def _checked(
    quantities: Sequence[str],
    statistics: Mapping[str, Statistic] | None,
    heads: Sequence[int] | None,
    rows: Sequence[int] | None,
) -> tuple[str, ...]:
    if isinstance(quantities, str):
        raise TypeError(f"quantities: expected a tuple such as ({quantities!r},), got the string {quantities!r}")
    unknown = sorted(set(quantities).difference(QUANTITIES))
    if unknown:
        raise ValueError(f"quantities: expected names from {QUANTITIES}, got {', '.join(map(repr, unknown))}")
    if not quantities and not statistics:
        raise ValueError("quantities: expected at least one quantity or statistic, got none")
    for name, chosen in (("heads", heads), ("rows", rows)):
        if chosen is not None and len(chosen) == 0:
            raise ValueError(f"{name}: expected None for all, or at least one, got none")
        if chosen is not None and "inputs" in quantities:
            raise ValueError(f"{name}: expected None with the quantity 'inputs', which is held whole, got {chosen}")
    return tuple(dict.fromkeys(quantities))


def _record(wanted: _Wanted, seen: Capture, layer: str, forward: int | None, problem: Problem) -> Record:
    """Compute what is wanted of one call; claims its memory first."""
    p = problem
    heads = _indices("heads", wanted.heads, p.H, layer)
    rows = _indices("rows", wanted.rows, p.Lq, layer)
    n_heads, n_rows = p.H if heads is None else len(heads), p.Lq if rows is None else len(rows)
    _claim(wanted, seen, layer, p, n_heads, n_rows)
    part = cut(p, heads, rows)
    entropy = lse = weights = None
    if "entropy" in wanted.quantities:
        entropy, lse = entropy_and_lse(part)
    elif "lse" in wanted.quantities:
        lse = solve(part, ("lse",)).lse
    if "weights" in wanted.quantities:
        weights = _weights(part)
    statistics = {}
    for name, statistic in wanted.statistics.items():
        value = _statistic(name, statistic, p, layer)
        value = value if heads is None else value[:, list(heads)]
        statistics[name] = value if rows is None else value[:, :, list(rows)]
    record = Record(
        layer=layer,
        forward=forward,
        sizes=(p.B, p.H, p.Lq, p.Lk),
        heads=heads,
        rows=rows,
        entropy=entropy,
        lse=lse if "lse" in wanted.quantities else None,
        weights=weights,
        statistics=MappingProxyType(statistics),
        inputs=p if "inputs" in wanted.quantities else None,
    )
    return record if wanted.device is None else _moved(record, wanted.device)


def entropy_and_lse(problem: Problem) -> tuple[Tensor, Tensor]:
    """Compute the entropy of the weights and the log-sum-exp of the logits, without L x L tensors where possible.

        H_i = lse_i - E_i[logit],  E_i[scale q_i . k / temperature] = scale q_i . (sum_j w_ij k_j) / temperature

    Without a bias that is one pass of a fused kernel in which the keys take the place of the values.

    Shapes:
        Answer: (B, H, Lq) each; 0 and -inf in dead rows.
    """
    p = problem
    q, k = p.q.to(p.compute_dtype), p.k.to(p.compute_dtype)
    swapped = altered(p, q=q, k=k, v=p.score.prepare(k), need=frozenset({"lse"}), dropout_p=0.0)
    if p.bias is not None or p.score.has_offset or BACKENDS["fused"].not_supported_reasons(swapped):
        answer = solve(altered(p, v=p.v[..., :1]), ("entropy", "lse"))
        assert answer.entropy is not None and answer.lse is not None
        return answer.entropy, answer.lse
    answer = solve(swapped, ("lse",))
    assert answer.lse is not None
    factor = by_head(p.scale, 1) / by_head(p.temperature, 1)
    entropy = (answer.lse - factor * torch.linalg.vecdot(p.score.prepare(q), answer.out)).clamp_min(0.0)
    if p.pattern is not None or p.padding is not None:
        entropy = entropy.masked_fill(torch.isneginf(answer.lse), 0.0)
    return entropy, answer.lse


def _weights(problem: Problem) -> Tensor:
    """Compute the weights, block by block where all at once would need several L x L tensors beside them."""
    p = altered(problem, v=problem.v[..., :1])
    blocks = row_blocks(p, CELLS)
    if len(blocks) == 1:
        whole = solve(p, ("weights",)).weights
        assert whole is not None
        return whole
    held = p.q.new_empty(p.B, p.H, p.Lq, p.Lk)
    for rows in blocks:
        some = solve(cut(p, rows=rows), ("weights",)).weights
        assert some is not None
        held[:, :, rows.start : rows.stop] = some
    return held


def _statistic(name: str, statistic: Statistic, problem: Problem, layer: str) -> Tensor:
    value = expectation(problem, statistic) if isinstance(statistic, (Mask, Bias)) else statistic(problem)
    expected = (problem.B, problem.H, problem.Lq)
    if tuple(value.shape) != expected:
        raise ValueError(f"statistics[{name!r}]: expected {expected} at {layer!r}, got {tuple(value.shape)}")
    return value.detach()


def _claim(wanted: _Wanted, seen: Capture, layer: str, p: Problem, heads: int, rows: int) -> None:
    """Raise before more than `max_bytes` would be held."""
    one = p.B * heads * rows * p.compute_dtype.itemsize
    costs = {name: one for name in (*wanted.quantities, *wanted.statistics)}
    if "weights" in wanted.quantities:
        costs["weights"] = p.B * heads * rows * p.Lk * p.q.dtype.itemsize
    if "inputs" in wanted.quantities:
        costs["inputs"] = sum(x.numel() * x.element_size() for x in (p.q, p.k, p.v))
    held = seen.nbytes
    if held + sum(costs.values()) <= wanted.max_bytes:
        return
    shown = " and ".join(f"{name!r} {cost / 1e6:,.1f} MB" for name, cost in costs.items())
    raise CaptureError(
        f"max_bytes: expected records of at most {wanted.max_bytes / 1e6:,.1f} MB, got {shown} more for "
        f"{layer or 'the model itself'} with (B, heads, rows, Lk) = ({p.B}, {heads}, {rows}, {p.Lk}) than the "
        f"{held / 1e6:,.1f} MB held already: choose rows=, heads= or layers=, take 'entropy' or statistics in "
        "the place of 'weights', or raise max_bytes"
    )


def _indices(name: str, chosen: Sequence[int] | None, size: int, layer: str) -> tuple[int, ...] | None:
    """Answer the chosen indices counted from 0."""
    if chosen is None:
        return None
    for index in chosen:
        if not -size <= index < size:
            raise CaptureError(f"{name}: expected indices of the {size} of {layer or 'the model itself'}, got {index}")
    return tuple(index % size for index in chosen)


def _moved(record: Record, device: torch.device | str) -> Record:
    def move(value: Tensor | None) -> Tensor | None:
        return None if value is None else value.to(device)

    statistics = {name: value.to(device) for name, value in record.statistics.items()}
    p = record.inputs
    if p is not None:
        named = {f: getattr(p, f) for f in ("q", "k", "v", "pattern", "padding", "bias", "scale", "temperature")}
        p = altered(p, **pytree.tree_map_only(Tensor, lambda x: x.to(device), named))
    return replace(
        record,
        entropy=move(record.entropy),
        lse=move(record.lse),
        weights=move(record.weights),
        statistics=MappingProxyType(statistics),
        inputs=p,
    )
