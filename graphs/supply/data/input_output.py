"""A country's input-output table by path: trained on economies drawn at random, or on some of its own columns."""

from pathlib import Path

import torch

from ..economy import Economy
from ..shocks import unit_shocks
from .flows import FlowDataModule, ShockItem
from .synthetic import SyntheticEconomy
from .tables import read_make_use, read_square

TRAIN_ON = ("synthetic", "columns")
COLUMNS = 8  # shocks of one training item


class InputOutputData(FlowDataModule):
    """Unit shocks to every sector of a table: BEA's make and use tables, or a square matrix of coefficients.

    The table is cut to the coefficients above a threshold, without its diagonal. With `train_on` "synthetic" the table
    is the test part alone: training and validation economies are drawn at random (`SyntheticEconomy`, with the same
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
        batch_size: Economies (or groups of 8 columns) per step.
        num_workers: Processes that read the data.
        seed: Of the draws and of the order.
        drop_last: Leave out an incomplete last batch.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: Not one table is named, or it is none; see `graphs.data.tables`.
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
        batch_size: int = 4,
        num_workers: int = 0,
        seed: int = 0,
        drop_last: bool = True,
    ) -> None:
        super().__init__(batch_size=batch_size, num_workers=num_workers, seed=seed, drop_last=drop_last)
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
        self.val_fraction, self.test_fraction, self.split_seed = val_fraction, test_fraction, split_seed
        self.economy: Economy | None = None

    def read(self) -> Economy:
        """The whole table, before the threshold."""
        if self.table is not None:
            return read_square(self.table)
        assert self.use is not None and self.make is not None
        return read_make_use(self.use, self.make)

    def parts(self) -> tuple[list[ShockItem], list[ShockItem], list[ShockItem]]:
        """Economies drawn at random and the table; or three groups of the table's columns."""
        self.economy = self.read().threshold(self.threshold)
        n = len(self.economy)
        if self.train_on == "synthetic":
            held_out = max(1, self.economies // 10)
            drawn = SyntheticEconomy(self.economies, held_out, smallest=self.threshold, seed=self.seed)
            train, val, _ = drawn.parts()
            return train, val, [self._columns(torch.arange(n), 0)]
        order = torch.randperm(n, generator=torch.Generator().manual_seed(self.split_seed))
        val, test = round(self.val_fraction * n), max(1, round(self.test_fraction * n))
        if n - val - test < 1:
            raise ValueError(f"{self.path_text}: expected columns for training, got {n} in all")
        groups = order[val + test :].sort().values.split(COLUMNS)
        held = order[:val].sort().values, order[val : val + test].sort().values
        return (
            [self._columns(group, number) for number, group in enumerate(groups)],
            [self._columns(held[0], 0)] if val else [],
            [self._columns(held[1], 0)],
        )

    def _columns(self, columns: torch.Tensor, number: int) -> ShockItem:
        assert self.economy is not None
        shock = unit_shocks(len(self.economy))[:, columns]
        labels = tuple(self.economy.names[int(k)] for k in columns)
        return ShockItem(self.economy, shock, torch.ones_like(shock, dtype=torch.bool), number, labels)

    @property
    def path_text(self) -> str:
        """The files' names, without their folders."""
        return " and ".join(Path(p).name for p in (self.use, self.make, self.table) if p is not None)
