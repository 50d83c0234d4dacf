"""The commands of timeseries. Read without the package when help is asked for: what runs imports what it needs.

    attention-suite timeseries report runs/events/version_0 --out report/

`report` writes the scores with intervals over patients beside the tabular baselines (report.md), a model card and
pictures of the test part of the run, read and split as its config.yaml says.
"""

import argparse

ABOUT = f"Report on a trained model of health records.{(__doc__ or '').partition('needs.')[2]}"


def _add_report(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("run", help="folder of the run")
    add("--out", required=True, help="folder to write into")
    add("--checkpoint", default="best.ckpt", help="which one of the run; default: best.ckpt")
    add("--title", help="what was evaluated; default: the outcome and the run")
    add("--purpose", default="Research and comparison of methods.", help="for the model card")
    add("--no-baselines", action="store_true", help="leave out the tabular baselines (minutes)")
    add("--repeats", type=int, default=500, help="draws of the intervals; default: 500")


def _report(arguments: argparse.Namespace) -> None:
    from .ehr.report import report_run

    options = vars(arguments)
    options["baselines"] = not options.pop("no_baselines")
    print(report_run(**options))


COMMANDS = {"report": ("write the report, the pictures and the model card of a run", _add_report, _report)}
"""Name -> (help, what adds its arguments, what runs it)."""
