import itertools

import pytest
import torch
from torch_geometric.data import Data

from graphs import GraphTransformer, NeighbourSampler
from graphs.layers.structure import in_degree
from graphs.nodes.sampling import floyd

from .node_files import communities


def test_floyd_draws_every_subset_equally_often():
    generator = torch.Generator().manual_seed(0)
    drawn = floyd(torch.full((30_000,), 5), 3, generator)
    assert (drawn >= 0).all() and (drawn < 5).all()
    codes = (1 << drawn).sum(dim=1)
    counts = [int((codes == sum(1 << i for i in subset)).sum()) for subset in itertools.combinations(range(5), 3)]
    assert sum(counts) == 30_000  # so no draw holds a number twice
    chi_square = sum((count - 3000) ** 2 / 3000 for count in counts)
    assert chi_square < 27.9  # the 99.9 % point of 9 degrees of freedom


def test_floyd_takes_all_of_as_many_as_there_are():
    drawn = floyd(torch.tensor([2, 2, 7]), 2)
    assert drawn[:2].sort().values.tolist() == [[0, 1], [0, 1]]


def star(leaves=6):
    return torch.stack([torch.arange(1, leaves + 1), torch.zeros(leaves, dtype=torch.long)])


def test_means_and_scaled_sums_are_unbiased():
    """Compared with the standard error of 2,000 samples; the softmax of the docstring's warning is compared too."""
    sampler = NeighbourSampler(star(6), 7, [3])
    value = torch.tensor([0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0])
    generator = torch.Generator().manual_seed(0)
    means, sums, ratios = [], [], []
    for _ in range(2000):
        sample = sampler.sample(torch.tensor([0]), generator)
        assert sample.nodes[0] == 0 and len(sample.edges) == 3
        drawn = value[sample.nodes[sample.edge_index[0]]]
        means.append(drawn.mean())
        sums.append((drawn / sample.inclusion).sum())
        ratios.append((drawn.softmax(0) * drawn).sum())
    for draws, true in ((torch.stack(means), 63 / 6), (torch.stack(sums), 63.0)):
        error = draws.std() / 2000**0.5
        assert abs(draws.mean() - true) < 3 * error < 0.05 * true
    whole = (value[1:].softmax(0) * value[1:]).sum()
    assert torch.stack(ratios).mean() < whole - 5  # biased: half of the samples miss the largest


def test_without_limit_a_sample_holds_all_that_the_targets_depend_on():
    data = communities(200, seed=1)
    model = GraphTransformer(3, 4, layers=2, structure=("degree",)).eval()
    data.degree = in_degree(data.edge_index, 200)
    targets = torch.tensor([5, 0, 77])
    part = NeighbourSampler(data.edge_index, 200, [-1, -1]).sample_data(data, targets)
    assert part.num_nodes < 200
    assert torch.allclose(model(part)[:3], model(data)[targets], atol=1e-6)


def test_a_sample_is_a_part_of_the_graph_with_at_most_k_edges_into_a_node():
    data = communities(200, edge_dim=2)
    sampler = NeighbourSampler(data.edge_index, 200, [4, 2])
    targets = torch.tensor([9, 3, 150])
    sample = sampler.sample(targets, torch.Generator().manual_seed(0))
    assert torch.equal(sample.nodes[:3], targets) and len(sample.nodes.unique()) == len(sample.nodes)
    assert torch.equal(sample.nodes[sample.edge_index], data.edge_index[:, sample.edges])
    assert len(sample.edges.unique()) == len(sample.edges)
    degree, drawn = in_degree(data.edge_index, 200)[sample.nodes], in_degree(sample.edge_index, len(sample.nodes))
    assert torch.equal(drawn[:3], degree[:3].clamp_max(4)) and (drawn[3:] <= 2).all()
    chances = torch.zeros(len(sample.nodes)).index_add(0, sample.edge_index[1], sample.inclusion)
    assert torch.allclose(chances[:3], degree[:3].clamp_max(4) ** 2 / degree[:3])
    part = sampler.sample_data(data, targets, torch.Generator().manual_seed(0))
    assert torch.equal(part.x, data.x[sample.nodes]) and torch.equal(part.edge_attr, data.edge_attr[sample.edges])


def test_the_generator_decides():
    data = communities(200)
    sampler = NeighbourSampler(data.edge_index, 200, [2, 2])
    first, second, other = (sampler.sample(torch.arange(20), torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(first.edges, second.edges) and not torch.equal(first.edges, other.edges)


def test_isolated_targets_and_graphs_without_edges():
    sampler = NeighbourSampler(torch.zeros(2, 0, dtype=torch.long), 3, [2, -1])
    sample = sampler.sample(torch.tensor([2, 0]))
    assert sample.nodes.tolist() == [2, 0] and sample.edge_index.shape == (2, 0)
    assert sampler.sample(torch.zeros(0, dtype=torch.long)).nodes.numel() == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NeighbourSampler(star(), 7, [0]), "fanouts"),
        (lambda: NeighbourSampler(star(), 7, []), "fanouts"),
        (lambda: NeighbourSampler(star(), 6, [1]), "got edge 5 from 6 to 0"),
        (lambda: NeighbourSampler(star(), 7, [1]).sample(torch.tensor([7])), "targets: expected nodes 0 .. 6"),
        (lambda: NeighbourSampler(star(), 7, [1]).sample(torch.tensor([1, 1])), "one twice"),
    ],
)
def test_bad_input_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_shortest_paths_are_not_carried_into_a_sample():
    data = Data(x=torch.zeros(7, 1), edge_index=star(), hop_index=star(), hop_distance=torch.ones(6, dtype=torch.long))
    assert "hop_index" not in NeighbourSampler(star(), 7, [2]).sample_data(data, torch.tensor([0]))
