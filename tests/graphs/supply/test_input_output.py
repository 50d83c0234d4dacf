"""Input-output algebra against Miller and Blair's two-sector table and its identities."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from graphs.supply import input_output as io

# Miller, Blair: Input-Output Analysis, 2nd edition, section 2.3, tables 2.3 and 2.4: the two-sector example.
FLOWS = torch.tensor([[150.0, 500.0], [200.0, 100.0]], dtype=torch.float64)
OUTPUT = torch.tensor([1000.0, 2000.0], dtype=torch.float64)
DEMAND = torch.tensor([350.0, 1700.0], dtype=torch.float64)
A = torch.tensor([[0.15, 0.25], [0.20, 0.05]], dtype=torch.float64)
L = torch.tensor([[1.2541, 0.3300], [0.2640, 1.1221]], dtype=torch.float64)
VALUE_ADDED = torch.tensor([0.65, 0.70], dtype=torch.float64)


def close(found, expected, atol=1e-12):
    return torch.allclose(found, torch.as_tensor(expected, dtype=found.dtype), atol=atol, rtol=0)


def economy(seed, n=6):
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.rand(n, n, generator=generator, dtype=torch.float64)
    return matrix / matrix.sum(0) * torch.rand(n, generator=generator, dtype=torch.float64) * 0.9


def test_the_textbook_table():
    assert close(io.technical_coefficients(FLOWS, OUTPUT), A)
    assert close(io.leontief_inverse(A), L, atol=5e-5)  # as printed, four decimals
    assert close(io.total_output(A, DEMAND), OUTPUT, atol=1e-9)
    # the new demand of section 2.3: f = (600, 1500) needs x = (1247.52, 1841.58)
    new = torch.tensor([600.0, 1500.0], dtype=torch.float64)
    assert close(io.total_output(A, new), [1247.52, 1841.58], atol=6e-3)
    assert close(io.output_multipliers(A), [1.518, 1.452], atol=6e-4)


def test_rounds_by_hand():
    new = torch.tensor([600.0, 1500.0], dtype=torch.float64)
    found = io.rounds(A, new, 2)
    assert close(found[0], [600.0, 1500.0]) and close(found[1], [465.0, 195.0])  # .15*600 + .25*1500; .2*600 + .05*1500
    assert close(found[2], [118.5, 102.75])
    assert close(io.truncated_series(A, 1), [[1.15, 0.25], [0.20, 1.05]])
    assert close(io.truncated_series(A, 2), [[1.2225, 0.3], [0.24, 1.1025]])
    assert torch.equal(io.truncated_series(A, 0), torch.eye(2, dtype=torch.float64))


def test_prices_are_the_dual():
    assert close(io.prices(A, VALUE_ADDED), [1.0, 1.0])  # the table's own value added
    assert close(io.value_added_multipliers(A, VALUE_ADDED), [1.0, 1.0])
    raised = io.prices(A, torch.tensor([0.75, 0.70], dtype=torch.float64))  # + .1 in sector 1
    determinant = 0.85 * 0.95 - 0.25 * 0.20
    assert close(raised, [1 + 0.1 * 0.95 / determinant, 1 + 0.1 * 0.25 / determinant])


def test_embodied_by_hand():
    factors = torch.tensor([[0.3, 0.2], [0.1, 0.4]], dtype=torch.float64)
    determinant = 0.85 * 0.95 - 0.25 * 0.20
    expected = torch.tensor(
        [
            [0.3 * 0.95 + 0.2 * 0.20, 0.3 * 0.25 + 0.2 * 0.85],
            [0.1 * 0.95 + 0.4 * 0.20, 0.1 * 0.25 + 0.4 * 0.85],
        ],
        dtype=torch.float64,
    )
    assert close(io.embodied(A, factors), expected / determinant)
    assert close(io.embodied(A, factors, DEMAND).sum(1), factors @ OUTPUT, atol=1e-9)  # all that is used, by demand


def test_make_and_use_by_hand():
    """Each industry makes a good of its own: D is the identity and A = U / x; then by-products."""
    make = torch.diag(OUTPUT)
    assert close(io.industry_coefficients(FLOWS, make), A)
    make = torch.tensor([[90.0, 10.0], [0.0, 90.0]], dtype=torch.float64)  # industry 1 makes a tenth of good 2
    use = torch.tensor([[10.0, 18.0], [20.0, 9.0]], dtype=torch.float64)
    # x = (100, 90), q = (90, 100): B = [[.1, .2], [.2, .1]], D = [[1, .1], [0, .9]]
    assert close(io.industry_coefficients(use, make), [[0.12, 0.21], [0.18, 0.09]])


def test_a_commodity_that_nobody_makes_is_left_out():
    make = torch.tensor([[100.0, 0.0, 0.0], [0.0, 50.0, 0.0]], dtype=torch.float64)
    use = torch.tensor([[10.0, 5.0], [20.0, 5.0], [7.0, 3.0]], dtype=torch.float64)
    assert close(io.industry_coefficients(use, make), [[0.1, 0.1], [0.2, 0.1]])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 8))
def test_identities(seed, n):
    matrix = economy(seed, n)
    inverse = io.leontief_inverse(matrix)
    eye = torch.eye(n, dtype=torch.float64)
    assert close(inverse, eye + matrix @ inverse, atol=1e-10)  # L = I + A L
    assert close(inverse - io.truncated_series(matrix, 3), torch.linalg.matrix_power(matrix, 4) @ inverse, atol=1e-10)
    own = 1 - matrix.sum(0)
    assert close(io.prices(matrix, own), torch.ones(n), atol=1e-10)
    demand = torch.rand(n, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    output = io.total_output(matrix, demand)
    assert close((own * output).sum(), demand.sum(), atol=1e-9)  # income equals expenditure
    flows = matrix * output
    assert close(io.technical_coefficients(flows, output), matrix, atol=1e-10)
    assert (inverse >= -1e-12).all() and (inverse.diagonal() >= 1 - 1e-12).all()


def test_spectral_radius_names_the_sector():
    matrix = torch.zeros(3, 3, dtype=torch.float64)
    matrix[1, 2], matrix[2, 1], matrix[0, 0] = 2.0, 0.5, 0.3  # a cycle of 1 and 2 with eigenvalue 1
    found = io.spectral_radius(matrix)
    assert found.radius == pytest.approx(1.0) and found.sector in (1, 2)
    matrix[2, 2] = 0.1  # now 2 feeds on itself, too: its share is greater
    assert io.spectral_radius(matrix).sector == 2
    with pytest.raises(ValueError, match=r"spectral radius below 1, got 1\.0.*'c' weighs most"):
        io.check_coefficients(matrix, ("a", "b", "c"))


def test_clamp():
    matrix = torch.tensor([[-1e-4, 0.1], [0.2, -2e-4]], dtype=torch.float64)
    clamped, count = io.clamp_negatives(matrix)
    assert count == 2 and close(clamped, [[0.0, 0.1], [0.2, 0.0]])
    with pytest.raises(ValueError, match=r"at least -0.0001"):
        io.clamp_negatives(matrix, most=1e-4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: io.technical_coefficients(FLOWS[:1], OUTPUT), "flows: expected a square"),
        (lambda: io.technical_coefficients(FLOWS, OUTPUT[:1]), r"output: expected \(2,\)"),
        (lambda: io.technical_coefficients(-FLOWS, OUTPUT), "flows: expected finite numbers of at least 0, got -150"),
        (lambda: io.technical_coefficients(FLOWS * torch.nan, OUTPUT), "got nan"),
        (lambda: io.technical_coefficients(FLOWS, OUTPUT * torch.tensor([1, 0])), "got 0 in sector 1"),
        (lambda: io.industry_coefficients(FLOWS, torch.zeros(2, 3)), "use, make: expected"),
        (lambda: io.industry_coefficients(FLOWS, torch.zeros(2, 2)), "every industry to have output"),
        (lambda: io.industry_coefficients(FLOWS / 0, torch.eye(2)), "use: expected finite"),
        (lambda: io.check_coefficients(A, ("a",)), "names: expected 2, got 1"),
        (lambda: io.check_coefficients(torch.zeros(0, 0)), "at least one sector"),
        (lambda: io.check_coefficients(A - 0.1, ("a", "b")), "at b, b"),
        (lambda: io.rounds(A, DEMAND[:1], 2), r"demand: expected \(2,\)"),
        (lambda: io.rounds(A, DEMAND, -1), "hops: expected at least 0"),
        (lambda: io.embodied(A, DEMAND), r"factors: expected \(k, 2\)"),
        (lambda: io.leontief_inverse(torch.eye(2)), "spectral radius"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_transposed_table_is_detected():
    matrix = torch.tensor([[0.0, 0.6, 0.6, 0.6], [0.1, 0, 0, 0], [0.1, 0, 0, 0], [0.1, 0, 0, 0]], dtype=torch.float64)
    io.check_coefficients(matrix)  # a hub that sells 1.8 in all
    with pytest.raises(ValueError, match=r"'hub' buys 1\.8 per unit.*transposed"):
        io.check_coefficients(matrix.T, ("hub", "b", "c", "d"))
