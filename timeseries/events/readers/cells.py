"""The cells of a column as numbers, words or nothing; what a cell is depends on it alone, never on its neighbours.

White space around a cell does not count. Of text, what Arrow reads as a number is a number, as are true and false in
any case (1 and 0, as in a column of booleans); NA, N/A, NULL, null, None and NaN in any case are nothing; the rest are
words.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

WORDS_FOR_NOTHING = ("NA", "N/A", "NaN", "nan", "NULL", "null", "None")
_NUMBER = r"(?i)^[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|inf(inity)?|nan(\(\w*\))?)$"
_TRUTH = ("false", "true")


def is_text(kind: pa.DataType) -> bool:
    """Whether a type holds text."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def without_words(column: pa.Array) -> pa.Array:
    """Text with the words for nothing as null; what is no text stays as it is."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if not is_text(column.type):
        return column
    nothing = pc.is_in(column, value_set=pa.array(["", *WORDS_FOR_NOTHING], column.type))
    return pc.if_else(nothing, pa.scalar(None, column.type), column)


def stripped(column: pa.Array) -> pa.Array:
    """Text without white space around it, and with null where nothing is left."""
    return without_words(pc.utf8_trim_whitespace(column))


def values(column: Any, where: Callable[[int], str], text: bool) -> tuple[np.ndarray, pa.Array | None]:
    """Numbers as float32 with NaN for none, and the words among them.

    Args:
        column: Numbers, booleans, decimals or text.
        where: Says where the n-th row of the column stands, for messages.
        text: Whether there may be words.

    Returns:
        The numbers, and an array of words with null where there is none; None where no cell is a word.

    Raises:
        ValueError: A number is infinite or too large for float32, a word is there that may not, or another type.

    Shapes:
        answer: (n,) float32, and n words
    """
    column, words = without_words(column), None
    if is_text(column.type):
        column, words = _parse(column)
        if words is not None and not text and words.null_count < len(words):
            row = int(words.is_valid().index(True).as_py())
            raise ValueError(f"{where(row)}: expected a number, got {words[row].as_py()!r}")
    kind = column.type
    if pa.types.is_boolean(kind):
        column = column.cast(pa.int8())
    elif not (is_number(kind) or pa.types.is_null(kind)):
        raise ValueError(f"{where(0)}: expected values as numbers or text, got {kind}")
    value = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    large = np.abs(value) > np.finfo(np.float32).max  # infinite ones too
    if large.any():
        row = int(large.argmax())
        raise ValueError(f"{where(row)}: expected a finite number (float32), got {value[row]:g}")
    return value.astype(np.float32), words


def is_number(kind: pa.DataType) -> bool:
    """Whether a type holds numbers, decimals among them."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _parse(column: pa.Array) -> tuple[pa.Array, pa.Array | None]:
    """Text as float64 and words; the whole column at once where all of it is numbers."""
    try:
        return column.cast(pa.float64()), None
    except pa.ArrowInvalid:
        column = stripped(column)
    none = pa.scalar(None, column.type)
    number = pc.match_substring_regex(column, _NUMBER)
    words = pc.if_else(number, none, column)
    truth = pc.index_in(pc.utf8_lower(words), value_set=pa.array(_TRUTH, column.type))
    found = pc.if_else(number, column, none).cast(pa.float64())
    return pc.coalesce(found, truth.cast(pa.float64())), pc.if_else(truth.is_valid(), none, words)
