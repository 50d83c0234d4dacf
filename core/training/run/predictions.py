"""Predictions as a table: parquet or CSV by the file's ending, one row per sample."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer

from ..files import replacing
from .folder import RunFolder

ENDINGS = (".csv", ".parquet")


class PredictionTable(Callback):
    """Collects what `predict_step` answers and writes it when all is predicted.

    A column of shape (N,) keeps its name; one of shape (N, C) becomes name_0 ... name_(C-1).

    Args:
        out: file to write; None writes predictions.csv into the run's folder.
        folder: of the run.
        raw: leave texts that a spreadsheet would take for formulas as they are, see `write_table`.

    Raises:
        ValueError: the ending is neither .csv nor .parquet.
    """

    def __init__(self, out: str | Path | None = None, folder: RunFolder | None = None, raw: bool = False) -> None:
        super().__init__()
        if out is not None and Path(out).suffix not in ENDINGS:
            raise ValueError(f"out: expected a file ending in {' or '.join(ENDINGS)}, got {out}")
        self.out, self.folder, self.raw = None if out is None else Path(out), folder, raw
        self.written: Path | None = None
        self._batches: list[dict[str, list[Any]]] = []

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin with an empty table."""
        self._batches = []

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep a batch's columns."""
        self._batches.append(columns(outputs))

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Join the processes' rows in the data set's order and write the file."""
        shares: list[Any] = [self._batches]
        if trainer.world_size > 1:
            shares = [None] * trainer.world_size
            torch.distributed.all_gather_object(shares, self._batches)
        path = self.out or (self.folder.file("predictions.csv") if self.folder is not None else None)
        if path is None or not trainer.is_global_zero:
            return
        table: dict[str, list[Any]] = {name: [] for name in shares[0][0]} if shares[0] else {}
        for parts in zip(*shares, strict=True):
            for name, column in table.items():
                column.extend(_interleave([part[name] for part in parts]))
        write_table(path, table, self.raw)
        self.written = path


def columns(outputs: Any) -> dict[str, list[Any]]:
    """The answer of `predict_step` as columns of plain values.

    Raises:
        ValueError: it is no map, its columns have several lengths, or there is no "id".
    """
    if not isinstance(outputs, Mapping) or "id" not in outputs:
        raise ValueError(f'predict_step: expected a map of columns with "id" among them, got {type(outputs).__name__}')
    table: dict[str, list[Any]] = {}
    for name, value in outputs.items():
        array = value.detach().cpu().float() if isinstance(value, torch.Tensor) and value.is_floating_point() else value
        array = np.asarray(array.cpu() if isinstance(array, torch.Tensor) else array)
        if array.ndim == 1:
            table[name] = array.tolist()
        elif array.ndim == 2:
            table |= {f"{name}_{c}": array[:, c].tolist() for c in range(array.shape[1])}
        else:
            raise ValueError(f"predict_step: column {name}: expected shape (N,) or (N, C), got {array.shape}")
    lengths = {name: len(column) for name, column in table.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"predict_step: expected columns of one length, got {lengths}")
    return table


def write_table(path: Path, table: dict[str, list[Any]], raw: bool = False) -> None:
    """Write columns to a .csv or .parquet file.

    Texts in a .csv that begin with = + - @, are longer than one character and are no numbers stand behind an
    apostrophe, so that a spreadsheet does not run them, unless `raw`; .parquet holds them as they are.
    """
    with replacing(path) as temporary:
        if path.suffix == ".parquet":
            import pyarrow
            import pyarrow.parquet

            pyarrow.parquet.write_table(pyarrow.table(table), temporary)
        else:
            with temporary.open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file, lineterminator="\n")
                shown = _as_it_is if raw else _cell
                writer.writerow(map(shown, table))
                writer.writerows(zip(*(map(shown, column) for column in table.values()), strict=True))


def _as_it_is(value: Any) -> Any:
    return value


def _cell(value: Any) -> Any:
    """A text that a spreadsheet would take for a formula, behind an apostrophe; everything else as it is."""
    if not isinstance(value, str) or len(value) < 2 or value[0] not in "=+-@" or _is_number(value):
        return value
    return f"'{value}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _interleave(parts: Sequence[Sequence[Any]]) -> list[Any]:
    """Undo the processes' shares of a batch: process r has every W-th row from r on."""
    world, total = len(parts), sum(map(len, parts))
    return [parts[i % world][i // world] for i in range(total)]
