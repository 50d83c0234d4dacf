"""The mask of nearest neighbours, listed query by query."""

from __future__ import annotations

import torch
from torch import Tensor

from ..symbols import Pairs, Part, check_range, expect_shape, expect_tensor, node, within
from .listing import Listing, chosen
from .nearest import Metric, nearest, norm
from .pairs import PairMask, at_numbers


@node
class Neighbours(PairMask):
    """allowed(b, i, j) = j is in index[b, i]. Directed: j may be a neighbour of i and not the reverse.

    Args:
        index: The keys that each query sees; -1 is an unused place.

    Shapes:
        index: (Lq, k) or (B, Lq, k) integer.
        pair_weights: (B, H, Lq, k), 0 at unused places.

    Raises:
        TypeError: index is not an integer tensor.
        ValueError: A shape or an index does not fit.
    """

    index: Tensor

    def __post_init__(self) -> None:
        expect_tensor("Neighbours.index", self.index, integer=True)
        expect_shape("Neighbours.index", self.index, self.index.ndim in (2, 3), "(Lq, k) or (B, Lq, k)")

    @classmethod
    def from_positions(
        cls,
        x: Tensor,
        k: int,
        include_self: bool = True,
        *,
        metric: float | Metric = 2.0,
        keep: Tensor | None = None,
        block: int = 1024,
    ) -> Neighbours:
        """Make the mask of the k nearest points in a metric; ties go to the lower index.

        Args:
            x: Positions; no gradient flows through the choice of neighbours.
            k: Number of neighbours, the point itself included if `include_self`.
            include_self: Whether a point is its own nearest neighbour, or never one.
            metric: The p of a p-norm (2 is Euclidean, 1 Manhattan, math.inf the greatest difference), or a function
                that answers the distances of a block of points from all of them. It is given x as it is, integers
                too; only the order of the distances counts.
            keep: Which points are real. The others are nobody's neighbours and have none; the same goes for points
                with a position that is not finite, which only see themselves.
            block: Queries per block of the distance computation, which bounds the memory to block * L distances.

        Shapes:
            x: (L, n) or (B, L, n).
            metric: (rows, n), (L, n) -> (rows, L), or each with B before it.
            keep: (L,) or (B, L) bool, as x.

        Raises:
            ValueError: k is not in 1 ... L (or L - 1 without self), p is negative, or a shape does not fit.
        """
        expect_tensor("x", x)
        expect_shape("x", x, x.ndim in (2, 3), "(L, n) or (B, L, n)")
        points = x.detach()
        distances = metric if callable(metric) else norm(metric)
        found = []
        for start in range(0, max(1, x.shape[-2]), block):
            rows = points[..., start : start + block, :]
            near = distances(rows, points)
            expected = (*rows.shape[:-1], x.shape[-2])
            expect_shape("metric(rows, x)", near, tuple(near.shape) == expected, f"{expected}")
            found.append(nearest(near, k, include_self, keep, start))
        return cls(torch.cat(found, dim=-2))

    @classmethod
    def from_distances(
        cls, distances: Tensor, k: int, include_self: bool = True, *, keep: Tensor | None = None
    ) -> Neighbours:
        """Make the mask of the k nearest points from their distances; ties go to the lower index.

        Args:
            distances: The distance of each point (row) from each (column); it need not be symmetric, and NaN and
                inf are never near.
            k: Number of neighbours, the point itself included if `include_self`.
            include_self: Whether a point is its own nearest neighbour, whatever its distance, or never one.
            keep: Which points are real. The others are nobody's neighbours and have none.

        Shapes:
            distances: (L, L) or (B, L, L).
            keep: (L,) or (B, L) bool, as distances.

        Raises:
            ValueError: k is not in 1 ... L (or L - 1 without self), or a shape does not fit.
        """
        expect_tensor("distances", distances)
        square = distances.ndim in (2, 3) and distances.shape[-1] == distances.shape[-2]
        expect_shape("distances", distances, square, "(L, L) or (B, L, L)")
        return cls(nearest(distances.detach(), k, include_self, keep, 0))

    def check_sizes(self, B: int, H: int, Lq: int, Lk: int) -> None:
        expected = (Lq,) if self.index.ndim == 2 else (B, Lq)
        expect_shape(
            "Neighbours.index",
            self.index,
            tuple(self.index.shape[:-1]) == expected,
            f"({Lq}, k) or ({B}, {Lq}, k)",
        )
        check_range("Neighbours.index", self.index, -1, Lk, "keys (or -1, unused)")

    def block(self, part: Part) -> Tensor:
        index = self.index if self.index.ndim == 3 else self.index[None]
        index, inside = within(part.of_items(index)[:, part.rows], part.cols)
        unused = part.n_cols  # one column more, which takes what lies outside the part
        block = torch.zeros(*index.shape[:-1], unused + 1, dtype=torch.bool, device=part.device)
        return block.scatter(-1, torch.where(inside, index, unused), True)[..., :unused][:, None]

    def at(self, pairs: Pairs) -> Tensor:
        index = self.index if self.index.ndim == 3 else self.index[None]
        return (pairs.of_items(index, pairs.query) == pairs.key[..., None]).any(dim=-1)[None]

    def listing(self, B: int, Lq: int, Lk: int) -> Listing:
        return Listing((self,), (), self.index.numel() * (1 if self.per_item else B))

    def listed(self, Lq: int, Lk: int, device: torch.device) -> Tensor:
        """Answer the numbers of the pairs, of all items or of item 0 for all."""
        numbers = self.pair_numbers(self.index.shape[0] if self.per_item else 1, Lq, Lk)
        return chosen(numbers, numbers >= 0)

    @property
    def per_item(self) -> bool:
        """Whether the items of the batch have lists of their own; else one list holds for all of them."""
        return self.index.ndim == 3

    def pair_numbers(self, B: int, Lq: int, Lk: int) -> Tensor:
        """Answer the number of each place in the list, (B, Lq, k); negative where it is unused."""
        rows = torch.arange(B * Lq, device=self.index.device).view(B, Lq, 1)
        return torch.where(self.index < 0, -1, rows * Lk + self.index)

    def gather_listed(self, values: Tensor, numbers: Tensor, B: int, Lq: int, Lk: int) -> Tensor:
        """Pick the listed pairs out of (H, P); the answer is (B, H, Lq, k)."""
        return at_numbers(values, numbers, self.pair_numbers(B, Lq, Lk)).transpose(0, 1)

    def gather_pairs(self, dense: Tensor) -> Tensor:
        """Pick the listed pairs out of (B, H, Lq, Lk); the answer is (B, H, Lq, k)."""
        index = self.index if self.index.ndim == 3 else self.index[None]
        index = index[:, None].expand(*dense.shape[:3], -1)
        return torch.where(index < 0, 0.0, dense.gather(-1, index.clamp_min(0)))
