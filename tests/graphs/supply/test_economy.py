import pytest
import torch

from graphs.supply.economy import Economy, EconomyOptions, draw_economy, from_edges
from graphs.supply.input_output import spectral_radius

A = torch.tensor([[0.3, 0.25, 0.0], [0.2, 0.0, 0.01], [0.0, 0.1, 0.0]], dtype=torch.float64)
NAMES = ("farm", "mill", "shop")


def test_edges_run_as_shocks_do():
    economy = Economy(A, NAMES).threshold(0.02)
    demand, cost = economy.edges("demand"), economy.edges("cost")
    pairs = {(s, t): a for (s, t), a in zip(demand.index.T.tolist(), demand.coefficient.tolist(), strict=True)}
    assert pairs == {(1, 0): 0.25, (0, 1): 0.2, (1, 2): 0.1}  # from the buyer to the supplier; no diagonal, no .01
    assert torch.equal(cost.index, demand.index.flip(0)) and torch.equal(cost.coefficient, demand.coefficient)
    assert economy.threshold(0.02, diagonal=True).coefficients[0, 0] == 0  # it was removed before
    assert Economy(A, NAMES).threshold(0.02, diagonal=True).coefficients[0, 0] == 0.3


def test_pyg_objects():
    relation = torch.tensor([[0, 0, 1], [1, 0, 1], [2, 2, 2]])
    factors = torch.tensor([[0.2, 0.3, 0.4]], dtype=torch.float64)
    economy = Economy(A, NAMES, factors, ("labour",), relation=relation)
    data = economy.to_data()
    assert data.num_nodes == 3 and data.validate() and data.names == list(NAMES)
    assert torch.equal(data.edge_index, economy.edges().index) and torch.equal(
        data.edge_weight, economy.edges().coefficient
    )
    assert torch.equal(data.x, factors.T)
    hetero = economy.to_hetero("cost")
    assert hetero.validate() and set(hetero.edge_types) == {("sector", r, "sector") for r in economy.relations}
    assert hetero["sector", "capital", "sector"].edge_index.tolist() == [[2], [1]]
    assert hetero["sector", "labour", "sector"].edge_weight.tolist() == [0.2, 0.01]
    assert sum(hetero[kind].edge_index.shape[1] for kind in hetero.edge_types) == 5
    with pytest.raises(ValueError, match="relation"):
        Economy(A, NAMES).to_hetero()


def test_from_edges():
    economy = from_edges([1, 0], [0, 2], [0.2, 0.5], NAMES)
    assert economy.coefficients[1, 0] == 0.2 and economy.coefficients[0, 2] == 0.5 and economy.coefficients.sum() == 0.7


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: from_edges([3], [0], [0.1], NAMES), r"edge 0: expected nodes 0 \.\. 2, got 3 -> 0"),
        (
            lambda: from_edges([0, 0], [1, 1], [0.1, 0.2], NAMES),
            "edge 1: expected each pair once, got 'farm' -> 'mill' twice",
        ),
        (lambda: from_edges([0], [1], [-0.1], NAMES), "got -0.1 at farm, mill"),
        (lambda: from_edges([0], [1], [float("nan")], NAMES), "got nan at farm, mill"),
        (lambda: from_edges([0, 1], [1, 0], [2.0, 2.0], NAMES), "spectral radius"),
        (lambda: from_edges([0], [1, 2], [0.1], NAMES), "equal lengths, got 1, 2, 1"),
        (lambda: Economy(A, ("farm", "farm", "shop")), "'farm' twice"),
        (lambda: Economy(A, NAMES, demand=torch.ones(2)), r"demand: expected \(3,\)"),
        (lambda: Economy(A, NAMES, factor_names=("labour",)), "factors: expected one row"),
        (lambda: Economy(A, NAMES).threshold(0.9), "above: expected less than the greatest .*, got 0.9"),
        (lambda: Economy(A, NAMES).threshold(-1), "at least 0"),
        (lambda: Economy(A, NAMES).edges("up"), "'demand' or 'cost'"),
        (lambda: EconomyOptions(sectors=(1, 5)), "sectors"),
        (lambda: EconomyOptions(bought=(0.5, 1.0)), "bought"),
        (lambda: EconomyOptions(suppliers=(3, 2)), "suppliers"),
        (lambda: EconomyOptions(feedback=2.0), "feedback"),
        (lambda: EconomyOptions(tiers=0), "tiers"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("seed", range(4))
def test_a_drawn_economy_is_what_it_says(seed):
    options = EconomyOptions(sectors=(20, 30), services=0.2)
    economy = draw_economy(torch.Generator().manual_seed(seed), options)
    again = draw_economy(torch.Generator().manual_seed(seed), options)
    matrix = economy.coefficients
    assert torch.equal(matrix, again.coefficients) and torch.equal(economy.factors, again.factors)
    assert 20 <= len(economy) <= 30
    assert (matrix.sum(0) < 1).all() and spectral_radius(matrix).radius < 1
    assert (matrix[matrix > 0] > options.smallest).all() and (matrix.diagonal() == 0).all()
    assert (economy.factors > 0).all()
    kinds = economy.edges().relation.unique().tolist()
    assert kinds == [0, 1, 2]  # several relations
    assert (torch.linalg.matrix_power((matrix > 0).double(), 12).diagonal() > 0).any()  # cycles


def test_tiers_and_hubs():
    """Without feedback and services, every sector buys from the tier above; the first buys from anyone."""
    options = EconomyOptions(sectors=(40, 40), tiers=4, feedback=0.0, services=0.0, smallest=0.0)
    economy = draw_economy(torch.Generator().manual_seed(0), options)
    tier = torch.arange(40) // 10
    supplier, buyer = economy.coefficients.nonzero().T
    later = tier[buyer] > 0
    assert (tier[supplier[later]] == tier[buyer[later]] - 1).all()
    even = [draw_economy(torch.Generator().manual_seed(s), EconomyOptions((60, 60), hub=0.0)) for s in range(4)]
    hubs = [draw_economy(torch.Generator().manual_seed(s), EconomyOptions((60, 60), hub=3.0)) for s in range(4)]
    busiest = [[float((e.coefficients > 0).sum(1).max()) for e in some] for some in (even, hubs)]
    assert sum(busiest[1]) > sum(busiest[0])
