"""From rows without a time to static values: one column per code, or per code and word.

A column is one of numbers if any of its rows has one, else a flag: 1 for who has such a row, 0 for who has other static
rows only. Of who has no static row nothing is known: NaN in every column, as for a number that is not there.
"""

from collections import Counter
from typing import NamedTuple

import numpy as np

from .records import NONE, EventRecords


class StaticValues(NamedTuple):
    """Static columns, sorted by name.

    Args:
        values: NaN where missing.
        names: The code, or "<code>=<word>".
        flags: Those of the names that are flags.
        several: code -> subjects with more than one number or word under it.

    Shapes:
        values (S, K) float32
    """

    values: np.ndarray
    names: tuple[str, ...]
    flags: tuple[str, ...]
    several: dict[str, int]


def static_values(rows: EventRecords) -> StaticValues:
    """Static columns of rows whose times say nothing.

    A row without a number and a word says nothing where its column is one of numbers. Of several numbers of one subject
    in one column the first stays.

    Args:
        rows: In the order of the file, subject by subject.
    """
    owner, has = rows.owners(), ~np.isnan(rows.value)
    width = len(rows.texts) + 1
    pairs, which = np.unique(rows.code.astype(np.int64) * width + rows.text + 1, return_inverse=True)
    keys = [_name(rows, pair // width, pair % width - 1) for pair in pairs.tolist()]
    names = tuple(sorted(set(keys)))
    place = {name: k for k, name in enumerate(names)}
    column = np.array([place[key] for key in keys], dtype=np.int64)[which]
    flag = np.ones(len(names), dtype=bool)
    flag[column[has]] = False
    says = has | flag[column]
    known = np.zeros(len(rows.subjects), dtype=bool)
    known[owner[says]] = True
    values = np.full((len(known), len(names)), np.nan, dtype=np.float32)
    values[np.ix_(known, flag)] = 0
    values[owner[says & ~has], column[says & ~has]] = 1
    numbers = np.flatnonzero(has)[::-1]  # backwards, so that the first number stays
    values[owner[numbers], column[numbers]] = rows.value[numbers]
    flags = tuple(name for name, is_flag in zip(names, flag, strict=True) if is_flag)
    return StaticValues(values, names, flags, _several(rows, owner, says))


def _name(rows: EventRecords, code: int, text: int) -> str:
    return rows.codes[code] if text == NONE else f"{rows.codes[code]}={rows.texts[text]}"


def _several(rows: EventRecords, owner: np.ndarray, says: np.ndarray) -> dict[str, int]:
    """Of each code how many subjects have more than one number or word under it."""
    number = (rows.value + np.float32(0)).view(np.int32)  # 0 and -0 are one number
    said = np.unique(np.stack([owner, rows.code, rows.text, number], axis=1)[says], axis=0)
    pairs, counts = np.unique(said[:, :2], axis=0, return_counts=True)
    return dict(Counter(rows.codes[code] for code in pairs[counts > 1, 1].tolist()))
