"""What a graph layer is given, as tensors or PyG's objects, checked and in one form."""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch_geometric.data import Data, HeteroData

Features = Tensor | tuple[Tensor, Tensor]


class GraphInput(NamedTuple):
    """A graph, or several whose nodes are numbered on; sources and targets are the same nodes unless bipartite.

    Shapes:
        source: (Ns, F), target: (Nt, F'), dense or sparse.
        edge_index: (2, E), row 0 the source, row 1 the target.
        edge_attr: (E, edge_dim); edge_weight and edge_type: (E,).
        batch: (N,), the graph of each node.
        degree: (Ns,).
        hop_index: (2, P); hop_distance: (P,).
    """

    source: Tensor
    target: Tensor
    edge_index: Tensor
    edge_attr: Tensor | None = None
    batch: Tensor | None = None
    edge_weight: Tensor | None = None
    edge_type: Tensor | None = None
    degree: Tensor | None = None
    hop_index: Tensor | None = None
    hop_distance: Tensor | None = None

    @property
    def is_bipartite(self) -> bool:
        """Whether sources and targets are different nodes."""
        return self.source is not self.target


OPTIONAL = ("edge_attr", "batch", "edge_weight", "edge_type", "degree", "hop_index", "hop_distance")


def of_data(data: Data) -> dict[str, Any]:
    """The tensors that a layer may use of a PyG `Data` or `Batch`, by `GraphInput`'s names.

    Raises:
        ValueError: It has no features or no edges.
    """
    if data.x is None or data.edge_index is None:
        raise ValueError(f"data: expected x and edge_index, got {', '.join(data.keys()) or 'nothing'}")
    return {"x": data.x, "edge_index": data.edge_index} | {
        name: data[name] for name in OPTIONAL if name in data and data[name] is not None
    }


def of_hetero(data: HeteroData) -> dict[str, Any]:
    """The same of a `HeteroData` whose nodes all have features of one width: one graph with edge types.

    Nodes are numbered in the order of `data.node_types`, relations in that of `data.edge_types`. Edge features and
    weights are taken where every relation has them.

    Raises:
        ValueError: A node type has no features, or the widths differ.
    """
    widths = {kind: None if data[kind].get("x") is None else data[kind].x.shape[-1] for kind in data.node_types}
    if len(set(widths.values())) != 1 or None in widths.values():
        raise ValueError(
            f"data: expected x of one width for every node type, got {widths}; for several widths make one layer for "
            "each relation, GraphAttention((source width, target width), ...), in torch_geometric.nn.HeteroConv"
        )
    first, total = {}, 0
    for kind in data.node_types:
        first[kind], total = total, total + data[kind].x.shape[0]
    stores = [data[relation] for relation in data.edge_types]
    shifts = [torch.tensor([[first[source]], [first[target]]]) for source, _, target in data.edge_types]
    index = [store.edge_index + shift.to(store.edge_index) for store, shift in zip(stores, shifts, strict=True)]
    x = torch.cat([data[kind].x for kind in data.node_types])
    found: dict[str, Any] = {
        "x": x,
        "edge_index": torch.cat(index, dim=1) if index else torch.zeros(2, 0, dtype=torch.long, device=x.device),
        "edge_type": torch.cat(
            [torch.full((each.shape[1],), kind, dtype=torch.long, device=x.device) for kind, each in enumerate(index)]
            or [torch.zeros(0, dtype=torch.long, device=x.device)]
        ),
    }
    for name in ("edge_attr", "edge_weight"):
        if stores and all(store.get(name) is not None for store in stores):
            found[name] = torch.cat([store[name] for store in stores])
    if all(data[kind].get("batch") is not None for kind in data.node_types):
        found["batch"] = torch.cat([data[kind].batch for kind in data.node_types])
    return found


def split_hetero(data: HeteroData, x: Tensor) -> dict[str, Tensor]:
    """Take features of all nodes apart again, by node type."""
    sizes = [data[kind].x.shape[0] for kind in data.node_types]
    return dict(zip(data.node_types, x.split(sizes), strict=True))


def checked(
    graph: GraphInput, channels: tuple[int, int], edge_dim: int | None, relations: int, weighted: bool
) -> GraphInput:
    """Answer the graph if all its tensors fit together.

    Args:
        graph: What was given.
        channels: Width of the sources' and of the targets' features.
        edge_dim: Width of the edges' features; None if the layer takes none.
        relations: Number of edge types that the layer knows; 0 if it takes none.
        weighted: Whether the layer takes edge weights.

    Raises:
        TypeError: Something is no tensor, or of another kind of numbers.
        ValueError: A shape, an index or a weight does not fit; the message names the first one.
    """
    for name, x, width in (("x", graph.source, channels[0]), ("x (target)", graph.target, channels[1])):
        if not isinstance(x, Tensor) or not x.is_floating_point():
            got = x.dtype if isinstance(x, Tensor) else type(x).__name__
            raise TypeError(f"{name}: expected a floating-point tensor, got {got}")
        if x.ndim != 2 or x.shape[1] != width:
            raise ValueError(f"{name}: expected (nodes, {width}), got {tuple(x.shape)}")
    check_edge_index("edge_index", graph.edge_index, graph.source.shape[0], graph.target.shape[0])
    edges = graph.edge_index.shape[1]
    attributes = None if edge_dim is None else (edges, edge_dim)
    _expect("edge_attr", graph.edge_attr, attributes)
    for name in ("edge_attr", "edge_weight"):
        value = getattr(graph, name)
        if isinstance(value, Tensor) and not value.is_floating_point():
            raise TypeError(f"{name}: expected a floating-point tensor, got {value.dtype}")
    _expect("edge_type", graph.edge_type, (edges,) if relations else None)
    if graph.edge_type is not None:
        _expect_integer("edge_type", graph.edge_type)
        _expect_range("edge_type", graph.edge_type, relations, "relations")
    _expect("edge_weight", graph.edge_weight, (edges,) if weighted else None)
    if graph.edge_weight is not None:
        wrong = ~(graph.edge_weight.isfinite() & (graph.edge_weight >= 0))
        if wrong.any():
            e = int(wrong.nonzero()[0])
            place = f"edge {e}, from {int(graph.edge_index[0, e])} to {int(graph.edge_index[1, e])}"
            raise ValueError(f"edge_weight: expected numbers >= 0, got {float(graph.edge_weight[e])} at {place}")
    if graph.degree is not None:
        _expect("degree", graph.degree, (graph.source.shape[0],))
    _check_batch(graph)
    if (graph.hop_index is None) != (graph.hop_distance is None):
        raise ValueError("hop_index, hop_distance: expected both or neither, got one")
    if graph.hop_index is not None and graph.hop_distance is not None:
        check_edge_index("hop_index", graph.hop_index, graph.source.shape[0], graph.target.shape[0])
        _expect("hop_distance", graph.hop_distance, (graph.hop_index.shape[1],))
    return graph


def check_edge_index(name: str, edge_index: Any, sources: int, targets: int) -> None:
    """Raise unless every edge leads from a node to a node.

    Raises:
        TypeError: It is no tensor of integers.
        ValueError: Its shape is not (2, E), or an edge ends at a node that is not there.
    """
    if not isinstance(edge_index, Tensor) or edge_index.layout != torch.strided:
        kind = edge_index.layout if isinstance(edge_index, Tensor) else type(edge_index).__name__
        raise TypeError(f"{name}: expected a dense integer tensor (2, E), got {kind}")
    _expect_integer(name, edge_index)
    if edge_index.ndim != 2 or edge_index.shape[0] != 2:
        raise ValueError(f"{name}: expected (2, E), sources above targets, got {tuple(edge_index.shape)}")
    if not edge_index.shape[1]:
        return
    limits = torch.tensor([[sources], [targets]], device=edge_index.device)
    missing = ((edge_index < 0) | (edge_index >= limits)).any(dim=0)
    if missing.any():
        e = int(missing.nonzero()[0])
        source, target = edge_index[:, e].tolist()
        nodes = f"nodes 0 .. {sources - 1}"
        nodes = nodes if sources == targets else f"sources 0 .. {sources - 1} and targets 0 .. {targets - 1}"
        raise ValueError(f"{name}: expected {nodes}, got edge {e} from {source} to {target}")


def _check_batch(graph: GraphInput) -> None:
    batch = graph.batch
    if batch is None:
        return
    if graph.is_bipartite:
        raise ValueError("batch: expected None where sources and targets are different nodes, got a tensor")
    _expect("batch", batch, (graph.target.shape[0],))
    _expect_integer("batch", batch)
    if batch.numel() and int(batch.min()) < 0:
        raise ValueError(f"batch: expected graph numbers >= 0, got {int(batch.min())}")
    across = batch[graph.edge_index[0]] != batch[graph.edge_index[1]]
    if across.any():
        e = int(across.nonzero()[0])
        source, target = graph.edge_index[:, e].tolist()
        graphs = f"graph {int(batch[source])} to node {target} of graph {int(batch[target])}"
        raise ValueError(f"edge_index: expected edges within graphs, got edge {e} from node {source} of {graphs}")


def _expect(name: str, value: Any, shape: tuple[int, ...] | None) -> None:
    if (value is None) != (shape is None) or (value is not None and not isinstance(value, Tensor)):
        wanted = "None: this layer takes none" if shape is None else f"a tensor {shape}"
        got = "None" if value is None else f"a {type(value).__name__}"
        raise ValueError(f"{name}: expected {wanted}, got {got}")
    if value is not None and tuple(value.shape) != shape:
        raise ValueError(f"{name}: expected {shape}, got {tuple(value.shape)}")


def _expect_integer(name: str, value: Tensor) -> None:
    if value.is_floating_point() or value.is_complex() or value.dtype == torch.bool:
        raise TypeError(f"{name}: expected integers, got {value.dtype}")


def _expect_range(name: str, value: Tensor, end: int, what: str) -> None:
    if value.numel() and (int(value.min()) < 0 or int(value.max()) >= end):
        got = int(value.min()) if int(value.min()) < 0 else int(value.max())
        raise ValueError(f"{name}: expected {what} 0 .. {end - 1}, got {got}")
