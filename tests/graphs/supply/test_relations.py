import itertools

import pytest
import torch
from torch_geometric.data import HeteroData

from graphs import GraphAttention
from graphs.supply.breadth import (
    BreadthModel,
    draw_groups,
    draw_samples,
    least_unexplained,
    train_breadth,
    unexplained,
)
from graphs.supply.relations import (
    TypedEdges,
    match_heads,
    relation_mask,
    relation_mass,
    typed_edges,
    without_relation,
)

EDGES = TypedEdges(torch.tensor([[0, 1, 2, 0], [3, 3, 3, 4]]), torch.tensor([0, 1, 1, 0]), ("a", "b"))


def world(seed=0, **options):
    generator = torch.Generator().manual_seed(seed)
    prototypes = torch.randn(3, 8, generator=generator)
    graphs = [draw_groups(generator, prototypes, **options) for _ in range(3)]
    return graphs, draw_samples(graphs[-1], 200, generator)


def test_mass_by_hand():
    weights = torch.tensor([[0.5, 1.0], [0.3, 0.0], [0.2, 0.0], [1.0, 1.0]])
    found = relation_mass(weights, EDGES)  # means over the queries 3 and 4
    assert torch.allclose(found, torch.tensor([[0.75, 0.25], [1.0, 0.0]]).double())


@pytest.mark.parametrize("shape", [(3, 3), (2, 4), (5, 3)])
def test_the_matching_is_the_best_of_all(shape):
    mass = torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    heads, relations = shape
    most = min(shape)
    best = max(
        sum(float(mass[h, r]) for h, r in zip(some, columns, strict=True))
        for some in itertools.permutations(range(heads), most)
        for columns in itertools.combinations(range(relations), most)
    )
    found = match_heads(mass)
    assert float(found.matched.sum()) == pytest.approx(best)
    used = found.head[found.head >= 0].tolist()
    assert len(used) == most and len(set(used)) == most
    assert (found.matched[found.head < 0] == 0).all()


def test_hetero_data_in():
    data = HeteroData()
    data["supplier"].num_nodes, data["buyer"].num_nodes = 3, 2
    data["supplier", "materials", "buyer"].edge_index = torch.tensor([[0, 2], [0, 1]])
    data["buyer", "labour", "supplier"].edge_index = torch.tensor([[1], [2]])
    found = typed_edges(data)
    assert found.names == ("materials", "labour") and found.relation.tolist() == [0, 0, 1]
    assert found.index.tolist() == [[0, 2, 4], [3, 4, 2]]
    data["buyer", "labour", "supplier"].edge_index = torch.tensor([[2], [2]])
    with pytest.raises(ValueError, match=r"expected 'buyer' nodes 0 \.\. 1, got 2"):
        typed_edges(data)
    with pytest.raises(ValueError, match="edge types"):
        typed_edges(HeteroData())


def test_masks_confine_heads():
    mask = relation_mask(EDGES, 3)
    dense = mask.materialize(1, 3, 5, 5)[0]
    relation = torch.full((5, 5), -1)
    relation[EDGES.index[1], EDGES.index[0]] = EDGES.relation
    assert torch.equal(dense[0], relation == 0) and torch.equal(dense[1], relation == 1)
    assert torch.equal(dense[2], relation >= 0)  # a head without a relation sees all
    with pytest.raises(ValueError, match="heads: expected at least 2"):
        relation_mask(EDGES, 1)


def test_mass_of_a_graph_attention_layer():
    torch.manual_seed(0)
    layer = GraphAttention(4, 4, 2)
    answer = layer(torch.randn(5, 4), EDGES.index, return_attention=True)
    assert torch.equal(answer.edge_index, EDGES.index)
    found = relation_mass(answer.edge_weights, EDGES)
    assert torch.allclose(found.sum(1), torch.ones(2).double(), atol=1e-6)


def test_confined_heads_match_perfectly():
    (graph, *_), _ = world()
    model = BreadthModel(8, 3, 3, masked=True)
    found = match_heads(relation_mass(model.weights(graph), graph.edges))
    assert found.mean == pytest.approx(1.0) and found.head.tolist() == [0, 1, 2]


def test_targets_by_their_definition():
    (graph, *_), _ = world(buyers=5, suppliers=4, each=(1, 3))
    samples = draw_samples(graph, 3, torch.Generator().manual_seed(1))
    index, relation = graph.edges.index, graph.edges.relation
    for number, buyer in enumerate(graph.buyers.tolist()):
        for sample in range(3):
            total = 0.0
            for r in range(3):
                own = index[0][(index[1] == buyer) & (relation == r)]
                total += float(samples.multiplier[sample, r] * samples.change[own, sample].mean())
            assert float(samples.target[number, sample]) == pytest.approx(total, abs=1e-5)


def test_what_must_stay_unexplained():
    """Against the eigenvalues of E[m m'] of drawn multipliers."""
    (graph, *_), _ = world()
    m = draw_samples(graph, 20_000, torch.Generator().manual_seed(0)).multiplier
    values = torch.linalg.eigvalsh(m.T @ m / len(m))
    for heads in range(4):
        expected = float(values[: 3 - heads].sum() / values.sum())
        assert least_unexplained(heads, 3) == pytest.approx(expected, abs=0.01)


def test_heads_become_relations():
    """A short training run: 3 heads of 3 relations, without masks; held-out graph; fewer heads leave more."""
    generator = torch.Generator().manual_seed(0)
    prototypes = torch.randn(3, 8, generator=generator)
    train = [draw_groups(generator, prototypes, buyers=20, suppliers=10) for _ in range(8)]
    test = draw_groups(generator, prototypes, buyers=20, suppliers=10)
    samples = draw_samples(test, 300, generator)
    left = {}
    for heads in (1, 3):
        torch.manual_seed(heads)
        model = train_breadth(BreadthModel(8, 3, heads), train, 250, torch.Generator().manual_seed(0), lr=0.03)
        left[heads] = unexplained(model, test, samples)
    assert left[3] < 0.02 < 0.25 < left[1]
    matching = match_heads(relation_mass(model.weights(test), test.edges))
    assert matching.mean > 0.9 and sorted(matching.head.tolist()) == [0, 1, 2]
    share = [float(samples.part[..., r].var() / samples.target.var()) for r in range(3)]
    for r, head in enumerate(matching.head.tolist()):  # silencing a head loses its relation
        assert unexplained(model, test, samples, silenced=head) == pytest.approx(share[r], abs=0.08)
        assert unexplained(model, test._replace(edges=without_relation(test.edges, r)), samples) > share[r] - 0.08


def test_attention_weights_of_free_heads_are_the_layers():
    (graph, *_), samples = world()
    torch.manual_seed(0)
    model = BreadthModel(8, 3, 2)
    weights = model.weights(graph)
    with torch.no_grad():
        out = model.attend(graph, samples.change).out[0]
    by_hand = torch.zeros_like(out)
    for head in range(2):
        messages = weights[:, head, None] * samples.change[graph.edges.index[0]]
        by_hand[head].index_add_(0, graph.edges.index[1], messages)
    assert torch.allclose(out, by_hand, atol=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: relation_mass(torch.ones(3, 1), EDGES), r"weights: expected \(4, H\)"),
        (lambda: relation_mass(torch.zeros(4, 1), EDGES), "a head of zeros"),
        (lambda: match_heads(torch.full((2, 2), torch.nan)), "finite"),
        (lambda: draw_groups(torch.Generator(), torch.zeros(2, 4)), "names: expected 2"),
        (lambda: draw_groups(torch.Generator(), torch.zeros(3, 4), each=(2, 30)), "each"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
