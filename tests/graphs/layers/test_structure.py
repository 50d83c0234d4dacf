import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.csgraph import shortest_path
from torch_geometric.data import Batch, Data

from graphs import AddHops, hop_pairs
from graphs.layers.receptive import hop_distances
from graphs.layers.structure import StructuralBias, in_degree
from tests.tolerance import FUNCTION, rounding


def distances(edge_index, nodes):
    """Of scipy: row j, column i, inf where there is no path."""
    if not nodes:
        return np.zeros((0, 0))
    row, column = edge_index.numpy()
    return shortest_path(coo_array((np.ones(len(row)), (row, column)), shape=(nodes, nodes)).tocsr(), unweighted=True)


@given(st.integers(0, 12), st.integers(0, 30), st.integers(0, 5), st.integers(0, 10**6))
def test_hop_pairs_are_scipys_shortest_paths(nodes, edges, hops, seed):
    generator = torch.Generator().manual_seed(seed)
    edge_index = torch.randint(max(nodes, 1), (2, edges if nodes else 0), generator=generator)
    true = distances(edge_index, nodes)
    found = hop_pairs(edge_index, nodes, hops)
    near = (true >= 1) & (true <= hops)
    target, source = np.nonzero(near.T)  # sorted by target, then source
    assert found.index.tolist() == [source.tolist(), target.tolist()]
    assert found.distance.tolist() == true[source, target].astype(int).tolist()
    whole = hop_distances(edge_index, nodes)
    assert whole.tolist() == np.where(np.isinf(true.T), -1, true.T).astype(int).tolist()


def test_hop_pairs_of_a_path_by_hand():
    found = hop_pairs(torch.tensor([[0, 1, 2], [1, 2, 3]]), 4, 2)
    assert found.index.tolist() == [[0, 0, 1, 1, 2], [1, 2, 2, 3, 3]]
    assert found.distance.tolist() == [1, 2, 1, 2, 1]
    with pytest.raises(ValueError, match="hops"):
        hop_pairs(torch.zeros(2, 0, dtype=torch.long), 1, -1)


def test_distances_to_some_rows():
    edge_index = torch.tensor([[0, 1, 2], [1, 2, 3]])
    assert hop_distances(edge_index, 4, torch.tensor([3, 0])).tolist() == [[3, 2, 1, 0], [0, -1, -1, -1]]


def test_hops_survive_batching():
    graphs = [Data(x=torch.zeros(n, 1), edge_index=torch.tensor([range(n - 1), range(1, n)])) for n in (3, 4)]
    batch = Batch.from_data_list([AddHops(2)(graph) for graph in graphs])
    joint = hop_pairs(batch.edge_index, 7, 2)
    assert torch.equal(batch.hop_index, joint.index) and torch.equal(batch.hop_distance, joint.distance)
    assert "hop_index" not in graphs[0]


def test_in_degree_by_hand():
    assert in_degree(torch.tensor([[0, 1, 2, 2], [2, 2, 0, 2]]), 4).tolist() == [1, 0, 3, 0]


def test_structural_bias_by_hand():
    bias = StructuralBias(2, ("log_weight", "degree", "shortest_path"), 2, relations=3)
    logs, expected = bias.of_weights(torch.tensor([math.e, 1.0, 0.0])), torch.tensor([1.0, 0.0, -math.inf])
    atol = rounding(1 + FUNCTION)  # e rounded to float32, and its logarithm
    torch.testing.assert_close(logs, expected[:, None].expand(3, 2), rtol=0, atol=atol)
    assert not bias.of_degrees(torch.tensor([3.0])).any() and not bias.of_distances(torch.tensor([0, 5])).any()
    with torch.no_grad():
        bias.degree.copy_(torch.tensor([1.0, -0.5]))
        bias.distance.copy_(torch.arange(6.0).view(3, 2))
    assert torch.allclose(bias.of_degrees(torch.tensor([0.0, math.e - 1])), torch.tensor([[0, 0], [1, -0.5]]))
    assert bias.of_distances(torch.tensor([0, 2, 3])).tolist() == [[0, 1], [4, 5], [0, 0]]
    bias.reset_parameters()
    assert bias.log_weight.tolist() == [1, 1] and not bias.distance.any() and not bias.relation.any()
