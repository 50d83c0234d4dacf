"""Rows of CSV files: read batch by batch, and where in its file each of them stands."""

from pathlib import Path

import numpy as np
import pytest

from timeseries import read_table
from timeseries.events.readers import table_files
from timeseries.events.readers.table_files import Rows, read_rows


def write(folder: Path, text: str) -> Path:
    path = folder / "events.csv"
    path.write_text(text)
    return path


def test_reading_goes_batch_by_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [f"p{k % 7},{k},c{k % 3},{k}" for k in range(5000)]
    path = write(tmp_path, "subject,time,code,value\n" + "\n".join(rows) + "\n")
    whole, _ = read_table(path)
    monkeypatch.setattr(table_files, "BLOCK", 4096)
    batches = list(read_rows([path], ["code"]))
    assert len(batches) > 5 and sum(rows.batch.num_rows for rows in batches) == 5000
    assert [rows.first for rows in batches] == np.cumsum([0] + [rows.batch.num_rows for rows in batches])[:-1].tolist()
    pieces, _ = read_table(path)
    for array in ("offsets", "time", "code", "value"):
        np.testing.assert_array_equal(getattr(pieces, array), getattr(whole, array))
    (tmp_path / "events.csv").write_text(path.read_text() + "p,1,c,inf\n")
    with pytest.raises(ValueError, match="line 5002: expected a finite number"):
        read_table(path)


def test_the_place_of_a_row_counts_blank_lines(tmp_path: Path) -> None:
    path = write(tmp_path, "code\na\n\n\nb\nc\n")
    (rows,) = read_rows([path], ["code"])
    assert isinstance(rows, Rows) and [rows.where(k).rpartition(" ")[2] for k in range(3)] == ["2", "5", "6"]


def test_a_row_stands_where_it_begins_though_cells_hold_lines(tmp_path: Path) -> None:
    long = "x" * 200_000  # more than Python's reader takes by itself
    path = write(tmp_path, f'code,text\r\na,"1\r\n2\r\n\r\n3"\r\n\r\n"b\n","he said ""no"""\r\nc,"{long}"\r\nd,1\r\n')
    (rows,) = read_rows([path], ["code"])
    assert [rows.where(k).rpartition(" ")[2] for k in range(4)] == ["2", "7", "9", "10"]
