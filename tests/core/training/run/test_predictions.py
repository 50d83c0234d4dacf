import csv
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import torch

from core.training.run.predictions import PredictionTable, _interleave, columns, write_table


def test_columns_of_every_kind() -> None:
    table = columns(
        {
            "id": ["a", "b"],
            "p": torch.tensor([[0.25, 0.75], [0.5, 0.5]]),
            "n": np.array([1, 2]),
            "y": torch.tensor([3, 4]),
        }
    )
    assert table == {"id": ["a", "b"], "p_0": [0.25, 0.5], "p_1": [0.75, 0.5], "n": [1, 2], "y": [3, 4]}


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        (torch.zeros(3), "map of columns"),
        ({"p": torch.zeros(3)}, '"id" among them'),
        ({"id": [1, 2], "p": torch.zeros(3)}, "one length"),
        ({"id": [1, 2], "p": torch.zeros(2, 2, 2)}, "column p"),
    ],
)
def test_what_is_no_table_is_refused(outputs: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        columns(outputs)


def test_rows_of_several_processes_come_back_in_order() -> None:
    for n in range(1, 12):
        for world in range(1, 4):
            assert _interleave([list(range(n))[r::world] for r in range(world)]) == list(range(n))


def test_other_endings_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\.csv or \.parquet, got table\.xls"):
        PredictionTable("table.xls")


def test_predict_writes_ids_and_probabilities(lightning, tmp_path: Path) -> None:
    assert lightning("fit", "--trainer.max_epochs", 1).status == 0
    best = tmp_path / "runs/toy/version_0/best.ckpt"
    parquet = tmp_path / "out/table.parquet"
    result = lightning("predict", "--ckpt_path", best, "--out", parquet, "--data.batch_size", 4)
    assert result.status == 0 and str(parquet) in result.out
    assert lightning("predict", "--ckpt_path", best).status == 0
    table = pyarrow.parquet.read_table(parquet).to_pydict()
    assert table["id"] == list(range(75, 86)) and all(0 < p < 1 for p in table["probability"])
    with (best.parent / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["id"]) for row in rows] == table["id"]
    assert [float(row["probability"]) for row in rows] == pytest.approx(table["probability"], abs=1e-6)
    result = lightning("predict", "--ckpt_path", best, "--out", tmp_path / "table.xls")
    assert result.status == 1 and "expected a file ending in .csv or .parquet" in result.err


def test_a_spreadsheet_runs_no_cell(tmp_path: Path) -> None:
    cells = ["=1+1", "+x", "-2.5", "-", "@SUM(A1)", "-1e3", "plain", "a=b"]
    table = {"id": cells, "=score": [-1.5] * 8}
    write_table(tmp_path / "a.csv", table)
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["id", "'=score"]
    assert [row[0] for row in rows[1:]] == ["'=1+1", "'+x", "-2.5", "-", "'@SUM(A1)", "-1e3", "plain", "a=b"]
    assert rows[1][1] == "-1.5"
    write_table(tmp_path / "b.csv", table, raw=True)
    with (tmp_path / "b.csv").open(newline="") as file:
        assert [row["id"] for row in csv.DictReader(file)] == cells
