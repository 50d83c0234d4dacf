"""Products and reductions over listed pairs: (H, P) numbers in rows of any length, at the cost of the pairs.

Every head is a block of one block-diagonal sparse matrix, whose row (h, b, i) holds the pairs of query i. Products with
it read the rows of a table and make no (pairs x features) tensor. Each row is reduced by one thread and in order, so
that two runs on the CPU agree bit by bit.
"""

from __future__ import annotations

import functools
import warnings

import torch
import torch.nn.functional as F
from torch import Tensor

from ...symbols import Pairs


class Ragged:
    """The pairs of one problem, sorted by query, with the index tensors that the products need.

    Tables hold a row per head and node: (H * R, D) for queries, R = B * Lq, and (Hk * C, D) for keys, C = B * Lk.
    Head h reads the keys of head h // groups.
    """

    def __init__(self, pairs: Pairs, groups: int) -> None:
        self.H, self.groups = pairs.H, groups
        self.R, self.C = pairs.B * pairs.Lq, pairs.B * pairs.Lk
        self.P = pairs.key.numel()
        self.row, self.col = pairs.item * pairs.Lq + pairs.query, pairs.item * pairs.Lk + pairs.key
        largest = max(self.H * self.P, self.H * self.R, self.H * self.C)
        self.dtype = torch.int32 if largest < 2**31 else torch.int64
        self.bounds = self._bounds(self.row, self.R, self.H)
        self.cols = (self._heads() // groups * self.C + self.col.to(self.dtype)).flatten()

    def _heads(self) -> Tensor:
        return torch.arange(self.H, dtype=self.dtype, device=self.col.device)[:, None]

    def _bounds(self, row: Tensor, rows: int, heads: int, each: int = 1) -> Tensor:
        """Answer where each row of each head begins, and where the last one ends, if a pair has `each` entries.

        Shapes:
            row: (P,), the row of each pair.
            Answer: (heads * rows + 1,).
        """
        ends = torch.bincount(row, minlength=rows).cumsum(0)
        before = self.P * torch.arange(heads, device=row.device)[:, None]
        return F.pad((each * (before + ends)).flatten(), (1, 0)).to(self.dtype)

    def dots(self, rows: Tensor, keys: Tensor, factor: float = 1.0) -> Tensor:
        """Answer factor * (row of the query . row of the key), (H, P)."""
        _allow_csr()
        shape = (self.H * self.R, self.H // self.groups * self.C)
        zeros = rows.new_zeros(self.H * self.P)
        matrix = torch.sparse_csr_tensor(self.bounds, self.cols, zeros, shape, check_invariants=False)
        if self.P:
            torch.sparse.sampled_addmm(matrix, rows, keys.mT, beta=0.0, alpha=factor, out=matrix)
        return matrix.values().view(self.H, self.P)

    def mix(self, weights: Tensor, keys: Tensor) -> Tensor:
        """Answer for each query the sum of weight * row of the key, (H * R, D)."""
        return _weighted_sums(self.cols, self.bounds, weights.flatten(), keys)

    @functools.cached_property
    def _by_key(self) -> tuple[Tensor, Tensor, Tensor]:
        """Sort by key: where each number stands in (H * P), the query row that it meets, and where each key begins.

        The heads of a group stand side by side, so that their sums are one.
        """
        col, order = self.col.to(self.dtype).sort(stable=True)
        heads = self._heads().view(-1, 1, self.groups)
        place = (heads * self.P + order.to(self.dtype)[:, None]).flatten()
        query = (heads * self.R + self.row.to(self.dtype).index_select(0, order)[:, None]).flatten()
        return place, query, self._bounds(col, self.C, self.H // self.groups, self.groups)

    def mix_back(self, weights: Tensor, rows: Tensor) -> Tensor:
        """Answer for each key the sum of weight * row of the query, (Hk * C, D)."""
        place, query, bounds = self._by_key
        return _weighted_sums(query, bounds, weights.flatten().index_select(0, place), rows)

    def spread(self, rows: Tensor) -> Tensor:
        """Give each pair the number of its query: (H, R) to (H, P)."""
        return rows.index_select(1, self.row)

    def sum(self, numbers: Tensor) -> Tensor:
        """Sum over the pairs of each query, (H, P) to (H, R), in float64: rows may be long; 0 where there are none."""
        return self._reduce(numbers.double(), "sum", 0.0).to(numbers.dtype)

    def amax(self, numbers: Tensor) -> Tensor:
        """Answer the greatest number of each query, (H, P) to (H, R); -inf where it has none."""
        return self._reduce(numbers, "max", -torch.inf)

    def _reduce(self, numbers: Tensor, how: str, initial: float) -> Tensor:
        flat = numbers.reshape(-1)
        return torch.segment_reduce(flat, how, offsets=self.bounds, initial=initial, unsafe=True).view(self.H, self.R)

    def any(self, condition: Tensor) -> Tensor:
        """Say of each query whether it has a pair of which the condition holds, (H or 1, P) to (H or 1, R)."""
        found = torch.zeros(condition.shape[0], self.R + 1, dtype=torch.bool, device=condition.device)
        return found.scatter_(1, torch.where(condition, self.row, self.R), True)[:, : self.R]


def _weighted_sums(index: Tensor, bounds: Tensor, weights: Tensor, table: Tensor) -> Tensor:
    """Answer for each bag of the index the sum of weight * table[index]."""
    if not index.numel() or not table.numel():
        return table.new_zeros(bounds.numel() - 1, table.shape[1])
    table = table.detach()  # of a table that requires grad, torch would also say which bag each entry falls into
    return F.embedding_bag(index, table, bounds, mode="sum", per_sample_weights=weights, include_last_offset=True)


@functools.cache
def _allow_csr() -> None:
    """Make a first sparse tensor, so that torch's one warning about its CSR layout is over."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        torch.sparse_csr_tensor(
            torch.zeros(2, dtype=torch.int64), torch.zeros(0, dtype=torch.int64), torch.zeros(0), (1, 1)
        )
