import pytest
import torch

from graphs.supply import shocks
from graphs.supply.economy import Economy, EconomyOptions, draw_economy
from graphs.supply.input_output import leontief_inverse, rounds, truncated_series

MATRIX = torch.tensor([[0.0, 0.2, 0.0], [0.5, 0.0, 0.0], [0.0, 0.4, 0.0]], dtype=torch.float64)
ECONOMY = Economy(MATRIX, ("a", "b", "c"))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_a_shock_travels_one_hop_at_a_time():
    found = shocks.travel(ECONOMY, shocks.shock_at(ECONOMY, {"a": 2.0}), 3)
    assert torch.allclose(found, torch.tensor([[2.0, 0, 0], [0, 1.0, 0], [0.2, 0, 0.4], [0, 0.1, 0]]).double())
    cost = shocks.travel(ECONOMY, shocks.shock_at(ECONOMY, {"c": 1.0}), 2, "cost")
    assert torch.allclose(cost, torch.tensor([[0, 0, 1.0], [0, 0.4, 0], [0.2, 0, 0]]).double())


@pytest.mark.parametrize("seed", range(3))
def test_sums_over_edges_equal_matrix_algebra(seed):
    economy = draw_economy(generator(seed), EconomyOptions((12, 18)))
    matrix, edges, n = economy.coefficients, economy.edges(), len(economy)
    eye = shocks.unit_shocks(n)
    assert torch.allclose(shocks.respond(edges, eye, 4), truncated_series(matrix, 4), atol=1e-13)
    assert torch.allclose(shocks.respond(edges, eye), leontief_inverse(matrix), atol=1e-11)
    assert torch.allclose(shocks.respond(economy.edges("cost"), eye), leontief_inverse(matrix).T, atol=1e-11)
    one = torch.rand(n, dtype=torch.float64, generator=generator(seed))
    assert torch.allclose(shocks.travel(economy, one, 3), rounds(matrix, one, 3), atol=1e-13)


def test_sparse_shocks():
    found = shocks.sparse_shocks(10, 200, 3, generator())
    hit = (found > 0).sum(0)
    assert found.shape == (10, 200) and set(hit.tolist()) == {1, 2, 3}
    assert found[found > 0].log().mean().abs() < 0.2 and abs(found[found > 0].log().std() - 1) < 0.2
    assert torch.equal(found, shocks.sparse_shocks(10, 200, 3, generator()))


def test_perturbed_coefficients_have_mean_1():
    edges = ECONOMY.edges()
    many = torch.stack([shocks.perturb(edges, 0.3, generator(seed)).coefficient for seed in range(3000)])
    ratio = many / edges.coefficient
    assert (ratio.mean(0) - 1).abs().max() < 0.03 and (ratio.log().std(0) - 0.3).abs().max() < 0.02
    assert torch.equal(shocks.perturb(edges, 0.0, generator()).coefficient, edges.coefficient)


def test_a_band_by_its_theory():
    """The answer b = .5 of a is a coefficient itself: its quantiles are the lognormal's."""
    edges, shock = ECONOMY.edges(), shocks.shock_at(ECONOMY, {"a": 1.0})
    band = shocks.sample_band(lambda some: shocks.respond(some, shock, 1), edges, 4001, 0.2, generator())
    expected = [0.5 * torch.tensor(0.2 * z - 0.02).exp().item() for z in (-1.6449, 0.0, 1.6449)]
    found = [float(part[1]) for part in band]
    assert found == pytest.approx(expected, rel=0.02)
    assert band.low[0] == band.high[0] == 1.0  # the shock itself is certain


def test_linear_in_the_shock():
    edges = ECONOMY.edges()
    f = torch.rand(3, 4, dtype=torch.float64, generator=generator())
    assert torch.allclose(
        shocks.respond(edges, 2 * f[:, 0] - f[:, 1]), (shocks.respond(edges, f) @ torch.tensor([2, -1, 0, 0]).double())
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: shocks.shock_at(ECONOMY, {"d": 1.0}), "sectors such as a, b, c, got 'd'"),
        (lambda: shocks.sparse_shocks(3, 1, 4, generator()), r"most: expected 1 \.\. 3"),
        (lambda: shocks.travel(ECONOMY, torch.zeros(3), -1), "hops"),
        (lambda: shocks.perturb(ECONOMY.edges(), -1.0, generator()), "spread"),
        (lambda: shocks.sample_band(lambda e: e.coefficient, ECONOMY.edges(), 1, 0.1, generator()), "scenarios"),
        (
            lambda: shocks.sample_band(
                lambda e: e.coefficient, ECONOMY.edges(), 5, 0.1, generator(), quantiles=(0.5, 0.1, 0.9)
            ),
            "quantiles",
        ),
        (
            lambda: shocks.respond(ECONOMY.edges()._replace(coefficient=torch.tensor([5.0, 5.0, 5.0])), torch.ones(3)),
            "does not settle",
        ),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
