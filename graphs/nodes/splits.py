"""Who trains, who chooses, who judges: by node, by time and by graph.

What must not leak decides. Nodes of one graph may be split at random where the whole graph is known when the model is
used (transductive). Where the model is used on what comes later, split by time, and hide later nodes from earlier
parts; where it is used on other graphs, split by graph.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import subgraph

from core.training import PARTS, Split
from core.training.data import check_scheme


class Part(NamedTuple):
    """What one part of a split may see, and what counts in it.

    Shapes:
        data: the visible graph, its nodes numbered anew.
        target: (n,), nodes of that graph that are judged.
        index: (n,), their numbers in the whole graph.
        nodes: (N,), the numbers of all visible nodes there.
    """

    data: Data
    target: Tensor
    index: Tensor  # type: ignore[assignment]  # hides tuple.index
    nodes: Tensor


def by_node(
    labels: np.ndarray[Any, Any], *, val: float = 0.2, test: float = 0.2, per_class: int | None = None, seed: int = 0
) -> Split:
    """Draw nodes class by class; labels below 0 are unknown and in no part.

    Args:
        labels: Class of each node.
        val: Fraction of each class for validation.
        test: Fraction of each class for the test.
        per_class: How many of each class train, in place of all that remain; the others are in no part.
        seed: Of the drawing.

    Shapes:
        labels: (N,)

    Raises:
        ValueError: A fraction is outside [0, 1), or a class has too few nodes for every part to have one.
    """
    check_scheme(val, test)
    random = np.random.default_rng(seed)
    parts: list[list[np.ndarray[Any, Any]]] = [[], [], []]
    for kind in np.unique(labels[labels >= 0]):
        nodes = random.permutation(np.flatnonzero(labels == kind))
        counts = [_count(test, len(nodes)), _count(val, len(nodes))]
        rest = len(nodes) - sum(counts)
        wanted = 1 if per_class is None else per_class
        if rest < wanted:
            raise ValueError(
                f"labels: expected {wanted} or more nodes of class {kind} that remain to train, got {max(rest, 0)}"
            )
        tested, validated, trained = np.split(nodes, np.cumsum(counts))
        for part, chosen in zip(parts, (trained[:per_class], validated, tested), strict=True):
            part.append(chosen)
    trained, validated, tested = (np.sort(np.concatenate(part or [np.zeros(0, dtype=np.int64)])) for part in parts)
    return Split(trained, validated, tested)


def by_time(times: np.ndarray[Any, Any], *, val: float = 0.2, test: float = 0.2) -> Split:
    """The latest nodes are tested, those before them validate; nodes of one time stay together.

    Args:
        times: When each node comes into being; NaN puts it in no part.
        val: Fraction of the nodes for validation, at least; a time that is cut goes to the later part.
        test: Fraction for the test, at least.

    Shapes:
        times: (N,)

    Raises:
        ValueError: A fraction is outside [0, 1), or there are too few times for three parts.
    """
    check_scheme(val, test)
    known = np.flatnonzero(~np.isnan(np.asarray(times, dtype=np.float64)))
    order = np.sort(np.asarray(times)[known])
    n = len(order)
    ends = [n - _count(val, n) - _count(test, n), n - _count(test, n)]
    first_val, first_test = (order[end] if end < n else np.inf for end in ends)
    t = np.asarray(times)[known]
    split = Split(known[t < first_val], known[(t >= first_val) & (t < first_test)], known[t >= first_test])
    for name, part, wanted in zip(PARTS, split, (True, val > 0, test > 0), strict=True):
        if wanted and not len(part):
            raise ValueError(f"times: expected enough times for {name} to have a node, got {len(np.unique(order))}")
    return split


def by_graph(graph: np.ndarray[Any, Any], *, val: float = 0.2, test: float = 0.2, seed: int = 0) -> Split:
    """Draw whole graphs.

    Args:
        graph: The graph of each node.
        val: Fraction of the graphs for validation.
        test: Fraction of the graphs for the test.
        seed: Of the drawing.

    Shapes:
        graph: (N,)

    Raises:
        ValueError: A fraction is outside [0, 1), or no graph is left to train.
    """
    check_scheme(val, test)
    graphs = np.random.default_rng(seed).permutation(np.unique(graph))
    counts = [_count(test, len(graphs)), _count(val, len(graphs))]
    if sum(counts) >= len(graphs):
        raise ValueError(f"graph: expected more than {sum(counts)}, so that one remains to train, got {len(graphs)}")
    tested, validated, trained = np.split(graphs, np.cumsum(counts))
    train_part, val_part, test_part = (np.flatnonzero(np.isin(graph, part)) for part in (trained, validated, tested))
    return Split(train_part, val_part, test_part, groups=graph, unit="graph")


def visible(data: Data, nodes: np.ndarray[Any, Any] | Tensor, target: np.ndarray[Any, Any] | Tensor) -> Part:
    """The part of a graph that a step may see: these nodes and the edges among them.

    Args:
        data: The whole graph.
        nodes: What is visible; must hold the targets.
        target: What is judged.

    Raises:
        ValueError: A target is not visible.
    """
    count = int(data.num_nodes or 0)
    seen = torch.zeros(count, dtype=torch.bool)
    seen[torch.as_tensor(nodes)] = True
    index = torch.as_tensor(target).long()
    if not bool(seen[index].all()):
        raise ValueError(f"target: expected visible nodes, got {int(index[~seen[index]][0])}, which is hidden")
    if bool(seen.all()):
        return Part(data, index, index, torch.arange(count))
    kept, _, of_edge = subgraph(seen, data.edge_index, relabel_nodes=True, num_nodes=count, return_edge_mask=True)
    part = Data(edge_index=kept)
    for name, value in data:
        if name == "edge_index" or name.startswith("hop_") or not isinstance(value, Tensor):
            continue  # hops are counted anew: a shortest path may lead through what is hidden
        if data.is_node_attr(name):
            part[name] = value[seen]
        elif data.is_edge_attr(name):
            part[name] = value[of_edge]
    part.num_nodes = int(seen.sum())
    place = torch.full((count,), -1).masked_scatter(seen, torch.arange(part.num_nodes))
    return Part(part, place[index], index, seen.nonzero()[:, 0])


def _count(fraction: float, n: int) -> int:
    return int(np.ceil(fraction * n - 1e-9))
