"""SupplyGraph: daily series of a consumer-goods company's products, and which products share a place or a group."""

import csv
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from core.training import LoadedDataModule, Split, hash_arrays

SERIES = ("sales order", "delivery to distributor", "production", "factory issue")
RELATIONS = ("plant", "storage location", "product group", "product sub-group")
UNITS = ("unit", "weight")


class Products(NamedTuple):
    """The whole data set.

    Shapes:
        values: (days, P, 4), in SERIES' order, pieces (or weight, as published) per day
        edge_index: (2, E), both directions
        edge_type: (E,), in RELATIONS' order
    """

    names: tuple[str, ...]
    days: tuple[str, ...]
    values: Tensor
    edge_index: Tensor
    edge_type: Tensor


class DayBatch(NamedTuple):
    """Days side by side: each is a graph of P products with what happened before it.

    Shapes:
        history: (B * P, lags, 4), the days before, the last one last
        weekday: (B * P,), 0 .. 6 of the day to forecast
        target: (B * P,), that day's value of the target series
        edge_index: (2, B * E); edge_type: (B * E,); graph: (B * P,)
        day: (B,), numbers of the days to forecast
    """

    history: Tensor
    weekday: Tensor
    target: Tensor
    edge_index: Tensor
    edge_type: Tensor
    graph: Tensor
    day: Tensor


class Days(Dataset[int]):
    """Numbers of days to forecast."""

    def __init__(self, days: Sequence[int]) -> None:
        self.days = list(days)

    def __len__(self) -> int:
        return len(self.days)

    def __getitem__(self, item: int) -> int:
        return self.days[item]


class SupplyGraphData(LoadedDataModule[Products]):
    """Forecast a day's value of one series from the days before it, for all products at once; split by time.

    The first days train, the next choose, the last test: every day that is forecast in a later part comes after all
    days of the earlier ones; its history may reach back into them, as it would in use. The published edges join
    products that share a plant, a storage location, a group or a sub-group: they say what is made or kept together,
    not who supplies whom, and have no direction. A product that stands twice in the list of nodes is taken once.

    Args:
        root: The data set's folder (with "Temporal Data" and "Edges" somewhere below).
        series: Which series to forecast, one of "sales order", "delivery to distributor", "production", "factory
            issue".
        unit: "unit" or "weight".
        lags: Days of history.
        val_fraction: Part of the days for validation.
        test_fraction: Part of the days for the test.
        batch_size: Days per step.
        options: Of `core.training.DataModule`.

    Raises:
        FileNotFoundError: A file of the data set is missing.
        ValueError: An option is out of range, or a file does not hold what it should; the message names file and line.

    References:
        Wasi et al.: SupplyGraph, AAAI workshop on graphs and more complex structures 2024, arXiv 2401.15299.
    """

    licence = "LGPL-2.1 (repository of the data set)"
    source = "SupplyGraph, https://github.com/CIOL-SUST/SupplyGraph, by a local path"

    def __init__(
        self,
        root: str | None = None,
        series: str = "sales order",
        unit: str = "unit",
        lags: int = 14,
        val_fraction: float = 0.1,
        test_fraction: float = 0.2,
        batch_size: int = 16,
        **options: Any,
    ) -> None:
        super().__init__(batch_size=batch_size, **options)
        self.val_fraction, self.test_fraction = val_fraction, test_fraction
        if root is None:
            raise ValueError("root: expected the SupplyGraph folder (--data.root DIR), got None")
        if series not in SERIES:
            raise ValueError(f"series: expected one of {', '.join(SERIES)}, got {series!r}")
        if unit not in UNITS:
            raise ValueError(f"unit: expected one of {', '.join(UNITS)}, got {unit!r}")
        if lags < 1 or not (0 < val_fraction < 1 and 0 < test_fraction < 1 and val_fraction + test_fraction < 1):
            raise ValueError(
                "lags, val_fraction, test_fraction: expected at least 1 day and parts that leave some for training, "
                f"got {lags}, {val_fraction} and {test_fraction}"
            )
        self.root, self.series, self.unit, self.lags = Path(root).expanduser(), series, unit, lags
        self.collate = self.join

    def load(self) -> Products:
        """Read the published folder."""
        return read_supplygraph(self.root, self.unit)

    def arrange(self, loaded: Products, stage: str | None) -> None:
        """Split the days by time; the first `lags` of them are history alone."""
        total = len(loaded.days)
        first_test = total - round(self.test_fraction * total)
        first_val = first_test - round(self.val_fraction * total)
        if first_val <= self.lags:
            raise ValueError(f"lags: expected fewer than the {first_val} training days, got {self.lags}")
        bounds = (self.lags, first_val, first_test, total)
        train, val, test = (np.arange(first, end) for first, end in pairwise(bounds))
        self.split = Split(train, val, test)
        self.train_set, self.val_set, self.test_set = (Days(part.tolist()) for part in self.split)

    @property
    def whole(self) -> Products:
        """The data set.

        Raises:
            RuntimeError: `setup` has not been called.
        """
        return self.ready()

    def days(self, stage: str) -> list[int]:
        """The days that "train", "val" or "test" forecasts."""
        return [] if self.split is None else self.split.part(stage).tolist()

    def names_of(self, index: Tensor) -> list[str]:
        """Dates of days, by their numbers."""
        return [self.whole.days[int(day)][:10] for day in index]

    def split_words(self) -> str:
        """How the parts were drawn."""
        return "days by time"

    def training_values(self) -> Tensor:
        """All values of days before the validation part, (days, P, 4): what a scaler may see."""
        return self.whole.values[: self.days("val")[0]]

    def join(self, days: Sequence[int]) -> DayBatch:
        """The graphs of these days, side by side."""
        whole, count = self.whole, len(self.whole.names)
        history = torch.stack([whole.values[day - self.lags : day].transpose(0, 1) for day in days])
        weekday = torch.tensor([int(np.datetime64(whole.days[day][:10]).astype(int) + 3) % 7 for day in days])
        target = whole.values[list(days), :, SERIES.index(self.series)]
        shift = torch.arange(len(days)).repeat_interleave(whole.edge_index.shape[1]) * count
        return DayBatch(
            history.flatten(0, 1),
            weekday.repeat_interleave(count),
            target.flatten(),
            whole.edge_index.repeat(1, len(days)) + shift,
            whole.edge_type.repeat(len(days)),
            torch.arange(len(days)).repeat_interleave(count),
            torch.tensor(list(days)),
        )

    def fingerprint(self) -> str:
        """A hash of values and edges."""
        return hash_arrays(self.whole.values, self.whole.edge_index, self.whole.edge_type)


def read_supplygraph(root: Path, unit: str = "unit") -> Products:
    """Read the published folder.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: Series differ in days or products, a cell is no number, or an edge names an unknown product.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"root: expected the SupplyGraph folder, got {root}, which is none")
    tables = [_series(_find(root, f"temporal data/{unit}", name)) for name in SERIES]
    names, days, _ = tables[0]
    for name, table in zip(SERIES, tables, strict=True):
        if table[:2] != (names, days):
            raise ValueError(f"{root}: expected the same days and products in every series, got others in {name!r}")
    first = [k for k, product in enumerate(names) if "." not in product or product.split(".")[0] not in names]
    kept = tuple(names[k] for k in first)
    number = {product: k for k, product in enumerate(kept)}
    edges: set[tuple[int, int, int]] = set()
    for kind, relation in enumerate(RELATIONS):
        path = _find(root, "edges", relation)
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            if not {"node1", "node2"} <= set(reader.fieldnames or ()):
                raise ValueError(f"{path}: expected the columns node1 and node2, got {reader.fieldnames}")
            for line, row in enumerate(reader, 2):
                ends = [number.get((row[column] or "").strip(), -1) for column in ("node1", "node2")]
                if -1 in ends:
                    raise ValueError(
                        f"{path}, line {line}: expected products of the series, got {row['node1']} - {row['node2']}"
                    )
                if ends[0] != ends[1]:
                    edges |= {(kind, ends[0], ends[1]), (kind, ends[1], ends[0])}
    listed = torch.tensor(sorted(edges)).view(-1, 3).T
    values = torch.tensor(np.stack([table[2] for table in tables], axis=-1), dtype=torch.float32)
    return Products(kept, days, values[:, first], listed[1:].contiguous(), listed[0].contiguous())


def _find(root: Path, folder: str, name: str) -> Path:
    """The CSV of a series or relation; the published names differ in blanks, case and brackets."""
    for path in sorted(root.rglob("*.csv")):
        place = path.parent.as_posix().lower()
        stem = path.stem.strip().lower().removeprefix("edges (").removesuffix(")")
        if place.endswith(folder) and stem == name:
            return path
    raise FileNotFoundError(f"{root}: expected a file {folder}/{name}.csv somewhere below, got none")


def _series(path: Path) -> tuple[tuple[str, ...], tuple[str, ...], np.ndarray]:
    """Names, days and values (days, products) of one series; an empty cell is 0."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        lines = [line for line in csv.reader(file) if line]
    days, values = [], []
    for number, line in enumerate(lines[1:], 2):
        try:
            np.datetime64(line[0][:10])
            values.append([float(cell or 0) for cell in line[1:]])
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: expected a date and numbers, got: {error}") from error
        if len(line) != len(lines[0]) or not np.isfinite(values[-1]).all() or min(values[-1]) < 0:
            raise ValueError(
                f"{path}, line {number}: expected {len(lines[0]) - 1} finite numbers of at least 0, got {line[1:]}"
            )
        days.append(line[0])
    if not values or days != sorted(set(days)):
        raise ValueError(f"{path}: expected ascending days, each once, got {', '.join(days) or 'none'}")
    return tuple(lines[0][1:]), tuple(days), np.array(values)
