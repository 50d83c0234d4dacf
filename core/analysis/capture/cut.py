"""Chosen heads and rows of an attention problem, exact for every mask and bias, and its answer out of sight."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from ...attend import _choose
from ...backends import BACKENDS
from ...biases import Bias
from ...engine.problem import AttentionOutput, Problem, autocast_is_on
from ...masks import Mask, Padding
from ...symbols.part import Pairs, Part
from ...symbols.symbolic import node


def solve(problem: Problem, need: Iterable[str] = ()) -> AttentionOutput:
    """Answer a problem without dropout, on the backend that "auto" chooses; no observer hears of it.

    Args:
        problem: As an observer of `core.engine.observe` receives it.
        need: As in `attend`.
    """
    p = altered(problem, need=frozenset(need), dropout_p=0.0)
    backend = BACKENDS[_choose(p, "auto")]
    with full_precision(p.q.device):
        answer = backend.run(p, None)
    assert isinstance(answer, AttentionOutput)
    return answer


def full_precision(device: torch.device) -> AbstractContextManager[Any]:
    """Switch autocast off on a device while the context lasts, where it is on."""
    return torch.autocast(device.type, enabled=False) if autocast_is_on(device) else nullcontext()


def altered(problem: Problem, **changes: Any) -> Problem:
    """Answer a problem with other fields; what was worked out for it is worked out anew."""
    return replace(problem, **changes)


def cut(problem: Problem, heads: Sequence[int] | None = None, rows: Sequence[int] | None = None) -> Problem:
    """Answer the problem of some of the heads and some of the queries, with all of its keys.

    What is kept has the very weights that it has in the whole: a mask or a bias by index still sees each query where it
    stood.

    Args:
        problem: The whole.
        heads: Query heads, from 0; None keeps all.
        rows: Queries, from 0; None keeps all.
    """
    p = problem
    if heads is None and rows is None:
        return p
    q, k, v, scale, temperature = p.q, p.k, p.v, p.scale, p.temperature
    if heads is not None:
        chosen = list(heads)
        shared = [head // p.groups for head in chosen]
        q, k, v = q[:, chosen], k[:, shared], v[:, shared]
        scale = scale[chosen] if isinstance(scale, Tensor) and scale.ndim else scale
        temperature = temperature[chosen] if isinstance(temperature, Tensor) and temperature.ndim else temperature
    padding = p.padding
    if rows is not None:
        q = q[:, :, list(rows)]
        keep = None if padding is None else padding.keep_queries(p.Lq)
        if padding is not None and keep is not None:
            padding = Padding(padding.keys, keep[:, list(rows)])
    where = ((p.B, p.H, p.Lq, p.Lk), None if heads is None else tuple(heads), None if rows is None else tuple(rows))
    return altered(
        p,
        q=q,
        k=k,
        v=v,
        scale=scale,
        temperature=temperature,
        padding=padding,
        pattern=None if p.pattern is None else _CutMask(p.pattern, *where),
        bias=None if p.bias is None else _CutBias(p.bias, *where),
    )


def row_blocks(problem: Problem, cells: int, copies: int = 1) -> list[range]:
    """Cut the queries into blocks of at most about `cells` weights, over items, heads and `copies`."""
    per_row = max(1, copies * problem.B * problem.H * problem.Lk)
    step = max(1, cells // per_row)
    return [range(i, min(i + step, problem.Lq)) for i in range(0, problem.Lq, step)]


@node
class _CutMask(Mask):
    """A mask over some heads and rows of the problem of size `sizes` that it was made for."""

    whole: Mask
    sizes: tuple[int, int, int, int]
    heads: tuple[int, ...] | None
    rows: tuple[int, ...] | None

    def _block(self, part: Part) -> Tensor:
        return _block(self.whole, part, self.sizes, self.heads, self.rows)

    def _at(self, pairs: Pairs) -> Tensor:
        return _at(self.whole, pairs, self.sizes, self.heads, self.rows)


@node
class _CutBias(Bias):
    """A bias over some heads and rows of the problem of size `sizes` that it was made for."""

    whole: Bias
    sizes: tuple[int, int, int, int]
    heads: tuple[int, ...] | None
    rows: tuple[int, ...] | None

    def _block(self, part: Part) -> Tensor:
        return _block(self.whole, part, self.sizes, self.heads, self.rows)

    def _at(self, pairs: Pairs) -> Tensor:
        return _at(self.whole, pairs, self.sizes, self.heads, self.rows)


def _block(
    whole: Mask | Bias,
    part: Part,
    sizes: tuple[int, int, int, int],
    heads: tuple[int, ...] | None,
    rows: tuple[int, ...] | None,
) -> Tensor:
    """Evaluate `whole` run by run of consecutive rows, each a rectangle of the problem that it belongs to."""
    place = Part(*sizes, part.device, part.items, part.rows, part.cols)
    if rows is None:
        block = whole._block(place)
    else:
        pieces = []
        for run in _runs(rows[part.rows]):
            piece = whole._block(place._replace(rows=slice(run.start, run.stop)))
            pieces.append(piece.expand(*piece.shape[:2], len(run), piece.shape[3]))
        block = pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=2)
    return block if heads is None or block.shape[1] == 1 else block[:, list(heads)]


def _at(
    whole: Mask | Bias,
    pairs: Pairs,
    sizes: tuple[int, int, int, int],
    heads: tuple[int, ...] | None,
    rows: tuple[int, ...] | None,
) -> Tensor:
    query = pairs.query if rows is None else torch.tensor(rows, device=pairs.query.device)[pairs.query]
    values = whole._at(Pairs(*sizes, pairs.item, query, pairs.key))
    return values if heads is None or values.shape[0] == 1 else values[list(heads)]


def _runs(rows: Sequence[int]) -> list[range]:
    """Cut a list of rows into runs of consecutive ones."""
    breaks = [0, *(n for n, (a, b) in enumerate(pairwise(rows), 1) if b != a + 1), len(rows)]
    return [range(rows[a], rows[b - 1] + 1) for a, b in pairwise(breaks)]
