"""What each head does, and how much heads repeat each other: entropy, specialisation, redundancy."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ...biases import Bias
from ...scores import Dot
from ...symbols.part import Pairs, Part
from ...symbols.symbolic import node
from ..capture.cut import altered, solve
from ..capture.records import Capture, Record
from .tables import table

CELLS = 1 << 21  # weights held at a time


class Head(NamedTuple):
    """One head: the name of its module and its number there, from 0."""

    layer: str
    number: int

    def __str__(self) -> str:
        return f"{self.layer or 'model'}:{self.number}"


@dataclass(frozen=True)
class HeadProfile:
    """What each head does on average over the queries; printing it shows a table.

    Attributes:
        heads: The heads, in the order of the model.
        entropy: Mean entropy of the weights, nats.
        relative_entropy: Mean of the entropy over its largest value, the ln of the number of keys that the query may
            see; 1 is uniform, 0 looks at one key. Queries that see one key only are left out.
        specialisation: Mean Kullback-Leibler divergence of the head's weights from the mean over the heads of its
            layer, nats, from 0 (does what all do) to ln of the number of heads. Its mean over a layer is the layer's
            generalised Jensen-Shannon divergence.
        rows: Number of queries, over the batch, that each head was averaged over.

    References:
        Lin: Divergence measures based on the Shannon entropy. IEEE Transactions on Information Theory 1991, section V.
    """

    heads: tuple[Head, ...]
    entropy: Tensor
    relative_entropy: Tensor
    specialisation: Tensor
    rows: int

    def __str__(self) -> str:
        columns = zip(self.heads, self.entropy, self.relative_entropy, self.specialisation, strict=True)
        rows = [(str(head), f"{e:.3f}", f"{r:.3f}", f"{s:.3f}") for head, e, r, s in columns]
        return table(("head", "entropy (nats)", "of the largest", "specialisation (nats)"), rows)


@dataclass(frozen=True)
class Redundancy:
    """How alike the heads are; printing it shows the pairs that are most alike.

    Attributes:
        heads: The heads, in the order of the model.
        divergence: Mean Jensen-Shannon divergence of each pair over the queries, nats, (n, n); 0 is the same, ln 2
            never look at one key.
        effective: Effective number of heads, from 1 (all alike) to n (all disjoint).
    """

    heads: tuple[Head, ...]
    divergence: Tensor
    effective: float

    @property
    def similarity(self) -> Tensor:
        """1 - divergence / ln 2: 1 on the diagonal, 0 for heads that share no key."""
        return 1.0 - self.divergence / math.log(2)

    def closest(self, count: int = 10) -> list[tuple[Head, Head, float]]:
        """Answer the pairs that are most alike, with their divergence in nats."""
        i, j = torch.triu_indices(len(self.heads), len(self.heads), offset=1)
        order = self.divergence[i, j].argsort()[:count].tolist()
        return [(self.heads[int(i[n])], self.heads[int(j[n])], float(self.divergence[i[n], j[n]])) for n in order]

    def __str__(self) -> str:
        rows = [(str(a), str(b), f"{divergence:.4f}") for a, b, divergence in self.closest()]
        shown = table(("head", "head", "JS divergence (nats)"), rows)
        return f"{len(self.heads)} heads, effectively {self.effective:.2f}; most alike:\n{shown}"


def head_profile(seen: Capture) -> HeadProfile:
    """Measure each head's entropy and specialisation.

        H_i = -sum_j w_ij ln w_ij,   D_i = sum_j w_ij ln(w_ij / mean_h w_hij)

    Rows that see no key are left out.

    Args:
        seen: A capture of "inputs" or of all "weights"; with inputs the weights are computed some rows at a time.

    Raises:
        ValueError: Neither was captured, or nothing was.
    """
    names = _layers(seen)
    sums: dict[str, Tensor] = {}
    rows = 0
    for record in seen.records:
        total = sums.setdefault(record.layer, torch.zeros(5, _heads(record), dtype=torch.float64))
        visible = _visible(record)
        for block in _blocks(record):
            weights = record.weights_of(block).to(_wide(record))
            alive = weights.sum(dim=-1) > 0
            entropy = torch.special.entr(weights).sum(dim=-1)
            mean = weights.mean(dim=1, keepdim=True)
            specialisation = (torch.xlogy(weights, weights) - torch.xlogy(weights, mean)).sum(dim=-1)
            free = alive & (visible[:, :, block.start : block.stop] > math.log(1.5))
            relative = entropy / torch.where(free, visible[:, :, block.start : block.stop], 1.0)
            for place, (values, counted) in enumerate(
                ((entropy, alive), (specialisation, alive), (relative, free), (alive, alive), (free, free))
            ):
                total[place] += torch.where(counted, values.double(), 0.0).sum(dim=(0, 2)).cpu()
        rows = max(rows, int(total[3].max()))
    merged = torch.cat([sums[name] for name in names], dim=1)
    return HeadProfile(
        heads=_named(seen, names),
        entropy=merged[0] / merged[3],
        relative_entropy=merged[2] / merged[4],
        specialisation=(merged[1] / merged[3]).clamp_min(0.0),
        rows=rows,
    )


def head_redundancy(seen: Capture) -> Redundancy:
    """Compare every pair of heads, of all layers, by the Jensen-Shannon divergence of their weights.

        JS(p, q) = H((p + q) / 2) - (H(p) + H(q)) / 2,   averaged over queries and batch

    Weights are held for some rows at a time, and nothing of the size n x n x L x L. Queries that either head of a pair
    cannot use (it sees no key) are left out.

    Args:
        seen: A capture of "inputs" or of all "weights". Its layers must attend over the same queries and keys; choose
            them by `layers=` where they do not.

    Raises:
        ValueError: Layers differ in their numbers of queries or keys, or a layer is called twice in a forward pass.

    References:
        Clark, Khandelwal, Levy, Manning: What does BERT look at? BlackboxNLP 2019, section 6.
    """
    names = _layers(seen)
    heads = _named(seen, names)
    n = len(heads)
    total = torch.zeros(n, n, dtype=torch.float64)
    count = torch.zeros(n, n, dtype=torch.float64)
    for records in _passes(seen, names):
        for block in _blocks(records[0], copies=4 * len(records)):
            weights = torch.cat([record.weights_of(block).to(_wide(record)) for record in records], dim=1)
            alive = (weights.sum(dim=-1) > 0).double()
            entropy = torch.special.entr(weights).sum(dim=-1)
            for first in range(n):
                mixed = (weights[:, first, None] + weights[:, first:]) / 2
                js = torch.special.entr(mixed).sum(dim=-1) - (entropy[:, first, None] + entropy[:, first:]) / 2
                both = alive[:, first, None] * alive[:, first:]
                total[first, first:] += (js.double() * both).sum(dim=(0, 2)).cpu()
                count[first, first:] += both.sum(dim=(0, 2)).cpu()
    divergence = (total / count).triu(1).clamp_min(0.0)
    divergence = divergence + divergence.mT
    return Redundancy(heads, divergence, effective_heads(1.0 - divergence / math.log(2)))


def effective_heads(similarity: Tensor) -> float:
    """The effective number of heads: the exponential of the entropy of the eigenvalues of similarity / n.

        exp(-sum_i l_i ln l_i),  l = eigenvalues of K / n,  K_ii = 1

    n heads that share nothing count n, n copies of one count 1, and c groups of equal size count c. 1 - JS / ln 2 is a
    positive semidefinite K, so that the eigenvalues are a distribution.

    Args:
        similarity: K, positive semidefinite, with ones on the diagonal.

    Shapes:
        similarity: (n, n).

    Raises:
        ValueError: It is not square and symmetric, its diagonal is not 1, or an eigenvalue is clearly negative.

    References:
        Friedman, Dieng: The Vendi score. TMLR 2023, definition 3.1. Martins et al.: Nonextensive information theoretic
        kernels on measures. JMLR 2009, for the Jensen-Shannon kernel.
    """
    if similarity.ndim != 2 or similarity.shape[0] != similarity.shape[1] or similarity.shape[0] == 0:
        raise ValueError(f"similarity: expected (n, n) with n of at least 1, got {tuple(similarity.shape)}")
    K = similarity.double()
    if not torch.allclose(K, K.mT, atol=1e-6) or not torch.allclose(K.diagonal(), K.new_ones(()), atol=1e-6):
        raise ValueError("similarity: expected a symmetric matrix with ones on the diagonal, got another")
    values = torch.linalg.eigvalsh(K / K.shape[0])
    if float(values.min()) < -1e-6:
        raise ValueError(
            f"similarity: expected a positive semidefinite matrix, got one whose least eigenvalue is {values.min()}"
        )
    values = values.clamp_min(0.0)
    values = values / values.sum()
    return float(torch.special.entr(values).sum().exp())


def _layers(seen: Capture) -> list[str]:
    names = list(seen.layers)
    for record in seen.records:
        record.require_weights()
    if not names:
        raise ValueError("seen: expected a capture in which the model was called, got one without a record")
    return names


def _heads(record: Record) -> int:
    return record.sizes[1]


def _named(seen: Capture, names: Sequence[str]) -> tuple[Head, ...]:
    return tuple(Head(name, index) for name in names for index in range(_heads(seen[name])))


def _wide(record: Record) -> torch.dtype:
    """The dtype to compute in, at least float32."""
    held = record.weights if record.inputs is None else record.inputs.q
    return torch.float64 if held is not None and held.dtype == torch.float64 else torch.float32


def _blocks(record: Record, copies: int = 4) -> list[range]:
    B, H, Lq, Lk = record.sizes
    step = max(1, CELLS // max(1, B * H * Lk * copies))
    return [range(i, min(i + step, Lq)) for i in range(0, Lq, step)]


def _passes(seen: Capture, names: Sequence[str]) -> Iterator[tuple[Record, ...]]:
    """Go through the forward passes, in each the records in the order of the names."""
    for records in seen.passes:
        if sorted(record.layer for record in records) != sorted(names):
            raise ValueError(
                f"seen: expected each of {len(names)} layers once in each forward pass, got "
                f"{[record.layer for record in records]}"
            )
        by_name = {record.layer: record for record in records}
        ordered = tuple(by_name[name] for name in names)
        shapes = {(record.sizes[2], record.sizes[3]) for record in ordered}
        if len(shapes) > 1:
            found = ", ".join(f"{record.layer} {record.sizes[2:]}" for record in ordered)
            raise ValueError(f"seen: expected layers of as many queries and keys (choose by layers=), got {found}")
        yield ordered


def _visible(record: Record) -> Tensor:
    """Answer ln of the number of keys that each query may see, (B, H, Lq); -inf where it is none.

    Without the inputs, those are the keys of a weight above 0.
    """
    p = record.inputs
    if p is None:
        assert record.weights is not None
        return (record.weights > 0).sum(dim=-1).double().log()
    bias = None if p.bias is None else _Closed(p.bias)
    equal = altered(p, q=torch.zeros_like(p.q), v=p.v[..., :1], bias=bias, score=Dot(), scale=1.0, temperature=1.0)
    with torch.no_grad():
        lse = solve(equal, ("lse",)).lse
    assert lse is not None
    return lse


@node
class _Closed(Bias):
    """What a bias masks, and nothing else of it: -inf where it is -inf, 0 elsewhere."""

    bias: Bias

    def _block(self, part: Part) -> Tensor:
        return torch.where(torch.isneginf(self.bias._block(part)), -torch.inf, 0.0)

    def _at(self, pairs: Pairs) -> Tensor:
        return torch.where(torch.isneginf(self.bias._at(pairs)), -torch.inf, 0.0)
