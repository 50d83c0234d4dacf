"""Batches of graphs, and precision."""

import copy
import math

import pytest
import torch
from torch_geometric.data import Batch, Data

from graphs import GraphAttention

from .attention_fakes import shaken, sizes


@pytest.fixture(autouse=True)
def _float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


EVERYTHING = {
    "plain": {},
    "edges": {"edge_dim": 2, "structure": ("log_weight", "degree")},
    "hops": {"hops": 3, "edge_dim": 2, "structure": ("degree", "shortest_path")},
    "global": {"global_attention": True, "structure": ("degree", "shortest_path"), "gate": "feature"},
}


@pytest.mark.parametrize("name", EVERYTHING)
def test_a_batch_answers_as_each_graph_alone(name):
    graphs = sizes(1, 5, 40, 3, 40, 7, 0, 9)
    layer = shaken(GraphAttention(3, 4, 2, **EVERYTHING[name]))
    batch = Batch.from_data_list(graphs)
    alone = torch.cat([layer(data) for data in graphs])
    assert torch.allclose(layer(batch), alone, atol=1e-12)
    order = torch.randperm(batch.num_nodes)  # nodes of a graph need not stand together
    place = order.argsort()
    mixed = Data(
        x=batch.x[order], edge_index=place[batch.edge_index], edge_attr=batch.edge_attr, batch=batch.batch[order],
        edge_weight=batch.edge_weight, hop_index=place[batch.hop_index], hop_distance=batch.hop_distance,
    )  # fmt: skip
    assert torch.allclose(layer(mixed), alone[order], atol=1e-12)


@pytest.mark.parametrize("name", EVERYTHING)
@pytest.mark.parametrize("value", [1e6, math.nan, math.inf])
def test_nothing_leaks_between_graphs_of_a_batch(name, value):
    layer = shaken(GraphAttention(3, 4, 2, **EVERYTHING[name]))
    graphs = sizes(6, 20, 7)
    clean = Batch.from_data_list(graphs)
    dirty = Batch.from_data_list(graphs)
    dirty.x[8] = value  # a node of the second graph
    if layer.edge_dim:
        dirty.edge_attr[dirty.batch[dirty.edge_index[0]] == 1] = value
    others = clean.batch != 1
    answers = []
    for batch in (clean, dirty):
        batch.x.requires_grad_()
        out = layer(batch)
        (gradient,) = torch.autograd.grad(out[others].square().sum(), batch.x)
        answers.append((out[others], gradient))
    assert torch.equal(answers[0][0], answers[1][0])
    assert torch.equal(answers[0][1][others], answers[1][1][others])
    if math.isfinite(value):  # what is not finite makes 0 * NaN of the gradients of its own graph
        assert (answers[1][1][~others] == 0).all()


def test_an_edge_between_two_graphs_is_refused():
    layer = GraphAttention(3, 2)
    with pytest.raises(ValueError, match="edge 1 from node 1 of graph 0 to node 2 of graph 1"):
        layer(torch.randn(4, 3), torch.tensor([[0, 1], [1, 2]]), batch=torch.tensor([0, 0, 1, 1]))


@pytest.mark.parametrize("name", EVERYTHING)
def test_single_precision_and_autocast_stay_near(name):
    torch.set_default_dtype(torch.float32)
    layer = shaken(GraphAttention(3, 4, 2, **EVERYTHING[name]))
    batch = Batch.from_data_list(sizes(6, 20, 7))
    narrow = layer(batch)
    wide_batch = batch.clone().apply(lambda value: value.double() if value.is_floating_point() else value)
    wide = copy.deepcopy(layer).double()(wide_batch)
    assert torch.allclose(narrow.double(), wide, rtol=1e-4, atol=1e-4)
    with torch.autocast("cpu", torch.bfloat16):
        low = layer(batch)
    assert (low.double() - wide).norm() < 0.02 * wide.norm()
