"""Tiny input-output tables made on the spot."""

import csv
import gzip
from pathlib import Path

import numpy as np

# Three industries, each with by-products; coefficients are well above the threshold of .02.
USE = np.array([[20.0, 30.0, 10.0], [15.0, 10.0, 25.0], [5.0, 20.0, 5.0]])
MAKE = np.array([[90.0, 10.0, 0.0], [5.0, 95.0, 0.0], [0.0, 5.0, 75.0]])
FINAL = np.array([[30.0, 5.0], [50.0, 10.0], [40.0, 5.0]])
LABOUR, CAPITAL = np.array([35.0, 25.0, 30.0]), np.array([25.0, 15.0, 10.0])


def write_csv(path: Path, rows, columns, values) -> Path:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wt", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["", *columns])
        for name, line in zip(rows, values, strict=True):
            writer.writerow([name, *line])
    return path


def write_make_use(folder: Path, names=("farm", "mill", "shop"), goods=("grain", "flour", "bread")):
    """BEA's layout: totals, value added below, final uses to the right."""
    folder.mkdir(exist_ok=True)
    total = MAKE.sum(1)
    use = np.block([[USE, USE.sum(1, keepdims=True), FINAL]])
    below = [np.append(row, [row.sum(), 0, 0]) for row in (USE.sum(0), LABOUR, CAPITAL, total)]
    rows = [*goods, "Total Intermediate", "V001", "V003", "Total Industry Output"]
    write_csv(folder / "use.csv.gz", rows, [*names, "Total Intermediate", "F010", "F040"], [*use, *below])
    make = np.block([[MAKE, total[:, None]], [MAKE.sum(0)[None], np.array([[MAKE.sum()]])]])
    write_csv(
        folder / "make.csv.gz",
        [*names, "Total Commodity Output"],
        [*goods, "Total Industry Output"],
        make,
    )
    return folder / "use.csv.gz", folder / "make.csv.gz"


def write_square(path: Path, matrix, names=None) -> Path:
    names = [f"s{k}" for k in range(len(matrix))] if names is None else names
    return write_csv(path, names, names, matrix)
