"""Supply chains: depth is hops. How far does a model of D layers see, and how well?

Models of D = 1 .. 5 layers learn on economies drawn at random what every sector must produce for a unit of final demand
elsewhere. They are tested on a table that training has not seen: one more economy, or a national table by path. The
truth is the Leontief series of that table cut after D hops.

    python demos/graphs_supply_chain.py [--fast]
    python demos/graphs_supply_chain.py --use USE.csv.gz --make MAKE.csv.gz --name "BEA summary 2017"

Prints R² of logarithms by distance, with the rounds I + A and I + A + A² beside it, the greatest answer beyond D hops,
what the cut itself leaves out of (I - A)^-1, and the exact attention form's error; saves pictures of accuracy by hop,
of a shock that travels, and of the labour and capital embodied in final demand. `--docs` writes the tables into
docs/supply-chains.md.
"""

import argparse
import logging
import time
import warnings
from pathlib import Path
from typing import NamedTuple

import lightning as L
import torch
from reporting.tables import mean_sd, table, versions
from torch import Tensor

from core.training import hash_arrays, rewrite
from graphs import Economy, InputOutputData, SupplyChainTask, SyntheticEconomyData
from graphs.layers import hop_distances
from graphs.supply import (
    FlowEdges,
    draw_embodied,
    draw_hops,
    draw_travel,
    embodied,
    greatest_beyond,
    leontief_inverse,
    log_scores,
    propagate,
    r2_by_hop,
    r_squared,
    respond,
    sample_band,
    shock_at,
    travel,
    truncated_series,
)

PAGE = Path(__file__).parents[1] / "docs" / "supply-chains.md"
MOST = 5
EPOCHS = {1: 24, 2: 16, 3: 12, 4: 10, 5: 10}  # by depth, of 50 steps each


class Outcome(NamedTuple):
    """One model on the test table."""

    by_hop: list[float | None]
    r2: float
    linear: float
    beyond: float
    model: SupplyChainTask


class Truth(NamedTuple):
    """The thresholded table and what is known about it. Shapes: (n, n) each."""

    edges: FlowEdges
    distance: Tensor
    inverse: Tensor


def train(hops: int, seed: int, economies: int, epochs: int) -> SupplyChainTask:
    """The task of configs/graphs/input_output.yaml with D = hops layers."""
    L.seed_everything(seed, verbose=False)
    task = SupplyChainTask(hops=hops, lr=0.01, weight_decay=0.0, warmup_fraction=0.1)
    trainer = L.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        gradient_clip_val=1.0,
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(task, SyntheticEconomyData(economies, 1, seed=seed))
    return task.eval()


def series(truth: Truth, hops: int) -> Tensor:
    """Requirements (i, j) per unit of demand for j, within so many hops."""
    return respond(truth.edges, torch.eye(len(truth.distance), dtype=torch.float64), hops)


def judge(found: Tensor, truth: Truth, hops: int) -> tuple[list[float | None], dict[str, float], float]:
    """R² by distance, over all pairs within reach off the diagonal, and the greatest answer beyond."""
    expected = series(truth, hops)
    within = (truth.distance > 0) & (truth.distance <= hops)
    scores = log_scores(found[within], expected[within])
    return r2_by_hop(found, expected, truth.distance, hops), scores, greatest_beyond(found, truth.distance, hops)


def padded(by_hop: list[float | None]) -> list[float | None]:
    """To the number of columns."""
    return [*by_hop, *[None] * (MOST - len(by_hop))]


def examine(truth: Truth, models: dict[int, list[SupplyChainTask]]) -> tuple[str, dict[str, list[list[float | None]]]]:
    """The table, and the lines of its picture."""
    n = len(truth.distance)
    rows, lines = [], {}
    header = ["method, truth: series to D hops", *(f"{hop} hop{'s' * (hop > 1)}" for hop in range(1, MOST + 1))]
    header += ["all within D", "R², not log", "max beyond D"]
    for hops, tasks in models.items():
        outcomes = []
        for task in tasks:
            with torch.no_grad():
                found = task(truth.edges, torch.eye(n)).double()
            by_hop, scores, beyond = judge(found, truth, hops)
            outcomes.append(Outcome(by_hop, scores["r2"], scores["r2_linear"], beyond, task))
        columns = zip(*(padded(outcome.by_hop) for outcome in outcomes), strict=True)
        cells = [mean_sd(column) for column in columns]
        sums = [mean_sd([outcome.r2 for outcome in outcomes]), mean_sd([outcome.linear for outcome in outcomes])]
        rows.append([f"trained, D = {hops}", *cells, *sums, f"{max(outcome.beyond for outcome in outcomes):g}"])
        lines[f"D = {hops}"] = [padded(outcome.by_hop) for outcome in outcomes]
    for name, rounds in (("I + A", 1), ("I + A + A²", 2)):
        by_hop, scores, _ = judge(series(truth, rounds), truth, MOST)
        reached = f"{scores.get('r2_reached', 0):.4f} of the {scores['reached']:.0%} that it answers"
        rows.append(
            [f"{name}, D = {MOST}", *(mean_sd([v]) for v in padded(by_hop)), reached, f"{scores['r2_linear']:.4f}", "0"]
        )
        lines[name] = [padded(by_hop)]
    return table(header, rows), lines


def left_out(economy: Economy, truth: Truth) -> str:
    """What cutting the series leaves out of the inverse, of the thresholded table and of the whole one."""
    whole = leontief_inverse(economy.coefficients)
    off = ~torch.eye(len(economy), dtype=torch.bool)
    rows = []
    for hops in range(1, MOST + 1):
        cut = series(truth, hops)
        within = off & (cut > 0)
        full = truncated_series(economy.coefficients, hops)
        rows.append(
            [
                str(hops),
                f"{r_squared(cut[off], truth.inverse[off]):.4f}",
                f"{r_squared(cut[within].log(), truth.inverse[within].log()):.4f}",
                f"{float((within & (truth.inverse > 0)).sum() / (off & (truth.inverse > 0)).sum()):.0%}",
                f"{r_squared(full[off], whole[off]):.4f}",
            ]
        )
    header = ["D", "thresholded table: R²", "R² of logs, pairs within D", "pairs within D", "whole table: R²"]
    return table(header, rows)


def bands(task: SupplyChainTask, economy: Economy, truth: Truth, sector: str, scenarios: int) -> str:
    """The five greatest answers to a shock, with a band over perturbed coefficients (log deviation .1)."""
    shock = shock_at(economy, {sector: 1.0})[:, None]
    with torch.no_grad():
        found = task(truth.edges, shock)[:, 0]
        band = sample_band(
            lambda edges: task(edges, shock)[:, 0], truth.edges, scenarios, 0.1, torch.Generator().manual_seed(0)
        )
    exactly = (series(truth, task.hops) @ shock)[:, 0]
    order = [k for k in found.argsort(descending=True).tolist() if economy.names[k] != sector][:5]
    rows = [
        [economy.names[k], f"{exactly[k]:.4f}", f"{found[k]:.4f}", f"{band.low[k]:.4f} to {band.high[k]:.4f}"]
        for k in order
    ]
    return table(["sector", "series", f"trained, D = {task.hops}", f"5 % to 95 % of {scenarios} scenarios"], rows)


def main() -> None:
    """Run the demo."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--use", type=Path, help="BEA's use table, .csv or .csv.gz")
    parser.add_argument("--make", type=Path, help="BEA's make table")
    parser.add_argument("--name", default=None, help="of the table, for titles and the page")
    parser.add_argument("--threshold", type=float, default=0.02, help="coefficients above it are edges")
    parser.add_argument("--sector", help="that is hit in the pictures; default: the one with the most suppliers")
    parser.add_argument("--models", type=Path, help="folder that keeps trained models for another table")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("runs/graphs_supply_chain"), help="folder of the pictures")
    parser.add_argument("--fast", action="store_true", help="D = 1 and 2, one seed, few steps: shows that it runs")
    parser.add_argument("--docs", action="store_true", help="write the tables into docs/supply-chains.md")
    arguments = parser.parse_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    warnings.filterwarnings("ignore", ".*LeafSpec.*", FutureWarning)
    torch.set_num_threads(1)
    started = time.perf_counter()
    name = arguments.name or ("a synthetic economy" if arguments.use is None else arguments.use.name.split(".")[0])
    if arguments.use is None:
        economy = SyntheticEconomyData(1, 1, seed=1000).item(part=2, number=0).economy
    else:
        economy = InputOutputData(str(arguments.use), str(arguments.make)).read()
    cut = economy.threshold(arguments.threshold)
    edges = cut.edges()
    truth = Truth(edges, hop_distances(edges.index, len(cut)), leontief_inverse(cut.coefficients))
    print(versions())
    print(
        f"data: {name}, {len(cut)} sectors, {edges.index.shape[1]} edges above {arguments.threshold:g}; "
        f"{hash_arrays(economy.coefficients)[:23]}…"
    )
    for note in economy.notes:
        print(f"note: {note}")
    eye = torch.eye(len(cut), dtype=torch.float64)
    error = max(
        float((propagate(edges, eye, hops) - truncated_series(cut.coefficients, hops)).abs().max())
        for hops in range(MOST + 1)
    )
    print(f"exact attention form against the series, D = 0 .. {MOST}: greatest error {error:.1e}\n")
    depths, seeds = ((1, 2), 1) if arguments.fast else (tuple(range(1, MOST + 1)), arguments.seeds)
    economies = 24 if arguments.fast else 200
    models: dict[int, list[SupplyChainTask]] = {}
    for hops in depths:
        for seed in range(seeds):
            kept = None if arguments.models is None else arguments.models / f"hops{hops}_seed{seed}.pt"
            if kept is not None and kept.is_file():
                task = SupplyChainTask(hops=hops).eval()
                task.load_state_dict(torch.load(kept, weights_only=True))
            else:
                task = train(hops, seed, economies, 1 if arguments.fast else EPOCHS[hops])
                if kept is not None:
                    kept.parent.mkdir(parents=True, exist_ok=True)
                    torch.save(task.state_dict(), kept)
            models.setdefault(hops, []).append(task)
        print(f"D = {hops}: {seeds} seed(s) after {time.perf_counter() - started:.0f} s", flush=True)
    scores, lines = examine(truth, models)
    sector = arguments.sector or cut.names[int((cut.coefficients > 0).sum(0).argmax())]
    deepest = models[max(depths)][0]
    text = (
        f"R² of ln(requirement) by distance, {name}: {len(cut)} sectors, {edges.index.shape[1]} coefficients above "
        f"{arguments.threshold:g} off the diagonal; trained on {economies} other economies, mean ± sd "
        f"over {seeds} seed(s).\n\n{scores}\n\nThe exact attention form differs from the series by at most {error:.1e} "
        f"(float64, D = 0 .. {MOST}). What cutting the series leaves out of the inverse:\n\n"
        f"{left_out(economy, truth)}\n\n"
        f"A unit of final demand for {sector}, without the sector itself:\n\n"
        f"{bands(deepest, cut, truth, sector, 10 if arguments.fast else 200)}\n"
    )
    print(f"\n{text}")
    out = arguments.out / name.replace(" ", "_")
    out.mkdir(parents=True, exist_ok=True)
    (out / "summary.md").write_text(text, "utf-8")
    draw_hops(lines, f"Depth is hops: {name}, not seen in training", out / "hops.png")
    shock = shock_at(cut, {sector: 1.0})
    steps = list(travel(cut, shock, 4))
    with torch.no_grad():
        steps.append(deepest(edges, shock[:, None])[:, 0].double())
    titles = ["the shock", *(f"after {hop} hop{'s' * (hop > 1)}" for hop in range(1, 5))]
    titles.append(f"sum of {deepest.hops} hops, as the trained model answers")
    title = f"One unit of demand for {sector} travels to its suppliers ({name}); rings are hops"
    draw_travel(cut, steps, titles, title, out / "shock.png")
    if economy.factors is not None:
        held = embodied(economy.coefficients, economy.factors)
        top = held.sum(0).argsort(descending=True)[:20]
        indirect = (held - economy.factors).sum(0).argsort(descending=True)[:20]
        print(
            f"most labour and capital among their suppliers: {', '.join(economy.names[int(k)] for k in indirect[:5])}"
        )
        chosen = indirect if arguments.use is not None else top
        names = [economy.names[int(k)] for k in chosen]
        draw_embodied(names, economy.factors[:, chosen], held[:, chosen], economy.factor_names, out / "embodied.png")
    if arguments.docs:
        rewrite(PAGE, name, text)
    print(f"pictures in {out}; {time.perf_counter() - started:.0f} s")
    if arguments.fast:
        print("--fast: a few steps only; these numbers show that it runs, not how good it is")


if __name__ == "__main__":
    main()
