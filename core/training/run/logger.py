"""metrics.csv: one row per logged step, whole at any moment, and right after a resumed run too."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger

from ..files import write_text
from .folder import RunFolder


class MetricsTable(Logger):
    """Writes metrics.csv into the run's folder: columns step, epoch and one per metric, empty where not logged.

    A run that goes on in its folder keeps the rows up to the step that it goes on from.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: RunFolder) -> None:
        super().__init__()
        self.folder = folder
        self.rows: list[dict[str, Any]] | None = None

    @property
    def name(self) -> str:
        """What the logger is called."""
        return "metrics"

    @property
    def version(self) -> str:
        """Name of the run's folder."""
        return self.folder.path.name if self.folder.path is not None else ""

    @property
    def save_dir(self) -> str | None:
        """The run's folder."""
        return str(self.folder.path) if self.folder.path is not None else None

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Hyperparameters stand in config.yaml."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add to the row of a step; the file follows at the end of an epoch."""
        path = self.folder.file("metrics.csv")
        if path is None:
            return
        step = 0 if step is None else step
        if self.rows is None:
            self.rows = [row for row in _read(path) if int(row["step"]) < step]
        if not self.rows or int(self.rows[-1]["step"]) != step:
            self.rows.append({"step": step})
        self.rows[-1].update({key: float(value) for key, value in metrics.items()})
        if "epoch" in self.rows[-1]:
            self.rows[-1]["epoch"] = int(float(self.rows[-1]["epoch"]))

    def save(self) -> None:
        """Write the file as a whole."""
        path = self.folder.file("metrics.csv")
        if path is None or not self.rows:
            return
        columns = sorted({key for row in self.rows for key in row} - {"step", "epoch"})
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, ["step", "epoch", *columns], lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_text(path, text.getvalue())

    def finalize(self, status: str) -> None:
        """Write what is left."""
        self.save()


def _read(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [{key: value for key, value in row.items() if value != ""} for row in csv.DictReader(file)]
