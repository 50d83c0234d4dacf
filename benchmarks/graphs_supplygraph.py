"""SupplyGraph: does attention over shared plants, stores and groups forecast sales better than ridge?

Trains the task of configs/graphs/supplygraph.yaml, with and without attention, on the first 70 % of the days; the epoch
is chosen on the next 10 %, the last 20 % are read once. Baselines on the same features and split: the day before, the
training mean, and ridge with its penalty chosen on the same validation days.

    python benchmarks/graphs_supplygraph.py --root DIR [--seeds 5] [--docs]

The error is the root mean square in deviations of each product's training days, of ln(1 + units).
"""

import argparse
import logging
import sys
import tempfile
import time
import warnings
from pathlib import Path

import lightning as L
import torch
import yaml
from lightning.pytorch.callbacks import ModelCheckpoint

from core.training import rewrite
from graphs import DemandForecastTask, SupplyGraphData

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "demos"))
from reporting.tables import mean_sd, table, versions  # noqa: E402  # shared with the demos

PAGE = ROOT / "docs" / "supply-chains.md"
TITLES = {"lag_1": "lag 1", "training_mean": "training mean", "ridge": "ridge"}
CONFIG = yaml.safe_load((ROOT / "configs" / "graphs" / "supplygraph.yaml").read_text("utf-8"))


def run(root: str, series: str, seed: int, depth: int) -> tuple[float, float, SupplyGraphData, DemandForecastTask]:
    """Validation and test error of one model, at its best validation epoch."""
    L.seed_everything(seed, verbose=False)
    data = SupplyGraphData(root, **{**CONFIG["data"]["init_args"], "series": series, "seed": seed})
    task = DemandForecastTask(**{**CONFIG["model"]["init_args"], "depth": depth})
    with tempfile.TemporaryDirectory() as folder:
        keep = ModelCheckpoint(folder, monitor="val/rmse", mode="min")
        trainer = L.Trainer(
            max_epochs=CONFIG["trainer"]["max_epochs"],
            gradient_clip_val=CONFIG["trainer"]["gradient_clip_val"],
            accelerator="cpu",
            callbacks=[keep],
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(task, data)
        task.load_state_dict(torch.load(keep.best_model_path, weights_only=True)["state_dict"])
    return float(keep.best_model_score), trainer.test(task, data, verbose=False)[0]["test/rmse"], data, task


def main() -> None:
    """Run and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True, help="the SupplyGraph folder")
    parser.add_argument("--series", default="sales order")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--docs", action="store_true", help="write the table into docs/supply-chains.md")
    arguments = parser.parse_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    warnings.filterwarnings("ignore", ".*LeafSpec.*", FutureWarning)
    torch.set_num_threads(1)
    started = time.perf_counter()
    print(versions())
    rows = []
    for depth, name in ((1, "linear + graph attention"), (0, "the same without attention")):
        runs = [run(arguments.root, arguments.series, seed, depth) for seed in range(arguments.seeds)]
        rows.append([name, mean_sd([r[0] for r in runs], 3), mean_sd([r[1] for r in runs], 3)])
        print(f"{name}: {rows[-1][1:]} after {time.perf_counter() - started:.0f} s", flush=True)
    _, _, data, task = runs[-1]
    validation, test = task.baselines("val"), task.baselines("test")
    for name in test:
        rows.append([TITLES[name], f"{validation[name]['val/rmse']:.3f}", f"{test[name]['test/rmse']:.3f}"])
    text = (
        f"{arguments.series}, the next day, {len(data.whole.names)} products, {len(data.days('train'))} training days, "
        f"{len(data.days('val'))} to choose on, {len(data.days('test'))} for the test; error in deviations, mean ± sd "
        f"over {arguments.seeds} seeds.\n\n{table(['method', 'validation', 'test'], rows)}\n"
    )
    print(f"{data.fingerprint()[:23]}…\n\n{text}\n{time.perf_counter() - started:.0f} s")
    if arguments.docs:
        rewrite(PAGE, "supplygraph", text)


if __name__ == "__main__":
    main()
