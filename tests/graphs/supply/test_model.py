"""The receptive field is a guarantee: whatever the weights, nothing arrives from more than D hops away."""

import pytest
import torch
from torch_geometric.data import Data

from graphs import GraphAttention, receptive_field
from graphs.layers.receptive import hop_distances
from graphs.supply.economy import EconomyOptions, FlowEdges, draw_economy
from graphs.supply.model import Propagation, node_features


def setting(seed=0, sectors=(14, 18)):
    economy = draw_economy(torch.Generator().manual_seed(seed), EconomyOptions(sectors, suppliers=(1, 3)))
    return economy, economy.edges()


def build(hops, seed=0, **options):
    torch.manual_seed(seed)
    model = Propagation(hops, **options).double()
    for parameter in model.parameters():  # far from any start or solution
        torch.nn.init.normal_(parameter, std=0.7)
    return model


def jacobian(model, edges, n):
    shock = torch.rand(n, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return torch.autograd.functional.jacobian(lambda f: model(edges, f)[:, 0], shock)[..., 0]


@pytest.mark.parametrize("hops", [1, 2, 3])
@pytest.mark.parametrize("options", [{}, {"positive": False}, {"shared": True}])
def test_the_jacobian_is_zero_beyond_d_hops_and_only_there(hops, options):
    for seed in range(2):
        economy, edges = setting(seed)
        n = len(economy)
        found = jacobian(build(hops, seed, **options), edges, n)
        distance = hop_distances(edges.index, n)
        within = (distance >= 0) & (distance <= hops)
        assert (~within).any(), "the graph is too small for this test"
        assert (found[~within] == 0).all()
        assert (found[within] != 0).all()


@pytest.mark.parametrize("hops", [1, 3])
def test_the_measured_receptive_field_has_that_depth(hops):
    economy, edges = setting()
    model = build(hops)
    shock = torch.rand(len(economy), 1, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    data = Data(shock, edges.index, edge_weight=edges.coefficient)
    field = receptive_field(lambda data: model(FlowEdges(data.edge_index, data.edge_weight), data.x), data)
    assert field.depth == hops and len(field.beyond(hops)) == 0
    assert all(field.share(hop) == 1.0 for hop in range(hops + 1))


def test_a_global_branch_breaks_the_guarantee():
    economy, edges = setting()
    n = len(economy)
    far = (hop_distances(edges.index, n) > 1) | (hop_distances(edges.index, n) < 0)
    x = torch.rand(n, 8, generator=torch.Generator().manual_seed(0))
    for across in (False, True):
        torch.manual_seed(0)
        layer = GraphAttention(8, 4, 2, global_attention=across)
        found = torch.autograd.functional.jacobian(lambda x, layer=layer: layer(x, edges.index), x).abs().sum((1, 3))
        assert bool((found[far] > 0).any()) is across


@pytest.mark.parametrize("options", [{}, {"positive": False}])
def test_linear_in_the_shock(options):
    economy, edges = setting()
    model = build(3, **options)
    f = torch.rand(len(economy), 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    both = model(edges, 2 * f[:, :1] - 3 * f[:, 1:])
    assert torch.allclose(both, 2 * model(edges, f)[:, :1] - 3 * model(edges, f)[:, 1:], atol=1e-12)
    assert torch.equal(model(edges, 0 * f), 0 * f)


def test_positive_weights_answer_positive_shocks_positively():
    economy, edges = setting()
    f = torch.eye(len(economy), dtype=torch.float64)
    assert (build(3)(edges, f) >= 0).all()
    assert (build(3, seed=1, positive=False)(edges, f) < 0).any()


def test_it_can_be_the_series():
    """With logits ln a, gates r and unit values, one head and channel are the exact form."""
    from graphs.supply.input_output import truncated_series

    economy, edges = setting()
    model = Propagation(3, heads=1, channels=1).double()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.zero_()
            if name.endswith("raw"):
                parameter.fill_(float(torch.log(torch.expm1(torch.tensor(1.0, dtype=torch.float64)))))
        for layer in model.layers:
            layer.logit.linear.weight[0, 0] = 1.0  # of ln a_ij
            layer.gate.linear.weight[0, 0] = 1.0  # of the ln row sum
    found = model(edges, torch.eye(len(economy), dtype=torch.float64))
    assert torch.allclose(found, truncated_series(economy.coefficients, 3), atol=1e-12)


def test_equivariant_to_the_order_of_sectors_and_edges():
    economy, edges = setting()
    n = len(economy)
    model, generator = build(2), torch.Generator().manual_seed(3)
    f = torch.rand(n, 1, dtype=torch.float64, generator=generator)
    order = torch.randperm(n, generator=generator)
    shuffled = torch.randperm(len(edges.coefficient), generator=generator)
    place = order.argsort()
    other = FlowEdges(place[edges.index[:, shuffled]], edges.coefficient[shuffled])
    assert torch.allclose(model(other, f[order]), model(edges, f)[order], atol=1e-12)


def test_node_features_by_hand():
    edges = FlowEdges(torch.tensor([[0, 1, 1], [2, 2, 0]]), torch.tensor([0.5, 0.25, 0.1]))
    expected = torch.tensor([[0.1, 0.5, 2, 2], [1.0, 0.35, 1, 3], [0.75, 1.0, 3, 1]]).log()
    assert torch.allclose(node_features(edges, 3), expected)


def test_gradcheck():
    _, edges = setting(sectors=(6, 6))
    model = build(2, heads=2, channels=2, hidden=3)
    f = torch.rand(6, 1, dtype=torch.float64, requires_grad=True)
    coefficient = edges.coefficient.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda a, f: model(FlowEdges(edges.index, a), f), (coefficient, f))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Propagation(0), "hops: expected at least 1"),
        (lambda: Propagation(1, heads=0), "heads"),
        (lambda: Propagation(1)(FlowEdges(torch.zeros(2, 0).long(), torch.zeros(0)), torch.zeros(3)), "shock"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_no_edges():
    empty = FlowEdges(torch.zeros(2, 0, dtype=torch.long), torch.zeros(0))
    model = Propagation(2)
    found = model(empty, torch.eye(3))
    assert (found[~torch.eye(3, dtype=torch.bool)] == 0).all() and (found.diagonal() > 0).all()
