"""The two fences around padding: keys before the softmax, rows on the output.

    out_i = keep_i * f(keep * x)_i

Padded rows are set to exactly 0 by selection, never by multiplication (0 * NaN is NaN), so neither a value nor a
gradient passes through them.
"""

from typing import NamedTuple

from torch import Tensor

from ..masks import Mask, Padding, split


class Fences(NamedTuple):
    """The mask that attention gets, and the valid rows of queries and keys (None: all of them).

    Shapes:
        queries: (B, Lq), bool; keys: (B, Lk), bool.
    """

    mask: Mask | None
    queries: Tensor | None
    keys: Tensor | None

    def rows(self) -> Tensor | None:
        """The rows of a self-attended sequence that carry values: those that are a key or a query, (B, L)."""
        if self.keys is None or self.queries is None or self.keys is self.queries:
            return self.keys
        return self.keys | self.queries


def zero_rows(x: Tensor, keep: Tensor | None) -> Tensor:
    """Set the rows of x that are not kept to exactly 0: out_bl = x_bl if keep_bl else 0.

    Args:
        x: values by row; NaN and inf in the rows that are not kept vanish, from the gradients too.
        keep: True at the valid rows; None keeps all of them and answers x itself.

    Shapes:
        x: (B, L, ...); keep: (B, L); out: as x.
    """
    if keep is None:
        return x
    return x.masked_fill(~keep.reshape(keep.shape + (1,) * (x.dim() - keep.dim())), 0)


def valid_rows(mask: Mask | None, x: Tensor) -> Tensor | None:
    """The valid rows of a sequence whose mask is padding alone, as pooling and position layers take it.

    Args:
        mask: a `masks.Padding` whose keys are the rows of x, or None.
        x: the sequence.

    Shapes:
        x: (B, L, ...); out: (B, L), bool, or None where every row is valid.

    Raises:
        ValueError: the mask holds a pattern besides padding, or the batch differs.
    """
    if mask is None:
        return None
    pattern, padding = split(mask)
    if pattern is not None or padding is None:
        raise ValueError(
            f"mask: expected masks.Padding alone, as this layer looks at single rows; got {type(mask).__name__} with "
            f"the pattern {type(pattern).__name__}: pass masks.split(mask)[1]"
        )
    return _checked(padding.keep_keys(x.shape[1]), x, "keys")


def fences(mask: Mask | None, query: Tensor, key: Tensor) -> Fences:
    """Complete the padding of a mask and answer which rows are valid.

    In self-attention (key is the same tensor as query) padding that names no queries fences the rows of the padded keys
    too. Padding that does name its queries is left as it is.

    Args:
        mask: any mask or None.
        query: the input that the queries come from.
        key: the input that the keys come from; the same object for self-attention.

    Shapes:
        query: (B, Lq, ...); key: (B, Lk, ...).

    Raises:
        ValueError: the padding is of another batch or length.
    """
    if mask is None:
        return Fences(None, None, None)
    pattern, padding = split(mask)
    if padding is None:
        return Fences(mask, None, None)
    keys = _checked(padding.keep_keys(key.shape[1]), key, "keys")
    if query is not key:
        queries = padding.keep_queries(query.shape[1])
        return Fences(mask, None if queries is None else _checked(queries, query, "queries"), keys)
    if padding.queries is padding.keys:
        return Fences(mask, keys, keys)
    if padding.queries is not None:
        return Fences(mask, _checked(padding.keep_queries(query.shape[1]), query, "queries"), keys)
    completed = Padding(padding.keys, queries=padding.keys)  # one tensor, by which backends see that both sides agree
    return Fences(completed if pattern is None else pattern & completed, keys, keys)


def with_queries(mask: Mask | None, queries: Tensor | None, key: Tensor) -> Mask | None:
    """Add the valid rows of the queries to a mask for cross-attention, unless its padding names them itself.

    Args:
        mask: the mask between queries and the other sequence's keys, or None.
        queries: True at the valid rows of the queries; None leaves the mask as it is.
        key: the other sequence.

    Shapes:
        queries: (B, Lq), bool; key: (B, Lk, ...).
    """
    if queries is None:
        return mask
    pattern, padding = (None, None) if mask is None else split(mask)
    if padding is not None and padding.queries is not None:
        return mask
    if padding is None:
        keys = queries.new_ones((key.shape[0], key.shape[1]))
    else:
        keys = padding.keep_keys(key.shape[1])
    completed = Padding(keys, queries=queries)
    return completed if pattern is None else pattern & completed


def _checked(keep: Tensor | None, x: Tensor, name: str) -> Tensor:
    assert keep is not None
    if keep.shape != x.shape[:2]:
        raise ValueError(
            f"mask: expected Padding({name}) for (B, L) = {tuple(x.shape[:2])} rows, got one for {tuple(keep.shape)}"
        )
    return keep
