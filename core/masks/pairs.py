"""Masks that list the allowed pairs: nearest neighbours and graph edges."""

from __future__ import annotations

import torch
from torch import Tensor

from ..symbols.part import Pairs, Part
from ..symbols.symbolic import check_range, expect_shape, expect_tensor, node
from .base import Mask
from .nearest import Metric, nearest, norm


class PairMask(Mask):
    """A mask that lists its pairs, so that `need=("pair_weights",)` can answer one weight per head and pair."""

    @property
    def per_item(self) -> bool:
        """Whether the items of the batch have lists of their own; else one list holds for all of them."""
        raise TypeError(f"{type(self).__name__} must define per_item")

    def pair_numbers(self, B: int, Lq: int, Lk: int) -> Tensor:
        """Answer the number (b * Lq + i) * Lk + j of each place in the list; negative where it is unused.

        Shapes:
            Answer: int64; its axes are those of pair_weights without the heads.
        """
        raise TypeError(f"{type(self).__name__} must define pair_numbers")

    def gather_listed(self, values: Tensor, numbers: Tensor, B: int, Lq: int, Lk: int) -> Tensor:
        """Pick the listed pairs out of values at pairs with ascending numbers; those not there answer 0.

        Shapes:
            values: (H, P).
            numbers: (P,).
            Answer: as pair_weights.
        """
        raise TypeError(f"{type(self).__name__} must define gather_listed")

    def gather_pairs(self, dense: Tensor) -> Tensor:
        """Pick the listed pairs out of a dense (B, H, Lq, Lk) tensor; unused places answer 0."""
        raise TypeError(f"{type(self).__name__} must define gather_pairs")


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

    def _validate(self, B: int, H: int, Lq: int, Lk: int) -> None:
        expected = (Lq,) if self.index.ndim == 2 else (B, Lq)
        expect_shape(
            "Neighbours.index",
            self.index,
            tuple(self.index.shape[:-1]) == expected,
            f"({Lq}, k) or ({B}, {Lq}, k)",
        )
        check_range("Neighbours.index", self.index, -1, Lk, "keys (or -1, unused)")

    def _block(self, part: Part) -> Tensor:
        index = self.index if self.index.ndim == 3 else self.index[None]
        index, inside = within(part.of_items(index)[:, part.rows], part.cols)
        unused = part.n_cols  # one column more, which takes what lies outside the part
        block = torch.zeros(*index.shape[:-1], unused + 1, dtype=torch.bool, device=part.device)
        return block.scatter(-1, torch.where(inside, index, unused), True)[..., :unused][:, None]

    def _at(self, pairs: Pairs) -> Tensor:
        index = self.index if self.index.ndim == 3 else self.index[None]
        return (pairs.of_items(index, pairs.query) == pairs.key[..., None]).any(dim=-1)[None]

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
        return _at_numbers(values, numbers, self.pair_numbers(B, Lq, Lk)).transpose(0, 1)

    def gather_pairs(self, dense: Tensor) -> Tensor:
        """Pick the listed pairs out of (B, H, Lq, Lk); the answer is (B, H, Lq, k)."""
        index = self.index if self.index.ndim == 3 else self.index[None]
        index = index[:, None].expand(*dense.shape[:3], -1)
        return torch.where(index < 0, 0.0, dense.gather(-1, index.clamp_min(0)))


@node
class Edges(PairMask):
    """allowed(b, h, i, j) = there is an edge from key j to query i: a message flows from row 0 to row 1.

    Args:
        edge_index: Row 0 the key (PyG's source), row 1 the query (PyG's target). An edge listed twice allows its pair
            as one listed once does.
        batch: The item that each edge belongs to; None puts every edge in every item.
        head: The query head that each edge belongs to; None gives every edge to every head.

    Shapes:
        edge_index: (2, E) integer.
        batch: (E,) integer.
        head: (E,) integer.
        pair_weights: (B, H, E), or (H, E) where `batch` is given; 0 where the edge belongs to another head.

    Raises:
        TypeError: A field is not an integer tensor.
        ValueError: A shape or an index does not fit.
    """

    edge_index: Tensor
    batch: Tensor | None = None
    head: Tensor | None = None

    def __post_init__(self) -> None:
        expect_tensor("Edges.edge_index", self.edge_index, integer=True)
        check_edges("Edges", self.edge_index, batch=self.batch, head=self.head)

    def _validate(self, B: int, H: int, Lq: int, Lk: int) -> None:
        check_edge_range("Edges", self.edge_index, self.batch, B, Lq, Lk)
        if self.head is not None:
            check_range("Edges.head", self.head, 0, H, "heads")

    def _spread(self, part: Part) -> tuple[int, int]:
        items = 1 if self.batch is None else part.items.stop - part.items.start
        return items, 1 if self.head is None else part.H

    def _block(self, part: Part) -> Tensor:
        place, inside, shape = edge_places(self.edge_index, self.batch, part)
        head = torch.zeros_like(place[0]) if self.head is None else self.head
        block = torch.zeros(
            shape[0], 1 if self.head is None else part.H, *shape[1:], dtype=torch.bool, device=part.device
        )
        item, query, key = place
        return block.index_put((item, head, query, key), inside)[:, :, :-1, :-1]

    def _at(self, pairs: Pairs) -> Tensor:
        edges, own = pairs.codes(self.edge_index, self.batch)
        if self.head is not None:
            heads = torch.arange(pairs.H, device=own.device).reshape(-1, *[1] * own.ndim)
            edges, own = edges * pairs.H + self.head, own * pairs.H + heads
        else:
            own = own[None]
        _, hit = look_up(torch.unique(edges), own)
        return hit

    @property
    def per_item(self) -> bool:
        """Whether the items of the batch have lists of their own; else one list holds for all of them."""
        return self.batch is not None

    def pair_numbers(self, B: int, Lq: int, Lk: int) -> Tensor:
        """Answer the number of each edge, (B, E), or (E,) where `batch` is given."""
        key, query = self.edge_index.long()
        item = torch.arange(B, device=key.device)[:, None] if self.batch is None else self.batch.long()
        numbers: Tensor = (item * Lq + query) * Lk + key
        return numbers

    def gather_listed(self, values: Tensor, numbers: Tensor, B: int, Lq: int, Lk: int) -> Tensor:
        """Pick the edges out of (H, P); the answer is (B, H, E), or (H, E) where `batch` is given."""
        picked = _at_numbers(values, numbers, self.pair_numbers(B, Lq, Lk))
        return self._of_own_head(picked if self.batch is not None else picked.transpose(0, 1))

    def gather_pairs(self, dense: Tensor) -> Tensor:
        """Pick the edges out of (B, H, Lq, Lk); the answer is (B, H, E), or (H, E) where `batch` is given."""
        key, query = self.edge_index
        return self._of_own_head(dense[:, :, query, key] if self.batch is None else dense[self.batch, :, query, key].T)

    def _of_own_head(self, picked: Tensor) -> Tensor:
        """Put 0 where an edge belongs to another head, in (..., H, E)."""
        if self.head is None:
            return picked
        own = self.head == torch.arange(picked.shape[-2], device=picked.device)[:, None]
        return torch.where(own, picked, 0.0)


def _at_numbers(values: Tensor, numbers: Tensor, wanted: Tensor) -> Tensor:
    """Pick the values (H, P) whose numbers are wanted, (H, *S); 0 where a number is not there."""
    if numbers.numel() == 0:
        return values.new_zeros(values.shape[0], *wanted.shape)
    place, hit = look_up(numbers, wanted)
    return torch.where(hit, values.index_select(1, place.flatten()).view(-1, *place.shape), 0.0)


def check_edges(owner: str, edge_index: Tensor, **per_edge: Tensor | None) -> None:
    """Raise unless edge_index is (2, E) and each of `per_edge` is an integer (E,) or None."""
    expect_shape(
        f"{owner}.edge_index",
        edge_index,
        edge_index.ndim == 2 and edge_index.shape[0] == 2,
        "(2, E): keys, then queries",
    )
    for name, value in per_edge.items():
        if value is not None:
            expect_tensor(f"{owner}.{name}", value, integer=True)
            expect_shape(
                f"{owner}.{name}",
                value,
                tuple(value.shape) == (edge_index.shape[1],),
                f"(E,) = ({edge_index.shape[1]},)",
            )


def edge_places(
    edge_index: Tensor, batch: Tensor | None, part: Part
) -> tuple[tuple[Tensor, ...], Tensor, tuple[int, ...]]:
    """Say where each edge falls in a part.

    Edges outside the part go to one more row and column, to be cut off, so that no shape depends on values.

    Shapes:
        Answer: the indices (item, query, key), (E,) each; which edges lie inside, (E,) bool; the shape that holds them,
            (items or 1, rows + 1, cols + 1).
    """
    (key, key_inside), (query, query_inside) = within(edge_index[0], part.cols), within(edge_index[1], part.rows)
    inside = key_inside & query_inside
    item, items = torch.zeros_like(key), 1
    if batch is not None:
        items = part.items.stop - part.items.start
        item = batch - part.items.start
        inside = inside & (item >= 0) & (item < items)
        item = torch.where(inside, item, 0)
    place = (item, torch.where(inside, query, part.n_rows), torch.where(inside, key, part.n_cols))
    return place, inside, (items, part.n_rows + 1, part.n_cols + 1)


def within(index: Tensor, cut: slice) -> tuple[Tensor, Tensor]:
    """Say where an index falls in a slice, and whether it falls into it at all."""
    step = cut.step or 1
    place = index - cut.start
    inside = (index >= cut.start) & (index < cut.stop)
    return (place, inside) if step == 1 else (place // step, inside & (place % step == 0))


def look_up(known: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Say where each wanted number stands among the known ones, which ascend, and whether it is there at all."""
    if known.numel() == 0:
        return torch.zeros_like(wanted), torch.zeros_like(wanted, dtype=torch.bool)
    place = torch.searchsorted(known, wanted.contiguous()).clamp_max(known.numel() - 1)
    return place, known[place] == wanted


def check_edge_range(owner: str, edge_index: Tensor, batch: Tensor | None, B: int, Lq: int, Lk: int) -> None:
    """Raise ValueError unless every edge leads from a key to a query of an item that exists."""
    check_range(f"{owner}.edge_index[0]", edge_index[0], 0, Lk, "keys")
    check_range(f"{owner}.edge_index[1]", edge_index[1], 0, Lq, "queries")
    if batch is not None:
        check_range(f"{owner}.batch", batch, 0, B, "items")
