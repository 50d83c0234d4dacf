"""Nodes from arrays that are already in memory: numpy, torch, lists, data frames."""

import copy
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from core.training import PARTS, Split, hash_arrays
from core.training.data import as_array, item_names

from .base import LabelledGraph, NodeData, check_labelled

ARRAYS = ("x", "edge_index", "y", "edge_attr", "edge_weight", "edge_type", "time", "graph", "names", *PARTS)


class GraphArrayData(NodeData):
    """Nodes with classes, or nodes to predict, from arrays: made in Python, not in a configuration.

    An array is a torch tensor, a numpy array, a list, or anything with `to_numpy()`, such as a data frame or a series
    of pandas; edges may be a data frame of two columns, source and target. Whole numbers and floating-point numbers
    become float32 where features, weights and times are meant. Without `y` there is nothing to learn: every node is
    predicted. Arrays are not kept in checkpoints.

    Args:
        x: Features of each node.
        edge_index: Row 0 the source, row 1 the target of each edge; an edge leads one way.
        y: Class of each node: numbers from 0, -1 where unknown; or names, None where unknown.
        edge_attr: Features of each edge.
        edge_weight: Weight of each edge.
        edge_type: Number of each edge's relation.
        time: When each node came into being, for the split by "time".
        graph: The graph that each node belongs to, for the split by "graph"; None is one graph.
        names: Of the nodes, for tables; None takes their numbers.
        class_names: In the order of the class numbers; None takes the numbers, or the names in y in sorted order.
        train: Nodes that train, as numbers or as a mask over all nodes; then the split is "given".
        val: Nodes that choose, likewise.
        test: Nodes that are tested, likewise.
        split: As `NodeData`.
        normalize_features: As `NodeData`.
        options: Of `NodeData`.

    Shapes:
        x: (N, F); edge_index: (2, E); y, time, graph: (N,); edge_attr: (E, D); edge_weight, edge_type: (E,);
        train, val, test: (n,) whole numbers or (N,) bool

    Raises:
        TypeError: An array holds no numbers, or features where whole numbers are meant.
        ValueError: A shape, a class, a node or a number does not fit; the message names the argument.
    """

    licence = "the user's own"
    source = "arrays in memory"
    from_python: ClassVar[bool] = True
    """It takes arrays, so that no configuration can make it."""
    not_stored: ClassVar[tuple[str, ...]] = (*ARRAYS, "class_names")

    def __init__(
        self,
        x: Any,
        edge_index: Any,
        y: Any = None,
        *,
        edge_attr: Any = None,
        edge_weight: Any = None,
        edge_type: Any = None,
        time: Any = None,
        graph: Any = None,
        names: Sequence[str] | None = None,
        class_names: Sequence[str] | None = None,
        train: Any = None,
        val: Any = None,
        test: Any = None,
        split: str | None = None,
        normalize_features: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(split=split, normalize_features=normalize_features, **options)
        nodes = as_array("x", x)
        if nodes.ndim != 2:
            raise ValueError(f"x: expected (nodes, features), got {nodes.shape}")
        count = len(nodes)
        data = Data(x=_numbers("x", nodes), edge_index=_edges(edge_index))
        edges = data.edge_index.shape[-1]
        if edge_attr is not None:
            data.edge_attr = _of_length("edge_attr", _numbers("edge_attr", edge_attr), edges, "(E, D)", 2)
        if edge_weight is not None:
            data.edge_weight = _finite("edge_weight", _numbers("edge_weight", edge_weight), edges, "(E,)")
        if edge_type is not None:
            data.edge_type = _of_length("edge_type", _whole("edge_type", edge_type), edges, "(E,)")
            if edges and not 0 <= int(data.edge_type.min()) <= int(data.edge_type.max()) < max(edges, 1):
                got = f"{int(data.edge_type.min())} .. {int(data.edge_type.max())}"
                raise ValueError(f"edge_type: expected numbers of relations, 0 or more and below {edges}, got {got}")
        if time is not None:
            data.time = _of_length("time", _numbers("time", time), count, "(N,)")
        if graph is not None:
            data.batch = _of_length("graph", _whole("graph", graph), count, "(N,)")
        data.y, classes = _classes(y, class_names, count)
        names = None if names is None else item_names(names, count)
        parts = {name: part for name, part in zip(PARTS, (train, val, test), strict=True) if part is not None}
        self.given = LabelledGraph(data, classes, Split.of_parts(parts, count) if parts else None, names)
        check_labelled(self.given)

    def load(self) -> LabelledGraph:
        """The arrays as one graph; normalising it changes none of them."""
        return self.given._replace(data=copy.copy(self.given.data))

    def fingerprint(self) -> str:
        """A hash of the arrays."""
        return hash_arrays(*(self.given.data[name] for name in sorted(self.given.data.keys())))


def _numbers(name: str, value: Any) -> Tensor:
    array = as_array(name, value)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name}: expected numbers, got {array.dtype}")
    return torch.tensor(_native(array), dtype=torch.float32)


def _whole(name: str, value: Any) -> Tensor:
    array = as_array(name, value)
    if array.dtype.kind not in "iu" and array.size:
        raise TypeError(f"{name}: expected whole numbers, got {array.dtype}")
    return torch.tensor(_native(array), dtype=torch.long)


def _native(array: np.ndarray) -> np.ndarray:
    """As torch takes it: no negative strides, the machine's byte order."""
    return array.astype(array.dtype.newbyteorder("="), order="C")


def _of_length(name: str, value: Tensor, length: int, shape: str, ndim: int = 1) -> Tensor:
    if value.ndim != ndim or len(value) != length:
        raise ValueError(f"{name}: expected {shape} with {length} rows, got {tuple(value.shape)}")
    return value


def _finite(name: str, value: Tensor, length: int, shape: str) -> Tensor:
    strange = (~_of_length(name, value, length, shape).isfinite()).nonzero()
    if len(strange):
        raise ValueError(f"{name}: expected finite numbers, got {value[strange[0, 0]]} at {int(strange[0, 0])}")
    return value


def _edges(value: Any) -> Tensor:
    index = _whole("edge_index", value)
    if hasattr(value, "columns"):  # a data frame has an edge in each row
        index = index.T.contiguous()
    return index.view(2, 0) if index.numel() == 0 else index


def _classes(y: Any, class_names: Sequence[str] | None, count: int) -> tuple[Tensor, tuple[str, ...]]:
    """Class numbers and the names of the classes; neither is known without y."""
    if y is None:
        return torch.full((count,), -1), ()
    array = as_array("y", y)
    shape = array.shape
    names = None if class_names is None else [str(name) for name in class_names]
    if array.dtype.kind in "OU":
        listed = [None if item is None or item != item else item for item in array.flat]  # pandas puts NaN for None
        if not all(item is None or isinstance(item, str) for item in listed):
            raise TypeError("y: expected class numbers or names, got an array of other objects")
        found = sorted({str(item) for item in listed if item is not None})
        names = found if names is None else names
        strange = [name for name in found if name not in names]
        if strange:
            raise ValueError(f"y: expected classes among {', '.join(names)}, got {strange[0]!r}")
        array = np.array([-1 if item is None else names.index(str(item)) for item in listed], dtype=np.int64)
        array = array.reshape(shape)
    label = _of_length("y", _whole("y", array), count, "(N,)")
    if names is None and count and int(label.max()) >= count:
        raise ValueError(f"y: expected class numbers below the {count} nodes, got {int(label.max())}")
    if names is None:
        names = [str(number) for number in range(int(label.max()) + 1 if count else 0)]
    if len(set(names)) < len(names):
        raise ValueError(f"class_names: expected different names, got {', '.join(names)}")
    if len(names) < 2:
        raise ValueError(f"y: expected 2 or more classes, got {len(names)}")
    return label, tuple(names)
