"""What a model of events must beat: logistic regression, gradient boosting and their blend on summary features.

    python benchmarks/event_baselines.py                          the NAFLD study, five-year death, test part
    python benchmarks/event_baselines.py --physionet DIR          and PhysioNet 2012: train set a, test set b

All is fitted and chosen in the training part: for PhysioNet all of set a, for NAFLD everybody outside the test part.
"""

import argparse
import time

import numpy as np
import sklearn
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from timeseries import EventDataModule, Nafld, PhysioNet2012
from timeseries.tabular import TabularBaselines


def table(name: str, data: EventDataModule, seeds: int) -> None:
    """Print the table of one data set."""
    data.setup()
    train, test = data.samples["train"], data.samples["test"]
    print(f"\n**{name}** ({data.source}), {data.fingerprint()[:19]}\n\n```\n{data.report()}\n```\n")
    scores: dict[str, list[tuple[float, float, float]]] = {}
    start = time.perf_counter()
    for seed in range(seeds):
        model = TabularBaselines(seed).fit(train)
        chosen = f"C = {model.chosen[0][0]:g}, {model.chosen[0][1]} trees"
        print(f"seed {seed}: {chosen}\n")
        for method, p in model.probabilities(test).items():
            found = (
                roc_auc_score(test.target, p),
                average_precision_score(test.target, p),
                brier_score_loss(test.target, p),
            )
            scores.setdefault(method, []).append(found)
    print(f"Test: {len(test):,} samples, {test.target.mean():.1%} positive. {seeds} seeds of folds and trees.\n")
    print("| method | AUROC | AUPRC | Brier score |\n|---|---|---|---|")
    for method, found in scores.items():
        mean, sd = np.mean(found, axis=0), np.std(found, axis=0)
        print(f"| {method} | " + " | ".join(f"{m:.4f} ± {s:.4f}" for m, s in zip(mean, sd, strict=True)) + " |")
    print(f"\n{(time.perf_counter() - start) / seeds:.0f} s a seed.")


def main() -> None:
    """Print every table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--physionet", metavar="DIR", help="folder with set-a, set-b and their outcomes")
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    print(f"scikit-learn {sklearn.__version__}, NumPy {np.__version__}")
    table("NAFLD, death within five years of the index date", Nafld(val_fraction=0.0), arguments.seeds)
    if arguments.physionet:
        data = PhysioNet2012(arguments.physionet, train="a", test="b", val_fraction=0.0)
        table("PhysioNet 2012, death in hospital, train a, test b", data, arguments.seeds)


if __name__ == "__main__":
    main()
