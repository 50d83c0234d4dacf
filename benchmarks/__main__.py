"""Run every benchmark and write docs/benchmarks.md; `make bench` does this.

    python benchmarks

A benchmark is a script in this folder that prints Markdown and exits with a status other than 0 when it misses a bar.
"""

import platform
import subprocess
import sys
from pathlib import Path

import torch

FOLDER = Path(__file__).resolve().parent
PAGE = FOLDER.parent / "docs" / "benchmarks.md"


def run(script: Path) -> tuple[str, int]:
    """Run a script, showing its output as it comes; answer that output and the exit status."""
    lines = []
    with subprocess.Popen([sys.executable, script], cwd=FOLDER.parent, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
    return "".join(lines), process.returncode


def revision() -> str:
    """The commit that is measured."""
    command = ["git", "describe", "--always", "--dirty"]
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else "unknown"


def main() -> int:
    """Run all, write the page, and answer 1 if a benchmark failed or missed its bar."""
    parts = [
        "# Benchmarks\n\nWritten by `make bench`; do not edit. Ratios are of runs that took turns, times "
        "hold for the machine below alone.\n\n"
        f"Commit {revision()}; {platform.system()} on {platform.machine()}, {torch.get_num_threads()} threads, "
        f"Python {platform.python_version()}, torch {torch.__version__}.\n"
    ]
    failed = []
    for script in sorted(FOLDER.glob("*.py")):
        if script.name == Path(__file__).name:
            continue
        print(f"\n== {script.name}", flush=True)
        output, status = run(script)
        note = "**This run failed or missed a bar.**\n\n" if status else ""
        parts.append(f"\n## {script.stem}\n\n`python benchmarks/{script.name}`\n\n{note}{output.strip()}\n")
        if status:
            failed.append(script.name)
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text("".join(parts), encoding="utf-8")
    print(f"\nwrote {PAGE.relative_to(FOLDER.parent)}")
    if failed:
        print(f"failed or missed a bar, and the page says so: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
