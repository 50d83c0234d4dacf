import pytest
import torch

from graphs.layers.receptive import hop_distances
from graphs.supply import exact, shocks
from graphs.supply.data.tables import read_make_use
from graphs.supply.economy import Economy, EconomyOptions, FlowEdges, draw_economy
from graphs.supply.input_output import leontief_inverse, truncated_series

from ..fakes import write_make_use


@pytest.mark.parametrize("hops", range(6))
@pytest.mark.parametrize("flow", ["demand", "cost"])
def test_attention_is_the_truncated_series(hops, flow):
    for seed in range(3):
        economy = draw_economy(torch.Generator().manual_seed(seed), EconomyOptions((15, 25)))
        expected = truncated_series(economy.coefficients, hops)
        expected = expected if flow == "demand" else expected.T
        eye = torch.eye(len(economy), dtype=torch.float64)
        found = exact.propagate(economy.edges(flow), eye, hops)
        assert (found - expected).abs().max() < 1e-12
        distance = hop_distances(economy.edges(flow).index, len(economy))
        beyond = (distance > hops) | (distance < 0)
        assert (found[beyond] == 0).all()


def test_a_table_with_diagonal(tmp_path):
    economy = read_make_use(*write_make_use(tmp_path / "io"))
    found = exact.propagate(economy.edges(), torch.eye(3, dtype=torch.float64), 60)
    assert torch.allclose(found, leontief_inverse(economy.coefficients), atol=1e-12)


def test_by_hand():
    """0 buys .5 from 1, 1 buys .4 from 2 and .2 from 0."""
    matrix = torch.zeros(3, 3, dtype=torch.float64)
    matrix[1, 0], matrix[2, 1], matrix[0, 1] = 0.5, 0.4, 0.2
    edges = Economy(matrix, ("a", "b", "c")).edges()
    shock = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    assert exact.propagate(edges, shock, 0).tolist() == [1.0, 0.0, 0.0]
    assert exact.propagate(edges, shock, 1).tolist() == pytest.approx([1.0, 0.5, 0.0])
    assert exact.propagate(edges, shock, 2).tolist() == pytest.approx([1.1, 0.5, 0.2])
    assert hop_distances(edges.index, 3).tolist() == [[0, 1, -1], [1, 0, -1], [2, 1, 0]]


def test_gradients_are_those_of_the_series():
    economy = draw_economy(torch.Generator().manual_seed(1), EconomyOptions((6, 8)))
    edges = economy.edges()
    shock = torch.rand(len(economy), dtype=torch.float64, generator=torch.Generator().manual_seed(2))

    def response(coefficient):
        return exact.propagate(FlowEdges(edges.index, coefficient), shock, 3)

    coefficient = edges.coefficient.clone().requires_grad_()
    assert torch.autograd.gradcheck(response, (coefficient,))
    (found,) = torch.autograd.grad(response(coefficient).sum(), coefficient)
    other = edges.coefficient.clone().requires_grad_()
    (expected,) = torch.autograd.grad(shocks.respond(FlowEdges(edges.index, other), shock, 3).sum(), other)
    assert torch.allclose(found, expected, atol=1e-12)


def test_errors():
    edges = FlowEdges(torch.tensor([[0], [5]]), torch.tensor([0.5], dtype=torch.float64))
    with pytest.raises(ValueError, match="edge_index"):
        exact.propagate(edges, torch.zeros(3, dtype=torch.float64), 1)
    with pytest.raises(ValueError, match="hops"):
        exact.propagate(edges, torch.zeros(3), -1)
    with pytest.raises(ValueError, match=r"shock: expected \(n,\)"):
        exact.propagate(edges, torch.zeros(3, 1, 1), 1)
