"""Any data set that PyTorch Geometric saved: one graph or several, in one file."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch_geometric.data import Batch, Data
from torch_geometric.data.data import DataEdgeAttr, DataTensorAttr
from torch_geometric.data.storage import GlobalStorage

from core.training import Split, hash_files
from core.training.checkpoint import check_sizes

from .base import LabelledGraph, NodeData

SAFE = [Data, DataEdgeAttr, DataTensorAttr, GlobalStorage]  # plain records of tensors
MASKS = ("train_mask", "val_mask", "test_mask")


class SavedGraphData(NodeData):
    """Nodes with classes, from a file that `torch.save` wrote.

    The file holds a `Data` with x, edge_index and y (a class number for each node, below 0 where unknown), a list of
    them, or what PyG's InMemoryDataset saves as processed/data.pt. It is read without running code (weights_only). With
    train_mask, val_mask and test_mask in the data, `split` may be "given"; with `time` (one number a node), "time";
    with several graphs, "graph".

    Args:
        path: The file.
        split: See `NodeData`.
        class_names: In the order of the class numbers; None for the numbers.
        mask: Which of several given splits, where the masks are (N, splits).
        normalize_features: See `NodeData`.
        options: See `NodeData`.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file holds something else; the message names it.
    """

    licence = "as the file's owner says"
    source = "a file saved by PyTorch Geometric"

    def __init__(
        self,
        path: str | None = None,
        split: str | None = None,
        class_names: list[str] | None = None,
        mask: int = 0,
        normalize_features: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(split=split, normalize_features=normalize_features, **options)
        self.path = None if path is None else Path(path).expanduser()
        self.class_names, self.mask = class_names, mask

    def load(self) -> LabelledGraph:
        """Read the file; several graphs become one with `batch`."""
        path = self._file()
        data = joined(read_graphs(path), path)
        given = self._given(data)
        count = int(data.y.max()) + 1 if data.y.numel() else 0
        if count > len(data.y):
            node = int(data.y.argmax())
            raise ValueError(
                f"{path}: y: expected class numbers below the {len(data.y)} nodes, got {count - 1} at node {node}"
            )
        names = tuple(self.class_names or (str(k) for k in range(count)))
        if count < 2 or len(names) < count:
            raise ValueError(f"{path}: expected 2 or more classes with a name each, got {count} and {len(names)} names")
        data.y = data.y.long().clamp_min(-1)
        return LabelledGraph(data, names, given)

    def fingerprint(self) -> str:
        """A hash of the file."""
        return hash_files([self._file()])

    def _given(self, data: Data) -> Split | None:
        if not all(name in data for name in MASKS):
            return None
        parts = []
        for name in MASKS:
            mask = data[name].bool()
            if mask.ndim == 2:
                if not 0 <= self.mask < mask.shape[1]:
                    raise ValueError(f"mask: expected 0 .. {mask.shape[1] - 1}, got {self.mask}")
                mask = mask[:, self.mask]
            parts.append(mask)
        both = (parts[0].int() + parts[1].int() + parts[2].int()) > 1
        if both.any():
            raise ValueError(f"{self.path}: expected each node in one part, got node {int(both.nonzero()[0])} in two")
        train, val, test = (np.flatnonzero(part.numpy()) for part in parts)
        return Split(train, val, test)

    def _file(self) -> Path:
        if self.path is None:
            raise ValueError("path: expected a file saved by PyTorch Geometric, got None")
        if not self.path.is_file():
            raise FileNotFoundError(f"path: expected a file saved by PyTorch Geometric, got {self.path}")
        return self.path


def read_graphs(path: str | Path) -> list[Data]:
    """Read the graphs of a file without running code.

    Raises:
        ValueError: The file holds something else, or code.
    """
    try:
        with torch.serialization.safe_globals(SAFE):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises what it meets: pickle's errors, its own, those of zip files
        named = re.search(r"GLOBAL (\S+)", str(error))
        reason = f"one that holds {named[1]}" if named else " ".join(str(error).split())[:120]
        raise ValueError(f"{path}: expected graphs in a file that loads without running code, got {reason}") from error
    for place, graph in enumerate(content if isinstance(content, (list, tuple)) else [content]):
        items = graph.items() if isinstance(graph, dict) else graph.to_dict().items() if isinstance(graph, Data) else ()
        tensors = [(f"graph {place}: {name}", value) for name, value in items if isinstance(value, torch.Tensor)]
        check_sizes(tensors, path)
    if isinstance(content, Data):
        return [content]
    if isinstance(content, (list, tuple)) and content and all(isinstance(each, Data) for each in content):
        return list(content)
    if isinstance(content, tuple) and len(content) >= 2 and isinstance(content[0], (dict, Data)):
        return _unpacked(content[0], content[1], path)
    raise ValueError(
        f"{path}: expected a Data, a list of them or a saved InMemoryDataset, got a {type(content).__name__}"
    )


def joined(graphs: list[Data], path: str | Path) -> Data:
    """Several graphs as one whose `batch` says which node is of which; one graph stays as it is.

    Raises:
        ValueError: A graph has no features, edges or classes, or its y is not one class a node.
    """
    for number, graph in enumerate(graphs):
        where = f"{path}, graph {number}" if len(graphs) > 1 else f"{path}"
        if graph.x is None or graph.edge_index is None or graph.y is None:
            raise ValueError(f"{where}: expected x, edge_index and y, got {', '.join(graph.keys()) or 'nothing'}")
        if graph.y.ndim == 2 and graph.y.shape[1] == 1:
            graph.y = graph.y[:, 0]
        if graph.y.is_floating_point() or tuple(graph.y.shape) != (graph.x.shape[0],):
            got = f"{tuple(graph.y.shape)} {graph.y.dtype}"
            raise ValueError(f"{where}: expected y with a class for each of {graph.x.shape[0]} nodes, got {got}")
        if graph.edge_attr is not None and graph.edge_attr.ndim == 1:
            graph.edge_attr = graph.edge_attr[:, None]
        for name in ("x", "edge_attr", "edge_weight"):  # models compute in single precision
            if name in graph and torch.is_tensor(graph[name]) and graph[name].is_floating_point():
                graph[name] = graph[name].float()
    if len(graphs) == 1:
        return graphs[0]
    batch = Batch.from_data_list(graphs)
    return Data(**{name: value for name, value in batch if name != "ptr"})


def _unpacked(content: Any, slices: Any, path: str | Path) -> list[Data]:
    """The graphs of an InMemoryDataset: all tensors end to end, and where each graph's begin."""
    whole = content if isinstance(content, Data) else Data.from_dict(content)
    if slices is None:
        return [whole]
    if not isinstance(slices, dict):
        raise ValueError(f"{path}: expected slices by name, got a {type(slices).__name__}")
    count = len(next(iter(slices.values()))) - 1
    graphs = []
    for k in range(count):
        graph = Data()
        for name, bounds in slices.items():
            if name in whole:
                first, end = int(bounds[k]), int(bounds[k + 1])
                graph[name] = whole[name].narrow(graph.__cat_dim__(name, whole[name]) or 0, first, end - first)
        graphs.append(graph)
    return graphs
