"""Report on a trained model of health records.

    python -m timeseries report runs/events/version_0 --out report/

Writes the scores with intervals over patients beside the tabular baselines (report.md), a model card and pictures of
the test part of the run, read and split as its config.yaml says.
"""

import argparse
import sys
from collections.abc import Sequence

from .ehr.report import report_run


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; answer the exit status.

    Args:
        arguments: As typed; None takes the process's.
    """
    parser = argparse.ArgumentParser(
        prog="python -m timeseries", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    report = commands.add_parser("report", help="write the report, the pictures and the model card of a run")
    report.add_argument("run", help="folder of the run")
    report.add_argument("--out", required=True, help="folder to write into")
    report.add_argument("--checkpoint", default="best.ckpt", help="which one of the run; default: best.ckpt")
    report.add_argument("--title", help="what was evaluated; default: the outcome and the run")
    report.add_argument("--purpose", default="Research and comparison of methods.", help="for the model card")
    report.add_argument("--no-baselines", action="store_true", help="leave out the tabular baselines (minutes)")
    report.add_argument("--repeats", type=int, default=500, help="draws of the intervals; default: 500")
    options = vars(parser.parse_args(arguments))
    options["baselines"] = not options.pop("no_baselines")
    try:
        print(report_run(**options))
    except (ValueError, OSError) as error:
        print(f"timeseries: error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
