"""Predict outcomes from health records, beside what tabular methods do: tables, pictures, a model card.

    python demos/timeseries_ehr.py                        the NAFLD study: death within five years (extra data)
    python demos/timeseries_ehr.py --physionet DIR        PhysioNet 2012: death in hospital, train set a, test set b
    python demos/timeseries_ehr.py --planted              only the half-lives that were planted in synthetic events
    python demos/timeseries_ehr.py --fast                 seconds: few people and epochs; its numbers mean nothing
    python demos/timeseries_ehr.py --docs                 and write the tables and pictures into docs/

The recipes are those of configs/timeseries/. Several members are trained with different seeds and averaged; logistic
regression, gradient boosting and their blend on summary features stand in the same tables, on the same patients.
"""

import argparse
import shutil
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import sklearn
import torch

import timeseries
from core import __version__
from core.analysis import FaithfulnessReport
from core.training import rewrite
from timeseries import EvaluationReport, EventEnsemble, Nafld, PhysioNet2012, fit_decayed_means, model_card
from timeseries.ehr import (
    attention_faithfulness,
    decision_figure,
    half_life_figure,
    matched,
    most_frequent,
    nafld_groups,
    physionet_groups,
    read_recipe,
    reliability_figure,
    timeline,
    timeline_figure,
    train,
)
from timeseries.ehr.baselines import TabularBaselines
from timeseries.ehr.data import EventDataModule, LoadedEvents
from timeseries.events import Split, plant
from timeseries.probabilities import binary_scores, markdown

ROOT = Path(__file__).resolve().parent.parent
CONFIGS = ROOT / "configs" / "timeseries"
OURS = "events + summary"


def few(data: EventDataModule, every: int) -> EventDataModule:
    """The same data module with every so-many-th sample of each part, for --fast."""
    load = data.load

    def fewer() -> LoadedEvents:
        loaded = load()
        split = loaded.split or data.draw(loaded.samples)
        parts = [part[::every] for part in (split.train, split.val, split.test)]
        kept = np.concatenate(parts)
        ends = np.cumsum([0] + [len(part) for part in parts])
        samples = loaded.samples.select(kept)
        index = [np.arange(a, b) for a, b in pairwise(ends)]
        return LoadedEvents(samples, Split(samples.subjects, *index), loaded.reports)

    data.load = fewer  # type: ignore[method-assign]
    return data


def planted_half_lives(seeds: int, count: int, epochs: int, out: Path) -> str:
    """Plant half-lives, fit the model that can be read, and compare."""
    start = (4.0, 12.0, 36.0)
    found, spent = [], time.perf_counter()
    for seed in range(seeds):
        planted = plant(count, seed=seed)
        model = fit_decayed_means(planted.samples, list(start), epochs=epochs, lr=0.1, seed=seed)
        found.append(matched(model, list(range(len(start)))))
    values, truth = np.array(found), planted.half_lives
    worst = np.abs(values / truth - 1).max(axis=0)
    rows = [
        [
            f"signal_{k}",
            f"{truth[k]:g}",
            f"{values[:, k].mean():.3g} ± {values[:, k].std(ddof=seeds > 1):.2g}",
            f"{w:.1%}",
        ]
        for k, w in enumerate(worst)
    ]
    text = markdown(["code", "planted (h)", f"found (h), {seeds} seed(s)", "largest error"], rows)
    print(f"\nPlanted half-lives, {count:,} samples with binary outcomes a seed:\n\n{text}", flush=True)
    print(f"\nlargest error {worst.max():.1%} (target: 10%), {time.perf_counter() - spent:.0f} s")
    title = f"Half-lives found in {count:,} synthetic records, by code"
    figure = half_life_figure([v[None] for v in values], None, title, truth, [f"signal_{k}" for k in range(len(start))])
    figure.savefig(out / "planted_half_lives.png", dpi=120)
    return text


def single_table(logits: dict[str, list[np.ndarray]], target: np.ndarray) -> str:
    """AUROC, AUPRC and Brier score of single models, mean ± standard deviation over seeds."""
    rows = []
    for name, each in logits.items():
        scores = [binary_scores(target, p) for p in each]
        cells = []
        for column in ("auroc", "auprc", "brier"):
            values = [getattr(score, column) for score in scores]
            spread = f" ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else ""
            cells.append(f"{np.mean(values):.4f}{spread}")
        rows.append([name, str(len(each)), *cells])
    return markdown(["single models", "seeds", "AUROC", "AUPRC", "Brier"], rows)


def evaluate(arguments: argparse.Namespace, data: EventDataModule, recipe: dict[str, Any], name: str) -> str:
    """Train the members, report, draw, write the model card."""
    fast, out = arguments.fast, arguments.out
    print(f"data: {data.source}\nlicence: {data.licence}\nfingerprint: {data.fingerprint()}", flush=True)
    members, each, spent = [], [], time.perf_counter()
    test = data.samples["test"]
    for seed in range(arguments.seeds):
        data.seed = seed
        changes = {"pretrain_epochs": 1} if fast else {}
        member = train(recipe, data, seed=seed, epochs=2 if fast else None, **changes)
        each.append(member.probabilities(member.logits_of(test).logits).numpy())
        members.append(member)
        scores = binary_scores(test.target, each[-1])
        print(f"seed {seed}: AUROC {scores.auroc:.4f}, AUPRC {scores.auprc:.4f}, {member.calibration}", flush=True)
    minutes = (time.perf_counter() - spent) / 60 / arguments.seeds
    baselines = TabularBaselines(folds=2, statistics=("last", "count"), trees=20) if fast else TabularBaselines()
    tabular = baselines.fit(data.samples["train"]).probabilities(test)
    ensemble = f"{OURS}, mean of {len(members)}" if len(members) > 1 else OURS
    probabilities = {ensemble: EventEnsemble(members).probabilities_of(test).numpy(), **tabular}
    groups = physionet_groups(test) if isinstance(data, PhysioNet2012) else nafld_groups(test)
    report = EvaluationReport.of(
        name,
        test.target,
        probabilities,
        test.subjects,
        groups=groups,
        repeats=50 if fast else 500,
        notes=[f"Training took {minutes:.1f} minutes a member, {torch.get_num_threads()} thread(s)."],
    )
    singles = single_table({OURS: each, **{k: [p] for k, p in tabular.items()}}, test.target)
    print(f"\n{singles}\n\n{report}\n", flush=True)
    faithful = explain(arguments, members, test)
    draw(out, report, probabilities, test.target, members, recipe, name, arguments.hours)
    card = model_card(
        report,
        model=f"{len(members)} attention model(s) over binned events, fused with summary features by a learned gate; "
        f"{sum(p.numel() for p in members[0].model.parameters()):,} parameters each.",
        purpose=f"Research and comparison of methods on {data.source}.",
        data={
            "source": data.source,
            "licence": data.licence,
            "fingerprint": data.fingerprint(),
            "split": f"by subject: {data.split}",
        },
        training=[
            f"Recipe: configs/timeseries/{arguments.recipe}.yaml, seeds 0 to {len(members) - 1}.",
            "Vocabulary, quantiles and weights come from the training part alone; calibration: "
            f"{'; '.join(str(member.calibration) for member in members)}.",
        ],
        faithfulness=faithful.card(),
    )
    (out / "model_card.md").write_text(card, encoding="utf-8")
    return "\n\n".join([singles, str(report), faithful.card()])


def explain(arguments: argparse.Namespace, members: list[Any], test: timeseries.EventSamples) -> FaithfulnessReport:
    """Is attention an explanation here? And one patient's timeline, with the answer below it."""
    rng = np.random.default_rng(0)
    with_events = np.flatnonzero(test.lengths > 0)
    items = test.select(np.sort(rng.choice(with_events, min(len(with_events), 16 if arguments.fast else 128), False)))
    options: dict[str, Any] = {}
    if arguments.fast:
        options = {"adversary_steps": 10, "adversary_restarts": 1, "weight_permutations": 5, "curve_steps": 4}
    faithful = attention_faithfulness(members[0], items, other_seeds=members[1:], **options)
    print(faithful, flush=True)
    logits = members[0].logits_of(test).logits[:, 0].numpy()
    died = np.flatnonzero((test.target == 1) & (test.lengths >= np.quantile(test.lengths, 0.75)))
    n = int(died[np.argsort(-logits[died])[len(died) // 10]])  # of high risk, not the highest
    view = timeline(members[0], test, n, most_frequent(test, n))
    figure = timeline_figure(view, faithful.verdict, arguments.hours)
    figure.savefig(arguments.out / "timeline.png", dpi=120)
    faithful.plot().savefig(arguments.out / "faithfulness.png", dpi=120)
    return faithful


def draw(
    out: Path,
    report: EvaluationReport,
    probabilities: dict[str, np.ndarray],
    target: np.ndarray,
    members: list[Any],
    recipe: dict[str, Any],
    name: str,
    hours: float,
) -> None:
    """Reliability, net benefit, half-lives."""
    reliability_figure(target, probabilities, f"Calibration: {name}").savefig(out / "reliability.png", dpi=120)
    decision_figure(report.curves, f"Net benefit: {name}").savefig(out / "net_benefit.png", dpi=120)
    options = recipe["model"]["init_args"]["architecture"]
    start = np.geomspace(*options["half_lives"], options["heads"]).tolist()
    values = [member.model.half_lives.numpy() for member in members]
    figure = half_life_figure(values, start, f"Half-life of each head: {name}", hours=hours)
    figure.savefig(out / "half_lives.png", dpi=120)


def main() -> None:
    """Run the demo."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--physionet", metavar="DIR", help="folder with set-a, set-b and their outcomes")
    parser.add_argument("--planted", action="store_true", help="only the planted half-lives")
    parser.add_argument("--seeds", type=int, default=None, help="members; default 3, 1 with --fast")
    parser.add_argument("--out", type=Path, default=Path("runs/demo_ehr"), help="folder of pictures and model card")
    parser.add_argument("--fast", action="store_true", help="few people, one seed: shows that it runs, not how well")
    parser.add_argument("--docs", action="store_true", help="write tables and pictures into docs/")
    arguments = parser.parse_args()
    if arguments.fast and arguments.docs:
        parser.error("--docs: expected a full run, got --fast")
    arguments.seeds = arguments.seeds or (1 if arguments.fast else 3)
    arguments.out.mkdir(parents=True, exist_ok=True)
    arguments.recipe = "physionet2012" if arguments.physionet else "nafld"
    arguments.hours = 1.0 if arguments.physionet else 24 * 365.25
    versions = (
        f"attention-suite {__version__}, python {sys.version.split()[0]}, torch {torch.__version__}, "
        f"lightning {L.__version__}, scikit-learn {sklearn.__version__}, {torch.get_num_threads()} thread(s), "
        f"seeds 0 .. {arguments.seeds - 1}"
    )
    print(versions)
    blocks = {}
    if not arguments.planted:
        recipe = read_recipe(CONFIGS / f"{arguments.recipe}.yaml")
        options = {"batch_size": 64, "val_fraction": recipe["data"]["init_args"]["val_fraction"]}
        data: EventDataModule
        if arguments.physionet:
            data, name = PhysioNet2012(arguments.physionet, **options), "PhysioNet 2012, death in hospital"
        else:
            data, name = Nafld(**options), "NAFLD study, death within five years"
        data = few(data, 10) if arguments.fast else data
        data.setup()
        blocks[arguments.recipe] = f"```\n{versions}\n```\n\n" + evaluate(arguments, data, recipe, name)
    if not arguments.physionet:
        seeds, count, epochs = (1, 1000, 2) if arguments.fast else (5, 20_000, 15)
        blocks["planted"] = planted_half_lives(seeds, count, epochs, arguments.out)
    print(f"\nsaved pictures and model card under {arguments.out}")
    for block, text in blocks.items() if arguments.docs else ():
        rewrite(ROOT / "docs" / "timeseries.md", f"demo {block}", text)
    if arguments.docs:
        for picture in arguments.out.glob("*.png"):
            planted = picture.stem == "planted_half_lives"
            shutil.copyfile(
                picture, ROOT / "docs" / "images" / f"ehr_{'' if planted else arguments.recipe + '_'}{picture.name}"
            )
    if arguments.fast:
        print("--fast: few people and epochs; these numbers show that it runs, not how good it is")


if __name__ == "__main__":
    main()
