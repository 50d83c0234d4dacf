"""What a model of events must beat: logistic regression, gradient boosting and their blend on summary features.

    python benchmarks/event_baselines.py                          the NAFLD study, five-year death, test part
    python benchmarks/event_baselines.py --physionet DIR          and PhysioNet 2012: train set a, test set b
    python benchmarks/event_baselines.py --physionet DIR --docs   and write the tables into docs/events.md

All is fitted and chosen in the training part: for PhysioNet all of set a, for NAFLD everybody outside the test part.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import sklearn
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from core.training import rewrite
from timeseries import EventDataModule, Nafld, PhysioNet2012
from timeseries.ehr.baselines import TabularBaselines

PAGE = Path(__file__).resolve().parents[1] / "docs" / "events.md"


def table(name: str, data: EventDataModule, seeds: int) -> str:
    """The table of one data set, in Markdown."""
    data.setup()
    train, test = data.samples["train"], data.samples["test"]
    scores: dict[str, list[tuple[float, float, float]]] = {}
    chosen = []
    start = time.perf_counter()
    for seed in range(seeds):
        model = TabularBaselines(seed).fit(train)
        chosen.append(f"C = {model.chosen[0][0]:g} and {model.chosen[0][1]} trees")
        for method, p in model.probabilities(test).items():
            y = test.target
            found = roc_auc_score(y, p), average_precision_score(y, p), brier_score_loss(y, p)
            scores.setdefault(method, []).append(found)
        print(f"{name}, seed {seed}: {chosen[-1]}", file=sys.stderr)
    seconds = (time.perf_counter() - start) / seeds
    lines = [f"**{name}.** {data.source}; {data.fingerprint()[:19]}.", "", "```", data.report(), "```", ""]
    lines += [f"| method | AUROC | AUPRC (prevalence {test.target.mean():.3f}) | Brier score |", "|---|---|---|---|"]
    for method, found in scores.items():
        mean, sd = np.mean(found, axis=0), np.std(found, axis=0)
        cells = [f"{m:.4f} ± {s:.4f}" for m, s in zip(mean, sd, strict=True)]
        lines.append(f"| {method} | {' | '.join(cells)} |")
    lines += [
        "",
        f"{seeds} seeds of folds and trees on one split; chosen: {', '.join(chosen)}; {seconds:.0f} s a seed.",
    ]
    return "\n".join(lines)


def main() -> None:
    """Print every table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--physionet", metavar="DIR", help="folder with set-a, set-b and their outcomes")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--docs", action="store_true", help="write the tables into docs/events.md")
    arguments = parser.parse_args()
    tables = [f"scikit-learn {sklearn.__version__}, NumPy {np.__version__}."]
    tables.append(table("NAFLD, death within five years", Nafld(val_fraction=0.0), arguments.seeds))
    if arguments.physionet:
        data = PhysioNet2012(arguments.physionet, train="a", test="b", val_fraction=0.0)
        tables.append(table("PhysioNet 2012, death in hospital, train a, test b", data, arguments.seeds))
    print("\n\n".join(tables))
    if arguments.docs:
        rewrite(PAGE, "baselines", "\n\n".join(tables))


if __name__ == "__main__":
    main()
