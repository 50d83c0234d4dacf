"""A country's input-output table by path: trained on economies drawn at random, or on some of its own columns."""

from pathlib import Path
from typing import Any

import torch

from core.training import Split

from ..economy import Economy
from ..shocks import unit_shocks
from .flows import FlowData, ShockItem, in_a_row
from .synthetic import SyntheticEconomyData
from .tables import read_make_use, read_square

TRAIN_ON = ("synthetic", "columns")
COLUMNS = 8  # shocks of one training item


class InputOutputData(FlowData[Economy]):
    """Unit shocks to every sector of a table: BEA's make and use tables, or a square matrix of coefficients.

    The table is cut to the coefficients above a threshold, without its diagonal. With `train_on` "synthetic" the table
    is the test part alone: training and validation economies are drawn at random (`SyntheticEconomyData`, with the same
    threshold), and the model sees nothing of the table before the test. With "columns" its columns, the sectors that
    are hit, are shuffled with `split_seed` and divided: a part for validation, a part for the test, the rest for
    training.

    Args:
        use: BEA's use table, CSV or .csv.gz.
        make: BEA's make table.
        table: A square CSV of technical coefficients, in place of both.
        threshold: Coefficients above it count.
        train_on: "synthetic" or "columns".
        economies: Synthetic economies for training; a tenth as many for validation.
        val_fraction: Part of the columns for validation, with "columns".
        test_fraction: Part of the columns for the test, with "columns".
        split_seed: Of the columns' split.
        options: Of `FlowData`; a step has batch_size economies or groups of 8 columns.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: Not one table is named, or it is none; see `graphs.supply.data.tables`.
    """

    licence = "as the table's owner says (BEA: public domain)"
    source = "an input-output table by path"

    def __init__(
        self,
        use: str | None = None,
        make: str | None = None,
        table: str | None = None,
        threshold: float = 0.02,
        train_on: str = "synthetic",
        economies: int = 200,
        val_fraction: float = 0.1,
        test_fraction: float = 0.3,
        split_seed: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.val_fraction, self.test_fraction, self.split_seed = val_fraction, test_fraction, split_seed
        if (use is None) != (make is None) or (use is None) == (table is None):
            raise ValueError(
                "use, make, table: expected BEA's two tables (--data.use USE.csv.gz --data.make MAKE.csv.gz) or one "
                f"square table (--data.table FILE.csv), got use={use!r}, make={make!r}, table={table!r}"
            )
        if train_on not in TRAIN_ON:
            raise ValueError(f"train_on: expected one of {', '.join(TRAIN_ON)}, got {train_on!r}")
        if not (0 <= val_fraction < 1 and 0 < test_fraction < 1 and val_fraction + test_fraction < 1):
            raise ValueError(
                "val_fraction, test_fraction: expected parts that leave some for training, "
                f"got {val_fraction} and {test_fraction}"
            )
        if economies < 1:
            raise ValueError(f"economies: expected at least 1, got {economies}")
        self.use, self.make, self.table = use, make, table
        self.threshold, self.train_on, self.economies = threshold, train_on, economies

    def read(self) -> Economy:
        """The whole table, before the threshold."""
        if self.table is not None:
            return read_square(self.table)
        assert self.use is not None and self.make is not None
        return read_make_use(self.use, self.make)

    def load(self) -> Economy:
        """The table, cut at the threshold."""
        return self.read().threshold(self.threshold)

    @property
    def economy(self) -> Economy:
        """The table, cut at the threshold."""
        return self.ready()

    def arrange(self, loaded: Economy, stage: str | None) -> None:
        """Economies drawn at random and the table; or three groups of the table's columns."""
        n = len(loaded)
        if self.train_on == "synthetic":
            held_out = max(1, self.economies // 10)
            drawn = SyntheticEconomyData(self.economies, held_out, smallest=self.threshold, seed=self.seed).load()
            self.split = in_a_row(self.economies, held_out, 1)
            self.use_items(drawn.train, drawn.val, [_columns(loaded, torch.arange(n), 0)])
            return
        order = torch.randperm(n, generator=torch.Generator().manual_seed(self.split_seed))
        val, test = round(self.val_fraction * n), max(1, round(self.test_fraction * n))
        if n - val - test < 1:
            raise ValueError(f"{self.path_text}: expected columns for training, got {n} in all")
        kept = order[val + test :].sort().values
        held = order[:val].sort().values, order[val : val + test].sort().values
        self.split = Split(kept.numpy(), held[0].numpy(), held[1].numpy())
        groups = [kept[first : first + COLUMNS] for first in range(0, n - val - test, COLUMNS)]
        self.use_items(
            [_columns(loaded, group, number) for number, group in enumerate(groups)],
            [_columns(loaded, held[0], 0)] if val else [],
            [_columns(loaded, held[1], 0)],
        )

    def split_words(self) -> str:
        """How the parts were drawn."""
        if self.train_on == "columns":
            return f"columns drawn, seed {self.split_seed}"
        return f"economies drawn one by one, seed {self.seed}, the table for the test"

    @property
    def path_text(self) -> str:
        """The files' names, without their folders."""
        return " and ".join(Path(p).name for p in (self.use, self.make, self.table) if p is not None)


def _columns(economy: Economy, columns: torch.Tensor, number: int) -> ShockItem:
    """Unit shocks at some sectors of an economy."""
    shock = unit_shocks(len(economy))[:, columns]
    labels = tuple(economy.names[int(k)] for k in columns)
    return ShockItem(economy, shock, torch.ones_like(shock, dtype=torch.bool), number, labels)
