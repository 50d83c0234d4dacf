r"""Input-output algebra: what a unit of final demand needs, directly and through all its suppliers.

.. math:: x = A x + f \;\Rightarrow\; x = L f, \quad L = (I - A)^{-1} = \sum_{k \ge 0} A^k

a_ij is what sector i delivers per unit of sector j's output: rows sell, columns buy. Every function takes and answers
tensors, in the dtype that it is given; float64 is meant. Units: coefficients are money per money of output.

References:
    Miller, Blair: Input-Output Analysis, 2nd edition, Cambridge 2009, chapters 2 (inverse, series, price model),
    5 (make and use tables) and 6 (multipliers).
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Dominant(NamedTuple):
    """The spectral radius of a coefficient matrix, and the sector that weighs most in its cycles."""

    radius: float
    sector: int


def technical_coefficients(flows: Tensor, output: Tensor) -> Tensor:
    """a_ij = z_ij / x_j; a sector without output and without inputs gets a column of zeros.

    Args:
        flows: What sector i delivers to sector j.
        output: Total output of each sector.

    Shapes:
        flows: (n, n)
        output: (n,)

    Raises:
        ValueError: A shape does not fit, a number is negative or not finite, or a sector buys without any output.
    """
    n = _square("flows", flows)
    _vector("output", output, n)
    _clean("flows", flows)
    _clean("output", output)
    idle = (output == 0) & (flows.sum(0) > 0)
    if idle.any():
        raise ValueError(f"output: expected more than 0 where inputs are bought, got 0 in sector {_first(idle)}")
    return flows / torch.where(output == 0, 1.0, output)


def industry_coefficients(use: Tensor, make: Tensor) -> Tensor:
    """A = D B with B = U / x and D = V / q (industry technology): industry by industry.

    x is the output of each industry, the row sums of V; q that of each commodity, its column sums. A commodity that no
    industry makes (noncomparable imports) is in D a column of zeros. Entries of U and V may be negative, as published
    tables have a few; see `clamp_negatives`.

    Args:
        use: U, commodities bought by industries.
        make: V, commodities made by industries.

    Shapes:
        use: (commodities, industries)
        make: (industries, commodities)
        answer: (industries, industries)

    Raises:
        ValueError: A shape does not fit, a number is not finite, or an industry has no output.

    References:
        Miller, Blair, section 5.3; Horowitz, Planting: Concepts and Methods of the U.S. Input-Output Accounts, BEA
        2009, chapter 12.
    """
    if use.dim() != 2 or make.dim() != 2 or use.shape != make.T.shape:
        raise ValueError(
            "use, make: expected (commodities, industries) and (industries, commodities), "
            f"got {tuple(use.shape)} and {tuple(make.shape)}"
        )
    for name, table in (("use", use), ("make", make)):
        if not table.isfinite().all():
            raise ValueError(f"{name}: expected finite numbers, got NaN or inf")
    x, q = make.sum(1), make.sum(0)
    if (x <= 0).any():
        raise ValueError(f"make: expected every industry to have output, got {x.min():g} in row {int(x.argmin())}")
    return (make / torch.where(q == 0, 1.0, q)) @ (use / x)


def clamp_negatives(coefficients: Tensor, most: float = 1e-3) -> tuple[Tensor, int]:
    """Put 0 where a coefficient is slightly negative (by-products); answer how many there were.

    Raises:
        ValueError: One is below -most.
    """
    if coefficients.min() < -most:
        raise ValueError(f"coefficients: expected at least -{most:g}, got {coefficients.min():.3g}")
    return coefficients.clamp_min(0), int((coefficients < 0).sum())


def check_coefficients(coefficients: Tensor, names: Sequence[str] | None = None) -> Dominant:
    """Refuse what is no technical coefficient matrix; answer its spectral radius.

    A sector's inputs cannot exceed its output for long, so columns sum to less than 1 but for a few sectors in
    deficit, while rows (what a sector sells to all) often sum to more. More columns than rows above 1 means that the
    table is transposed.

    Shapes:
        coefficients: (n, n)

    Raises:
        ValueError: It is not square, a number is negative or not finite, it is transposed, or its spectral radius is 1
            or more, so that no production meets any demand; the message names the sector that weighs most in it.
    """
    n = _square("coefficients", coefficients)
    names = [str(k) for k in range(n)] if names is None else list(names)
    if len(names) != n:
        raise ValueError(f"names: expected {n}, got {len(names)}")
    _clean("coefficients", coefficients, names)
    if n == 0:
        raise ValueError("coefficients: expected at least one sector, got none")
    bought, sold = coefficients.sum(0), coefficients.sum(1)
    if (bought > 1).sum() > (sold > 1).sum():
        worst = int(bought.argmax())
        raise ValueError(
            f"coefficients: expected rows to sell and columns to buy, got {int((bought > 1).sum())} columns and "
            f"{int((sold > 1).sum())} rows that sum to more than 1 ({names[worst]!r} buys {bought[worst]:.3g} per unit "
            "of output); is the table transposed?"
        )
    dominant = spectral_radius(coefficients)
    if dominant.radius >= 1:
        raise ValueError(
            f"coefficients: expected a spectral radius below 1, got {dominant.radius:.4g}; sector "
            f"{names[dominant.sector]!r} weighs most in the cycle that feeds on itself"
        )
    return dominant


def spectral_radius(coefficients: Tensor) -> Dominant:
    """The greatest |eigenvalue|, and the sector with the greatest product of its left and right eigenvector.

    That product is the derivative of the eigenvalue by the sector's scale: where the sum diverges, it says whose.
    """
    matrix = coefficients.double()
    values, right = torch.linalg.eig(matrix)
    top = int(values.abs().argmax())
    values_left, left = torch.linalg.eig(matrix.T)
    same = int((values_left - values[top]).abs().argmin())
    share = (right[:, top] * left[:, same]).abs()
    return Dominant(float(values[top].abs()), int(share.argmax()))


def leontief_inverse(coefficients: Tensor) -> Tensor:
    """L = (I - A)^-1: l_ij is all that sector i must produce for one unit of final demand for j.

    Raises:
        ValueError: As `check_coefficients`.
    """
    check_coefficients(coefficients)
    eye = torch.eye(len(coefficients), dtype=coefficients.dtype, device=coefficients.device)
    return torch.linalg.solve(eye - coefficients, eye)


def rounds(coefficients: Tensor, demand: Tensor, hops: int) -> Tensor:
    """A^k f for k = 0 .. hops: what each further round of suppliers must produce.

    Shapes:
        demand: (n,) or (n, m), m demands at once
        answer: (hops + 1, n) or (hops + 1, n, m)

    Raises:
        ValueError: A shape does not fit or hops is negative.
    """
    n = _square("coefficients", coefficients)
    if demand.dim() not in (1, 2) or len(demand) != n:
        raise ValueError(f"demand: expected ({n},) or ({n}, m), got {tuple(demand.shape)}")
    if hops < 0:
        raise ValueError(f"hops: expected at least 0, got {hops}")
    found = [demand]
    for _ in range(hops):
        found.append(coefficients @ found[-1])
    return torch.stack(found)


def truncated_series(coefficients: Tensor, hops: int) -> Tensor:
    """S_D = sum_{k=0}^{D} A^k: what suppliers at most D steps away contribute to L."""
    eye = torch.eye(len(coefficients), dtype=coefficients.dtype, device=coefficients.device)
    return rounds(coefficients, eye, hops).sum(0)


def total_output(coefficients: Tensor, demand: Tensor) -> Tensor:
    """Production x = L f that meets a final demand, (n,) or (n, m)."""
    return leontief_inverse(coefficients) @ demand


def prices(coefficients: Tensor, value_added: Tensor) -> Tensor:
    """Prices p' = v' L (the dual): the price of each sector's unit of output when its value added costs v per unit.

    With the v of the table itself, v_j = 1 - sum_i a_ij, all prices are 1.

    Shapes:
        value_added: (n,) or (m, n), m scenarios at once
        answer: as value_added
    """
    return value_added @ leontief_inverse(coefficients)


def output_multipliers(coefficients: Tensor) -> Tensor:
    """The column sums of L: output of all sectors per unit of final demand for j, (n,)."""
    return leontief_inverse(coefficients).sum(0)


def value_added_multipliers(coefficients: Tensor, value_added: Tensor) -> Tensor:
    """GDP multipliers v' L: gross domestic product per unit of final demand for j.

    Shapes:
        value_added: (n,), per unit of output
        answer: (n,); all 1 where v_j = 1 - sum_i a_ij, and less where inputs are imported
    """
    return prices(coefficients, value_added)


def embodied(coefficients: Tensor, factors: Tensor, demand: Tensor | None = None) -> Tensor:
    """F L: labour, capital or emissions along the whole chain behind a unit of final demand.

    Args:
        coefficients: A.
        factors: Use of each factor per unit of output.
        demand: Final demand; None answers per unit.

    Shapes:
        factors: (k, n)
        demand: (n,)
        answer: (k, n); with a demand, F L diag(f), whose row sums are the factors that this demand uses in all
    """
    if factors.dim() != 2 or factors.shape[1] != len(coefficients):
        raise ValueError(f"factors: expected (k, {len(coefficients)}), got {tuple(factors.shape)}")
    content = factors @ leontief_inverse(coefficients)
    return content if demand is None else content * demand


def _square(name: str, matrix: Tensor) -> int:
    if matrix.dim() != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"{name}: expected a square matrix, got {tuple(matrix.shape)}")
    return len(matrix)


def _vector(name: str, vector: Tensor, n: int) -> None:
    if tuple(vector.shape) != (n,):
        raise ValueError(f"{name}: expected ({n},), got {tuple(vector.shape)}")


def _clean(name: str, values: Tensor, names: Sequence[str] | None = None) -> None:
    bad = ~values.isfinite() | (values < 0)
    if bad.any():
        where = bad.nonzero()[0].tolist()
        place = ", ".join(names[k] for k in where) if names is not None else str(where)
        raise ValueError(
            f"{name}: expected finite numbers of at least 0, got {values[tuple(where)].item():g} at {place} "
            f"({int(bad.sum())} such)"
        )


def _first(bad: Tensor) -> int:
    return int(bad.nonzero()[0])
