"""Graphs for tests of the attention layer, and layers with nothing at 0."""

import torch
from torch_geometric.data import Data

from graphs import AddHops

DIAMOND = torch.tensor([[0, 1, 0, 2, 3, 3], [2, 2, 3, 3, 3, 1]])  # 0 has no incoming edge, 3 a self loop


def random_graph(nodes, share=0.15, seed=0):
    generator = torch.Generator().manual_seed(seed)
    edge_index = (torch.rand(nodes, nodes, generator=generator) < share).nonzero().T
    edge_index = edge_index[:, edge_index[1] != nodes - 1]  # the last node is isolated as a target
    return edge_index[:, torch.randperm(edge_index.shape[1], generator=generator)]


def shaken(layer):
    """Give every parameter a random value: those that start at 0 would hide mistakes."""
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return layer.eval()


def sizes(*counts, edge_dim=2):
    """Graphs of these sizes, with all that a layer may read."""
    graphs = []
    for seed, nodes in enumerate(counts):
        edge_index = random_graph(nodes, 0.3, seed)
        E = edge_index.shape[1]
        data = Data(x=torch.randn(nodes, 3), edge_index=edge_index, edge_attr=torch.randn(E, edge_dim))
        graphs.append(AddHops(3)(data))
        graphs[-1].edge_weight = torch.rand(E) + 0.1
    return graphs
