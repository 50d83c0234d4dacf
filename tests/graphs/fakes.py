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


def write_supplygraph(root: Path, days=60, seed=0) -> Path:
    """SupplyGraph's folders: four products, of which one stands twice; sales repeat every week."""
    rng = np.random.default_rng(seed)
    names = ["A1", "B1", "C1", "D1", "A1.1"]
    dates = [str(np.datetime64("2023-01-01") + day) + " 00:00:00" for day in range(days)]
    week = rng.integers(50, 500, (7, 5))
    folder = root / "Temporal Data" / "Unit"
    folder.mkdir(parents=True)
    for name in ("Sales Order", "Delivery To distributor", "Production ", "Factory Issue"):
        values = np.stack([week[day % 7] for day in range(days)]) + rng.integers(0, 20, (days, 5))
        values[:, 3] = 0  # a product that is never sold
        write_csv(folder / f"{name}.csv", dates, names, values)
        first = (folder / f"{name}.csv").read_text().splitlines()
        (folder / f"{name}.csv").write_text("\n".join(["Date" + first[0], *first[1:]]) + "\n")
    edges = root / "Edges"
    edges.mkdir()
    for name in ("Plant", "Storage Location", "Product Group", "Product Sub-Group"):
        (edges / f"Edges ({name}).csv").write_text("place,node1,node2\n1,A1,B1\n2,B1,A1\n2,C1,B1\n")
    return root
