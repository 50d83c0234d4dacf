"""Hold every backend against the definition over many thousand random problems.

    python benchmarks/correctness.py [--times 10]

Runs the property tests of the backends, which draw masks, biases, scores, dtypes, head layouts and lengths and compare
outputs, lse, entropy and all gradients with `reference`, with so many times as many problems as `make test`, and counts
those that passed. Exits with a status other than 0 if one fails or if there were fewer than 10,000.
"""

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
TESTS = "tests/core/backends"
BAR = 10_000


def main() -> int:
    """Run the tests and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=10)
    arguments = parser.parse_args()
    command = [sys.executable, "-m", "pytest", "-q", "--hypothesis-show-statistics", "-k", "equal", TESTS]
    environment = os.environ | {"ATTENTION_SUITE_CASES": str(arguments.times)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    counts, name = {}, ""
    for line in done.stdout.splitlines():
        if found := re.match(r"(tests/.+):$", line):
            name = found[1]
        elif found := re.search(r"(\d+) passing, \d+ failing", line):
            counts[name] = counts.get(name, 0) + int(found[1])
    print("| test | problems that passed |\n|---|---|")
    for test, count in counts.items():
        print(f"| {test.removeprefix('tests/core/')} | {count:,} |")
    print(f"| all | {sum(counts.values()):,} |")
    if done.returncode:
        print(done.stdout[-3000:], file=sys.stderr)
    return 0 if done.returncode == 0 and sum(counts.values()) >= BAR else 1


if __name__ == "__main__":
    sys.exit(main())
