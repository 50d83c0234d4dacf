"""What `import core` adds to `import torch`: at most 100 ms, the median over fresh processes.

    python benchmarks/import_time.py

Each round starts one process that imports torch alone and one that imports torch and then core, in turn going first.
The bar is on the time that the second process spends in `import core` once torch is there; the difference between the
two processes is shown beside it. The exit status is 1 when the bar is missed.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

BAR = 100.0
"""Milliseconds."""

TIMED = """
import json, sys, time
start = time.perf_counter()
import torch
middle = time.perf_counter()
if sys.argv[1] == "core":
    import core
end = time.perf_counter()
print(json.dumps([1e3 * (middle - start), 1e3 * (end - middle)]))
"""


def measure(what: str) -> tuple[float, float]:
    """Milliseconds that a fresh process spends in `import torch`, and in what comes after it."""
    command = [sys.executable, "-c", TIMED, what]
    root = Path(__file__).resolve().parent.parent
    torch_ms, core_ms = json.loads(subprocess.run(command, cwd=root, check=True, stdout=subprocess.PIPE).stdout)
    return torch_ms, core_ms


def quartiles(name: str, values: list[float]) -> str:
    """One row of the table."""
    low, median, high = statistics.quantiles(values, n=4)
    return f"| {name} | {median:.1f} | {low:.1f} to {high:.1f} |"


def main() -> int:
    """Measure, print the table, and answer the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, help="pairs of processes, at least 7")
    rounds = parser.parse_args().rounds
    if rounds < 7:
        parser.error(f"--rounds is {rounds}, expected at least 7")
    measure("core")  # writes the byte code and warms the disk's cache
    alone, both = [], []
    for turn in range(rounds):
        for what in ("torch", "core") if turn % 2 else ("core", "torch"):
            (both if what == "core" else alone).append(measure(what))
    added = [core_ms for _, core_ms in both]
    difference = statistics.median(map(sum, both)) - statistics.median(map(sum, alone))
    median = statistics.median(added)
    print(f"{rounds} rounds of fresh processes, Python {sys.version.partition(' ')[0]}\n")
    print("| | median, ms | quartiles, ms |\n|---|---|---|")
    print(quartiles("`import torch` alone", [sum(pair) for pair in alone]))
    print(quartiles("`import torch`, then `import core`", [sum(pair) for pair in both]))
    print(quartiles("`import core` once torch is there", added))
    print(f"\nDifference of the first two medians: {difference:.1f} ms.")
    print(f"Bar: `import core` adds at most {BAR:.0f} ms: {'met' if median <= BAR else 'MISSED'}.")
    return int(median > BAR)


if __name__ == "__main__":
    sys.exit(main())
