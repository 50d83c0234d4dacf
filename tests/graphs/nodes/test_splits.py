import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from graphs.nodes.splits import by_graph, by_node, by_time, visible

from .node_files import communities


def test_by_node_draws_each_class_and_leaves_unknown_nodes_out():
    labels = np.array([0] * 10 + [1] * 20 + [-1] * 5)
    split = by_node(labels, val=0.2, test=0.1, seed=3)
    counts = [np.bincount(labels[part], minlength=2).tolist() for part in split]
    assert counts == [[7, 14], [2, 4], [1, 2]]
    assert np.array_equal(np.sort(np.concatenate(list(split))), np.arange(30))
    again, other = by_node(labels, val=0.2, test=0.1, seed=3), by_node(labels, val=0.2, test=0.1, seed=4)
    assert np.array_equal(split.train, again.train) and not np.array_equal(split.train, other.train)
    few = by_node(labels, val=0.2, test=0.1, per_class=3, seed=3)
    assert np.bincount(labels[few.train]).tolist() == [3, 3] and np.array_equal(few.test, split.test)
    with pytest.raises(ValueError, match="labels: expected 8 or more nodes of class 0 that remain to train, got 7"):
        by_node(labels, val=0.2, test=0.1, per_class=8)


def test_by_time_never_trains_on_what_is_later():
    times = np.array([5.0, 1, 2, 3, 3, 3, np.nan, 4, 9, 0])
    split = by_time(times, val=0.2, test=0.3)  # 9 known: 2 and 3 at least
    assert [part.tolist() for part in split] == [[1, 2, 9], [3, 4, 5], [0, 7, 8]]
    assert times[split.train].max() < times[split.val].min() <= times[split.val].max() < times[split.test].min()
    with pytest.raises(ValueError, match="times: expected enough times for train to have a node, got 1"):
        by_time(np.zeros(10), val=0.2, test=0.3)
    with pytest.raises(ValueError, match="times: expected enough times for val to have a node, got 2"):
        by_time(np.array([1.0, 1, 2, 2, 2]), val=0.2, test=0.2)


def test_by_graph_keeps_graphs_whole():
    graph = np.repeat(np.arange(10), 3)
    split = by_graph(graph, val=0.2, test=0.3)
    assert [len(part) for part in split] == [15, 6, 9]
    assert not set(graph[split.train]) & set(graph[split.test]) and not set(graph[split.train]) & set(graph[split.val])
    assert str(split) == "train 15 samples of 5 graphs, val 6 samples of 2 graphs, test 9 samples of 3 graphs"
    with pytest.raises(ValueError, match="graph: expected more than 2, so that one remains to train, got 2"):
        by_graph(np.array([0, 1]), val=0.5, test=0.4)


@pytest.mark.parametrize("split", [by_node, by_graph])
def test_fractions_are_checked(split):
    with pytest.raises(ValueError, match=r"val \+ test"):
        split(np.zeros(4, dtype=int), val=0.6, test=0.5)


def test_visible_hides_nodes_and_their_edges():
    data = Data(
        x=torch.arange(8.0).view(4, 2), y=torch.arange(4) % 2, edge_index=torch.tensor([[0, 1, 2, 3], [1, 3, 3, 0]]),
        edge_attr=torch.arange(4.0)[:, None], hop_index=torch.tensor([[0], [3]]), hop_distance=torch.tensor([2]),
    )  # fmt: skip
    part = visible(data, np.array([0, 2, 3]), np.array([3, 0]))
    assert part.data.x.tolist() == [[0, 1], [4, 5], [6, 7]] and part.data.edge_index.tolist() == [[1, 2], [2, 0]]
    assert part.data.edge_attr.tolist() == [[2], [3]] and part.data.y.tolist() == [0, 0, 1]
    assert part.target.tolist() == [2, 0] and part.index.tolist() == [3, 0] and part.nodes.tolist() == [0, 2, 3]
    assert "hop_index" not in part.data  # that path led through node 1
    with pytest.raises(ValueError, match="expected visible nodes, got 1"):
        visible(data, np.array([0, 2]), np.array([1]))
    whole = visible(communities(), np.arange(60), np.array([4]))
    assert whole.nodes.tolist() == list(range(60)) and whole.target.tolist() == [4]
