"""Which keys and queries are real and which only fill up the batch."""

from __future__ import annotations

from functools import reduce
from operator import and_

import torch
from torch import Tensor

from ..symbols import (
    Mod,
    Pairs,
    Part,
    Sizes,
    check_range,
    combine,
    expect_shape,
    expect_tensor,
    node,
    read,
    values_are_visible,
)
from .base import And, Extent, Mask


@node
class Padding(Mask):
    """allowed(b, i, j) = key j of item b is real (and query i is, where `queries` is given).

    Padding is validity, not a pattern: it may only be conjoined (&). Rows that `queries` rules out come out exactly 0.

    Args:
        keys: Lengths or a keep mask of the keys.
        queries: The same for the queries; None leaves every query in. Give the very same tensor as `keys` in
            self-attention: it lets a backend see that both sides are padded alike.

    Shapes:
        keys: (B,) integer lengths, or (B, Lk) bool, True for real.
        queries: (B,) integer lengths, or (B, Lq) bool, True for real.

    Raises:
        TypeError: keys or queries is not a tensor, or has another dtype.
        ValueError: A shape or a length does not fit.
    """

    keys: Tensor
    queries: Tensor | None = None

    is_padding = True

    def __post_init__(self) -> None:
        _check_form("Padding.keys", self.keys)
        if self.queries is not None:
            _check_form("Padding.queries", self.queries)

    def keep_keys(self, Lk: int) -> Tensor:
        """Answer (B, Lk) bool: which keys are real."""
        return _keep(self.keys, Lk)

    def keep_queries(self, Lq: int) -> Tensor | None:
        """Answer (B, Lq) bool: which queries are real; None if all of them are."""
        return None if self.queries is None else _keep(self.queries, Lq)

    def check_sizes(self, B: int, H: int, Lq: int, Lk: int) -> None:
        _check_sizes("Padding.keys", self.keys, B, Lk, "Lk")
        if self.queries is not None:
            _check_sizes("Padding.queries", self.queries, B, Lq, "Lq")

    def block(self, part: Part) -> Tensor:
        allowed = self.keep_keys(part.Lk)[part.items, None, None, part.cols]
        queries = self.keep_queries(part.Lq)
        return allowed if queries is None else allowed & queries[part.items, None, part.rows, None]

    def at(self, pairs: Pairs) -> Tensor:
        allowed = self.keep_keys(pairs.Lk)[pairs.item, pairs.key]
        queries = self.keep_queries(pairs.Lq)
        return (allowed if queries is None else allowed & queries[pairs.item, pairs.query])[None]

    def extent(self, part: Part) -> Extent:
        keys = _kept(self.keys, part.items, part.cols)
        queries = Extent.EVERYTHING if self.queries is None else _kept(self.queries, part.items, part.rows)
        return Extent.of(Extent.NOTHING in (keys, queries), keys is Extent.EVERYTHING and queries is Extent.EVERYTHING)

    def elementwise(self, sizes: Sizes) -> Mod:
        keys, queries = read(self.keep_keys(sizes.Lk), "bj", sizes), self.keep_queries(sizes.Lq)
        return keys if queries is None else combine(and_, [keys, read(queries, "bi", sizes)])


def split(mask: Mask | None) -> tuple[Mask | None, Padding | None]:
    """Separate the padding, which says what is real, from the pattern, which says who sees whom.

    Several paddings are merged into the one that keeps what all of them keep.
    """
    if mask is None:
        return None, None
    parts = mask.conjuncts()
    pattern = tuple(part for part in parts if not isinstance(part, Padding))
    paddings = [part for part in parts if isinstance(part, Padding)]
    padding = reduce(merge, paddings) if paddings else None
    if len(pattern) > 1:
        return And(pattern), padding
    return (pattern[0] if pattern else None), padding


def merge(a: Padding, b: Padding) -> Padding:
    """Answer the padding that keeps what both keep."""
    if a is b:
        return a
    keys = _both(a.keys, b.keys)
    if a.queries is a.keys and b.queries is b.keys:
        return Padding(keys, keys)
    if a.queries is None or b.queries is None:
        return Padding(keys, b.queries if a.queries is None else a.queries)
    return Padding(keys, _both(a.queries, b.queries))


def _both(a: Tensor, b: Tensor) -> Tensor:
    if a is b:
        return a
    if a.ndim == 1 and b.ndim == 1:
        return torch.minimum(a, b)
    L = a.shape[1] if a.ndim == 2 else b.shape[1]
    return _keep(a, L) & _keep(b, L)


def _keep(form: Tensor, L: int) -> Tensor:
    return form if form.ndim == 2 else torch.arange(L, device=form.device) < form[:, None]


def _kept(form: Tensor, items: slice, places: slice) -> Extent:
    """Say which of these places are real, by the lengths; a keep mask is not looked at."""
    if form.ndim == 2 or not values_are_visible(form) or form[items].numel() == 0:
        return Extent.SOME
    lengths = form[items]
    return Extent.of(places.start >= int(lengths.max()), places.stop <= int(lengths.min()))


def _check_form(name: str, form: Tensor) -> None:
    expect_tensor(name, form)
    expect_shape(name, form, form.ndim in (1, 2), "integer lengths (B,) or a bool keep mask (B, L)")
    expect_tensor(name, form, integer=form.ndim == 1, boolean=form.ndim == 2)


def _check_sizes(name: str, form: Tensor, B: int, L: int, L_name: str) -> None:
    expected = (B,) if form.ndim == 1 else (B, L)
    expect_shape(name, form, tuple(form.shape) == expected, f"{expected} for B={B}, {L_name}={L}")
    if form.ndim == 1:
        check_range(name, form, 0, L + 1, "lengths")
