"""CSV and parquet files in batches of rows, with the place of every row for messages."""

import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from tqdm import tqdm

ENDINGS = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet")
BLOCK = 1 << 24  # bytes of text at a time
ROWS = 1 << 18  # rows of parquet at a time


class Rows(NamedTuple):
    """Some rows of a file.

    Args:
        path: The file.
        first: How many rows of the file lie before them.
        batch: The columns that were asked for; all text in a CSV file, as stored in parquet.
    """

    path: Path
    first: int
    batch: pa.RecordBatch

    def where(self, row: int) -> str:
        """The place of a row of the batch: its line in a text file, its number from 1 in parquet."""
        number = self.first + row
        if is_parquet(self.path):
            return f"{self.path}, row {number + 1}"
        return f"{self.path}, line {_line(self.path, number)}"


def is_parquet(path: Path) -> bool:
    """Whether the file's name says that it is parquet."""
    return path.suffix == ".parquet"


def find_tables(path: str | Path) -> list[Path]:
    """The file, or the tables of a folder in the order of their names.

    Raises:
        FileNotFoundError: There is none.
        ValueError: The file's ending is not known.
    """
    path = Path(path)
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.name.endswith(ENDINGS) and file.is_file())
        if not files:
            raise FileNotFoundError(f"path: expected files ending in {', '.join(ENDINGS)} under {path}, got none")
        return files
    if not path.is_file():
        raise FileNotFoundError(f"path: expected a file or folder, got {path}")
    if not path.name.endswith(ENDINGS):
        raise ValueError(f"path: expected a file ending in {', '.join(ENDINGS)}, got {path}")
    return [path]


def columns_of(path: Path) -> dict[str, pa.DataType]:
    """Names and types of a file's columns; all are text in a CSV file."""
    if is_parquet(path):
        try:
            schema = pyarrow.parquet.read_schema(path)
        except pa.ArrowInvalid as error:
            raise ValueError(f"{path}: expected parquet, got {error}") from error
        if len(set(schema.names)) != len(schema.names):
            raise ValueError(f"{path}: expected every column once, got {', '.join(schema.names)}")
        return dict(zip(schema.names, schema.types, strict=True))
    with _bytes(path) as file:
        header = file.readline().decode("utf-8-sig", errors="replace")
    names = next(csv.reader([header], delimiter=_delimiter(path)), [])
    if not names:
        raise ValueError(f"{path}, line 1: expected a header with the names of the columns, got nothing")
    if len(set(names)) != len(names):
        raise ValueError(f"{path}, line 1: expected every column once, got {','.join(names)!r}")
    return dict.fromkeys(names, pa.string())


def read_rows(paths: Sequence[Path], columns: Sequence[str], progress: bool | None = None) -> Iterator[Rows]:
    """All rows of the files, some at a time.

    Args:
        paths: CSV (comma; tab where the name ends in .tsv; gzip where it ends in .gz) or parquet files.
        columns: Which columns; every file must have them.
        progress: Show a bar on stderr; None: on a terminal only.

    Raises:
        ValueError: A file does not parse; it is named, with the row.
    """
    total = sum(path.stat().st_size for path in paths)
    disable = None if progress is None else not progress
    with tqdm(total=total, unit="B", unit_scale=True, desc="reading", disable=disable) as bar:
        for path in paths:
            try:
                yield from (_parquet if is_parquet(path) else _text)(path, list(columns), bar)
            except (pa.ArrowInvalid, OSError) as error:
                raise ValueError(_explain(path, " ".join(str(error).split()))) from error


def _parquet(path: Path, columns: list[str], bar: "tqdm[None]") -> Iterator[Rows]:
    size, done = path.stat().st_size, 0
    with pyarrow.parquet.ParquetFile(path) as file:
        rows = max(file.metadata.num_rows, 1)
        for batch in file.iter_batches(ROWS, columns=columns):
            yield Rows(path, done, _plain(batch.select(columns)))
            before, done = done, done + batch.num_rows
            bar.update(size * done // rows - size * before // rows)


def _plain(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Text as large_string where it is stored as views, which few functions of Arrow take."""
    fields = [
        field.with_type(pa.large_string()) if pa.types.is_string_view(field.type) else field for field in batch.schema
    ]
    return batch.cast(pa.schema(fields))


def _text(path: Path, columns: list[str], bar: "tqdm[None]") -> Iterator[Rows]:
    done, seen = 0, 0
    with path.open("rb") as raw:
        stream = pa.CompressedInputStream(raw, "gzip") if path.suffix == ".gz" else raw
        reader = pyarrow.csv.open_csv(
            stream,
            read_options=pyarrow.csv.ReadOptions(block_size=BLOCK),
            parse_options=pyarrow.csv.ParseOptions(delimiter=_delimiter(path)),
            convert_options=pyarrow.csv.ConvertOptions(
                include_columns=columns,
                column_types=dict.fromkeys(columns, pa.string()),
                strings_can_be_null=True,
                null_values=[""],
            ),
        )
        with reader:
            for batch in reader:
                yield Rows(path, done, batch)
                done += batch.num_rows
                place = raw.tell()
                bar.update(place - seen)
                seen = place


def _delimiter(path: Path) -> str:
    return "\t" if ".tsv" in path.suffixes else ","


def _bytes(path: Path) -> BinaryIO:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def _explain(path: Path, error: str) -> str:
    """What is wrong with a file that did not parse, with the line where that can be found."""
    if is_parquet(path):
        return f"{path}: expected parquet, got {error}"
    with _bytes(path) as file:
        lines = csv.reader((line.decode("utf-8-sig") for line in file), delimiter=_delimiter(path))
        try:
            width = len(next(lines, []))
            for fields in lines:
                if fields and len(fields) != width:
                    return f"{path}, line {lines.line_num}: expected {width} columns, got {len(fields)}"
        except UnicodeDecodeError:
            return f"{path}, line {lines.line_num + 1}: expected text in UTF-8, got other bytes"
        except (OSError, EOFError, zlib.error, csv.Error) as problem:
            return f"{path}: expected a table, got {problem}"
    return f"{path}: expected a table, got {error}"


def _line(path: Path, row: int) -> int:
    """The line where a text file's row begins; blank lines are no rows, and a quoted cell may hold several lines."""
    rows, begin = -1, 1  # the header is row -1
    limit = csv.field_size_limit(BLOCK)
    try:
        with _bytes(path) as file, io.TextIOWrapper(file, "utf-8-sig", "replace", newline="") as text:
            lines = csv.reader(text, delimiter=_delimiter(path))
            for fields in lines:
                if fields and rows == row:
                    break
                rows += bool(fields)
                begin = lines.line_num + 1
    finally:
        csv.field_size_limit(limit)
    return begin
