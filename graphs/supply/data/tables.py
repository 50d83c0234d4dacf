"""Input-output tables from CSV files: BEA's make and use tables, and a plain square matrix."""

import csv
import gzip
import math
import zlib
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ..economy import Economy
from ..input_output import clamp_negatives, industry_coefficients

FACTORS = {"labour": ("V001", "V00100"), "capital": ("V003", "V00300")}
"""BEA's rows of value added: compensation of employees, and gross operating surplus."""


class NamedTable(NamedTuple):
    """Numbers with headers.

    Shapes:
        values: (rows, columns), float64
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: Tensor

    def pick(self, rows: tuple[str, ...], columns: tuple[str, ...]) -> Tensor:
        """The numbers of these rows and columns, in this order."""
        row = [self.rows.index(name) for name in rows]
        return self.values[row][:, [self.columns.index(name) for name in columns]]


def read_table(path: str | Path) -> NamedTable:
    """Read a CSV (or .csv.gz) whose first row and first column are names; an empty cell is 0.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A line has another length than the header, a cell is no finite number, or a name stands twice; the
            message names file and line.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"path: expected a CSV file, got {path}, which does not exist")
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
            read = list(enumerate(csv.reader(file), 1))
    except (OSError, EOFError, UnicodeDecodeError, zlib.error, csv.Error) as error:
        raise ValueError(f"{path}: expected a CSV file, got: {error}") from error
    lines = [(number, row) for number, row in read if any(cell.strip() for cell in row)]
    if len(lines) < 2 or len(lines[0][1]) < 2:
        raise ValueError(f"{path}: expected a header and rows of numbers, got {len(lines)} lines")
    columns = tuple(name.strip() for name in lines[0][1][1:])
    rows, values = [], []
    for number, line in lines[1:]:
        if len(line) != len(columns) + 1:
            raise ValueError(f"{path}, line {number}: expected {len(columns) + 1} cells, got {len(line)}")
        rows.append(line[0].strip())
        values.append([_number(path, number, column, cell) for column, cell in zip(columns, line[1:], strict=True)])
    for what, names in (("row", rows), ("column", columns)):
        twice = {name for name in names if list(names).count(name) > 1} if len(set(names)) < len(names) else set()
        if twice:
            raise ValueError(f"{path}: expected each {what} once, got {min(twice)!r} twice")
    return NamedTable(tuple(rows), columns, torch.tensor(values, dtype=torch.float64))


def is_total(name: str) -> bool:
    """Whether a row or column is a sum of others: BEA's begin with Total or T0."""
    return name.startswith(("Total", "T0"))


def read_make_use(use: str | Path, make: str | Path) -> Economy:
    """An economy from BEA's use and make tables: A = D B, industry by industry.

    Rows and columns whose names begin with Total or T0 are dropped. Of the use table, the rows V... become factors
    (value added per unit of output) and the columns F... final demand (by industry: D times the sum of the final uses
    by commodity); other columns, such as the unnamed totals of the detail table, are left out. Slightly negative
    coefficients are set to 0, and the economy's notes say how many there were.

    Args:
        use: Commodities (and value added) by industries (and final uses).
        make: Industries by commodities.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The tables do not name the same commodities and industries, or the numbers make no economy; the
            message names the file.

    References:
        Bureau of Economic Analysis, Make and Use Tables (the Supply-Use framework), public domain.
    """
    bought, made = read_table(use), read_table(make)
    if any(name.startswith("V0") for name in made.rows):
        raise ValueError(f"{make}: expected a make table, got one with rows of value added; is it the use table?")
    industries = tuple(name for name in made.rows if not is_total(name))
    commodities = tuple(name for name in made.columns if not is_total(name))
    for what, names, there in (("commodities", commodities, bought.rows), ("industries", industries, bought.columns)):
        missing = [name for name in names if name not in there]
        if missing:
            raise ValueError(
                f"{use}: expected the {what} of {make}, got none of {len(missing)}: {', '.join(missing[:5])}"
            )
    others = [n for n in bought.rows if n not in commodities and not is_total(n) and not n.startswith("V")]
    if others:
        raise ValueError(f"{use}: expected commodities of {make} and value added, got the rows {', '.join(others[:5])}")
    inputs, output = bought.pick(commodities, industries), made.pick(industries, commodities)
    try:
        found = industry_coefficients(inputs, output)
        coefficients, negative = clamp_negatives(found)
    except ValueError as error:
        raise ValueError(f"{use}, {make}: {error}") from error
    total = output.sum(1)
    factors = {
        name: bought.pick((row,), industries)[0] / total
        for name, rows in FACTORS.items()
        for row in rows
        if row in bought.rows
    }
    uses = tuple(name for name in bought.columns if name not in industries and name.startswith("F"))
    of_commodity = output.sum(0)
    shares = output / torch.where(of_commodity == 0, 1.0, of_commodity)
    demand = shares @ bought.pick(commodities, uses).sum(1) if uses else None
    stacked = torch.stack(list(factors.values())) if factors else None
    notes: tuple[str, ...] = (
        (f"{negative} negative coefficients, down to {float(found.min()):.1e}, set to 0",) if negative else ()
    )
    idle = [name for name, made_of_it in zip(commodities, of_commodity.tolist(), strict=True) if made_of_it == 0]
    notes += (f"commodities that no industry makes: {', '.join(idle)}",) if idle else ()
    return Economy(coefficients, industries, stacked, tuple(factors), demand, notes=notes)


def read_square(path: str | Path) -> Economy:
    """An economy from a CSV of technical coefficients: rows sell, columns buy, the same names in the same order.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: Rows and columns have other names or another order, or the numbers are no coefficients.
    """
    table = read_table(path)
    if table.rows != table.columns:
        if sorted(table.rows) == sorted(table.columns):
            k = next(k for k, (row, column) in enumerate(zip(table.rows, table.columns, strict=True)) if row != column)
            detail = f"the same order, got {table.rows[k]!r} and {table.columns[k]!r} at place {k + 1}"
        else:
            odd = sorted(set(table.rows) ^ set(table.columns))
            detail = f"the same names, got {', '.join(map(repr, odd[:5]))} on one side only"
        raise ValueError(f"{path}: expected rows and columns of {detail}")
    try:
        return Economy(table.values, table.rows)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _number(path: Path, line: int, column: str, cell: str) -> float:
    try:
        value = float(cell) if cell.strip() else 0.0
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{path}, line {line}, column {column!r}: expected a finite number, got {cell!r}")
    return value
