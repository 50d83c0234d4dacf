"""What data modules of arrays take from Python: any array, the columns of any table, names of items."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch


def as_array(name: str, value: Any) -> np.ndarray[Any, Any]:
    """Any array as numpy's, on the CPU: of numpy, torch, a list, a column of a table.

    Args:
        name: Of the argument, for messages.
        value: The array.

    Raises:
        ValueError: It is none, such as lists of different lengths.
    """
    if isinstance(value, torch.Tensor):
        dense = value.detach().cpu().to_dense()
        return (dense.float() if dense.dtype == torch.bfloat16 else dense).numpy(force=True)
    try:
        return np.asarray(value.to_numpy() if hasattr(value, "to_numpy") else value)
    except (TypeError, ValueError, RuntimeError) as error:  # torch's own: a list of tensors that numpy cannot take
        raise ValueError(f"{name}: expected an array, got {type(value).__name__}: {error}") from error


def column_names(name: str, table: Any) -> list[str]:
    """The columns of a table that answers each of them as `table[column]`.

    Args:
        name: Of the argument, for messages.
        table: A mapping, a data frame (`columns`), or a `datasets.Dataset` of Hugging Face (`column_names`); neither
            package is imported.

    Raises:
        ValueError: It is none of these.
    """
    for attribute in ("column_names", "columns"):
        found = getattr(table, attribute, None)
        if isinstance(found, Iterable):
            return [str(column) for column in found]
    if isinstance(table, Mapping):
        return [str(column) for column in table]
    raise ValueError(f"{name}: expected a mapping of columns, a data frame or a dataset, got {type(table).__name__}")


def item_names(names: Any, count: int) -> list[str]:
    """Names of items, no two alike.

    Args:
        names: Words or numbers, one an item.
        count: How many items there are.

    Raises:
        ValueError: They are too many or few, or two are alike.
    """
    array = as_array("names", names)
    if array.ndim != 1:
        raise ValueError(f"names: expected ({count},), got {array.shape}")
    listed = [str(name) for name in array.tolist()]
    if len(listed) != count or len(set(listed)) < count:
        raise ValueError(f"names: expected {count} different names, got {len(set(listed))} in {len(listed)}")
    return listed
