"""Run benchmarks and write their sections of docs/benchmarks.md; `make bench` runs all of them.

    python benchmarks
    python benchmarks window pairs      these alone; the other sections stay as they are

A benchmark is a script in this folder that needs no argument, prints Markdown and exits with a status other than 0 when
it misses a bar. Those that train on data by path write pages of their own, and are run by hand: see ON_DATA.
"""

import argparse
import platform
import re
import subprocess
import sys
from pathlib import Path

import torch

FOLDER = Path(__file__).resolve().parent
PAGE = FOLDER.parent / "docs" / "benchmarks.md"
ON_DATA = (
    "event_baselines",
    "genomics_chip",
    "genomics_promoters",
    "graphs_planetoid",
    "graphs_supplygraph",
    "timeseries_physionet",
)
"""They need data that no package brings, and write into the page of their domain."""

HEAD = (
    "# Benchmarks\n\nWritten by `make bench`; do not edit. Ratios are of runs that took turns, times hold for the "
    "machine below alone. Benchmarks on data by path stand on the pages of their domains.\n"
)


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


def circumstances() -> str:
    """What a section was measured on."""
    return (
        f"Commit {revision()}; {platform.system()} on {platform.machine()}, {torch.get_num_threads()} threads, "
        f"Python {platform.python_version()}, torch {torch.__version__}."
    )


def sections(page: str) -> dict[str, str]:
    """The sections of a page that this script wrote, name -> text with its heading."""
    return {part.split("\n", 1)[0]: f"## {part}" for part in re.split(r"^## ", page, flags=re.MULTILINE)[1:]}


def main() -> int:
    """Run what is asked for, write the page, and answer 1 if a benchmark failed or missed its bar."""
    known = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem not in ("__main__", *ON_DATA))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of {', '.join(known)}; default: all")
    names = parser.parse_args().names
    unknown = [name for name in names if name not in known]
    if unknown:
        parser.error(f"NAME: expected some of {', '.join(known)}, got {', '.join(unknown)}")
    parts = sections(PAGE.read_text(encoding="utf-8")) if PAGE.is_file() else {}
    failed = []
    for name in names or known:
        print(f"\n== {name}", flush=True)
        output, status = run(FOLDER / f"{name}.py")
        note = "**This run failed or missed a bar.**\n\n" if status else ""
        parts[name] = f"## {name}\n\n`python benchmarks/{name}.py`\n\n{circumstances()}\n\n{note}{output.strip()}\n"
        if status:
            failed.append(name)
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(
        "\n".join([HEAD, *(parts[name].rstrip() + "\n" for name in known if name in parts)]), encoding="utf-8"
    )
    print(f"\nwrote {PAGE.relative_to(FOLDER.parent)}")
    if failed:
        print(f"failed or missed a bar, and the page says so: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
