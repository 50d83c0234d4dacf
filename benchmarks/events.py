"""How fast tables of events are read, and in how much memory: the bar is 10 million events within 4 GB.

    python benchmarks/events.py
    python benchmarks/events.py --rows 1000000

The events are drawn: 50 an average subject, 500 codes, times within a year to the second, values with three digits,
one unit per code, 1 % exact duplicates, rows shuffled within blocks: sorting and the search for duplicates have work
to do. Each file is read in a process of its own; its peak memory is that of the whole process, Python and libraries
included (they alone take what the last row says).
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

LIMIT = 4.0  # GB for 10 million events
BLOCK = 1_000_000


def write(folder: Path, rows: int) -> dict[str, Path]:
    """The same events as CSV and as parquet, block by block."""
    rng = np.random.default_rng(0)
    paths = {"CSV": folder / "events.csv", "parquet": folder / "events.parquet"}
    schema = pa.schema(
        {
            "subject": pa.string(),
            "time": pa.timestamp("s"),
            "code": pa.string(),
            "value": pa.float32(),
            "unit": pa.string(),
        }
    )
    codes = pa.array([f"LAB//{k:04d}" for k in range(500)])
    units = pa.array([f"unit{k % 20}" for k in range(500)])
    with (
        pyarrow.csv.CSVWriter(paths["CSV"], schema) as text,
        pyarrow.parquet.ParquetWriter(paths["parquet"], schema) as binary,
    ):
        for start in range(0, rows, BLOCK):
            n = min(BLOCK, rows - start)
            subject = rng.integers(start // 50, (start + n) // 50 + 1, n)
            second = rng.integers(0, 365 * 86400, n) + 1_600_000_000
            code = rng.integers(0, 500, n)
            value = np.round(rng.normal(100, 20, n), 3).astype(np.float32)
            again = rng.integers(0, n, n // 100)
            for column in (subject, second, code, value):
                column[::100][: len(again)] = column[again]
            batch = pa.record_batch(
                [
                    pa.array(subject).cast(pa.string()),
                    pa.array(second).cast(pa.timestamp("s")),
                    codes.take(pa.array(code)),
                    pa.array(value),
                    units.take(pa.array(code)),
                ],
                schema=schema,
            )
            text.write_batch(batch)
            binary.write_batch(batch)
    return paths


def read(path: str) -> None:
    """Read one file and print seconds, events and peak memory; nothing but libraries where the path is empty."""
    from timeseries import read_table

    start = time.perf_counter()
    found = read_table(path, progress=False) if path else None
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform != "darwin" else 1e9)
    report = {} if found is None else {"events": found.report.events, "rows": found.report.rows}
    print(json.dumps({"seconds": seconds, "peak": peak, **report}))


def measured(path: str) -> dict[str, float]:
    """`read` in a process of its own."""
    command = [sys.executable, __file__, "--read", path]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).resolve().parents[1])
    return json.loads(done.stdout)


def main() -> int:
    """Print the table; answer 1 if the bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--repeats", type=int, default=3, help="of each reading, in turns")
    parser.add_argument("--read", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.read is not None:
        read(arguments.read)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        paths = write(Path(folder), arguments.rows)
        runs: dict[str, list[dict[str, float]]] = {name: [] for name in paths}
        for _ in range(arguments.repeats):
            for name, path in paths.items():
                runs[name].append(measured(str(path)))
        sizes = {name: path.stat().st_size / 1e6 for name, path in paths.items()}
        empty = measured("")
    print(f"{arguments.rows:,} rows, pyarrow {pa.__version__}; median of {arguments.repeats} runs in turns.\n")
    print("| file | MB | seconds | events per second | peak memory, GB |\n|---|---|---|---|---|")
    missed = False
    for name, found in runs.items():
        seconds, peak = float(np.median([run["seconds"] for run in found])), max(run["peak"] for run in found)
        missed |= peak > LIMIT
        print(f"| {name} | {sizes[name]:,.0f} | {seconds:.1f} | {arguments.rows / seconds:,.0f} | {peak:.2f} |")
    print(f"| none: libraries alone | | | | {empty['peak']:.2f} |")
    kept = int(runs["CSV"][0]["events"])
    same = len({run["events"] for found in runs.values() for run in found}) == 1
    print(f"\n{kept:,} events remain after exact duplicates, from both files: {'yes' if same else 'no'}.")
    return int(missed or not same)


if __name__ == "__main__":
    sys.exit(main())
