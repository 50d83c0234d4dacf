"""Death in hospital on PhysioNet 2012: our model, its ablations, a GRU and the tabular baselines in one table.

    python benchmarks/timeseries_physionet.py DIR                 train on set a, test on set b, every seed and variant
    python benchmarks/timeseries_physionet.py DIR --folds 5       choose inside set a: 5-fold validation, set b unread
    python benchmarks/timeseries_physionet.py DIR --whole         the first two variants, each model trained in one run
    python benchmarks/timeseries_physionet.py DIR --docs          and write the tables into docs/timeseries.md

The recipe is configs/timeseries/physionet2012.yaml. Variants that differ only behind the encoder share the
self-supervised epochs of their seed. Every finished model is kept under --out with a hash of the data and the recipe,
so that a run that was stopped goes on.
"""

import argparse
import hashlib
import json
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import lightning as L
import numpy as np
import sklearn
import torch

from core import __version__
from core.training import rewrite
from timeseries import PhysioNet2012
from timeseries.ehr import pretrain, read_recipe, train
from timeseries.ehr.baselines import TabularBaselines
from timeseries.probabilities import (
    Outcome,
    binary_scores,
    difference_intervals,
    fit_temperature,
    logit,
    markdown,
    score_intervals,
)

ROOT = Path(__file__).resolve().parent.parent
CONFIG = ROOT / "configs" / "timeseries" / "physionet2012.yaml"
PAGE = ROOT / "docs" / "timeseries.md"
FUSED = "events + summary, gate"
ALONE = "events alone"


def alone(**architecture: Any) -> dict[str, Any]:
    """Events without a summary; in folds of set a they prefer less dropout than both together."""
    return {"summary": [], "architecture": {"dropout": 0.3, **architecture}}


VARIANTS: dict[str, tuple[dict[str, Any], int]] = {  # name -> changes of the recipe, seeds; the first is compared with
    FUSED: ({}, 5),
    ALONE: (alone(), 5),
    "GRU, events + summary, gate": ({"architecture": {"backbone": "gru"}}, 3),
    "GRU, events alone": (alone(backbone="gru"), 3),
    "events + summary, concatenated": ({"architecture": {"fusion": "concat"}}, 3),
    "events + summary, target alone": ({"auxiliary_weight": 0.0}, 3),
    "events + summary, no decay": ({"architecture": {"half_lives": None}}, 3),
    "events alone, no decay": (alone(half_lives=None), 3),
    "events alone, no pretraining": (alone() | {"pretrain_epochs": 0}, 3),
    "events alone, counts only": (alone() | {"values": False}, 3),
    "events alone, times shuffled": (alone() | {"shuffle_times": 0}, 3),
}

AFTER = ("lr", "branch_weight", "auxiliary_weight", "summary", "temperature", "baselines")
"""Options of the task that the self-supervised epochs do not depend on."""
BEHIND = ("fusion", "summary_hidden", "summary_dropout")
"""Options of the architecture that they do not depend on."""


class Trained(NamedTuple):
    """What one model answered.

    Shapes:
        logits: (N,) of the judged stays; half_lives: (blocks, heads) hours, or empty
    """

    logits: np.ndarray
    half_lives: np.ndarray
    parameters: int
    seconds: float


class Bench:
    """Trains each model once and remembers it.

    Args:
        root: Folder of the data.
        out: Where finished models are kept.
        recipe: See `read_recipe`.
        fold: Of set a, judged in place of set b.
        folds: How many there are.
        whole: Train each model in one run, as the configuration does, instead of sharing the self-supervised epochs.
    """

    def __init__(
        self,
        root: str,
        out: Path,
        recipe: dict[str, Any],
        fold: int | None = None,
        folds: int = 5,
        whole: bool = False,
    ) -> None:
        test = "b" if fold is None else None
        self.data = PhysioNet2012(root, train="a", test=test, fold=fold, folds=folds, val_fraction=0.0)
        self.data.batch_size = recipe["data"]["init_args"]["batch_size"]
        self.data.setup()
        self.recipe, self.fingerprint = recipe, f"{self.data.fingerprint()} fold {fold} of {folds}"
        self.out, self.whole = out, whole

    def path(self, what: str, name: str, seed: int, options: Any) -> Path:
        """Where a result is kept: its name, and a hash of all that it depends on."""
        skipped = AFTER if what == "pretrained" else ("temperature",)  # which divides logits only
        model = {k: v for k, v in self.recipe["model"]["init_args"].items() if k not in skipped}
        if what == "pretrained":
            model["architecture"] = {k: v for k, v in model["architecture"].items() if k not in BEHIND}
        recipe = [model, self.recipe["data"]["init_args"]["batch_size"]]
        if what != "pretrained":
            recipe += [self.recipe["trainer"], self.recipe["ema"]]
        key = json.dumps([self.fingerprint, recipe, options, seed, torch.__version__], sort_keys=True)
        short = "".join(c if c.isalnum() else "_" for c in name)
        return self.out / f"{what}_{short}_{seed}_{hashlib.sha256(key.encode()).hexdigest()[:12]}"

    def file(self, name: str, seed: int) -> Path:
        """Where a variant with a seed is kept."""
        return self.path("whole" if self.whole else "model", name, seed, VARIANTS[name][0]).with_suffix(".npz")

    def trained(self, name: str, seed: int) -> Trained:
        """A variant with a seed."""
        changes, file = VARIANTS[name][0], self.file(name, seed)
        if file.is_file():
            kept = np.load(file, allow_pickle=False)
            return Trained(kept["logits"], kept["half_lives"], int(kept["parameters"]), float(kept["seconds"]))
        start = time.perf_counter()
        self.data.seed = seed
        untaught = changes.get("pretrain_epochs") == 0
        first, waited = (None, 0.0) if untaught or self.whole else self.pretrained(changes, seed)
        epochs = self.recipe["trainer"]["max_epochs"]
        if untaught or first is not None:
            epochs -= self.recipe["model"]["init_args"]["pretrain_epochs"]
        task = train(self.recipe, self.data, seed=seed, pretrained=first, epochs=epochs, **changes)
        logits = task.logits_of(self.data.samples["test"]).logits[:, 0].numpy()
        half_lives = np.zeros((0, 0)) if task.model.half_lives is None else task.model.half_lives.numpy()
        parameters = sum(p.numel() for p in task.model.parameters())
        seconds = time.perf_counter() - start + waited
        np.savez(file, logits=logits, half_lives=half_lives, parameters=parameters, seconds=seconds)
        scores = binary_scores(self.data.samples["test"].target, _sigmoid(logits))
        print(f"  {name}, seed {seed}: {scores.auroc:.4f} / {scores.auprc:.4f} in {seconds:.0f} s", flush=True)
        return Trained(logits, half_lives, parameters, seconds)

    def pretrained(self, changes: dict[str, Any], seed: int) -> tuple[Path, float]:
        """The self-supervised epochs of a variant's encoder, shared by those with the same one, and their seconds."""
        mine = {k: v for k, v in changes.items() if k not in (*AFTER, "architecture")} | {"summary": []}
        inside = {k: v for k, v in changes.get("architecture", {}).items() if k not in BEHIND}
        mine |= {"architecture": inside} if inside else {}
        file = self.path("pretrained", "encoder", seed, mine).with_suffix(".ckpt")
        clock = file.with_suffix(".txt")
        if not (file.is_file() and clock.is_file()):
            start = time.perf_counter()
            pretrain(self.recipe, self.data, file, seed=seed, **mine)
            clock.write_text(f"{time.perf_counter() - start:.1f}")
            return file, 0.0  # counted by who asked first
        return file, float(clock.read_text())

    def tabular(self, seed: int) -> dict[str, np.ndarray]:
        """Logits of the tabular baselines."""
        file = self.path("tabular", "baselines", seed, None).with_suffix(".npz")
        if not file.is_file():
            found = TabularBaselines(seed).fit(self.data.samples["train"]).probabilities(self.data.samples["test"])
            np.savez(file, **{name.replace(" ", "_"): logit(p) for name, p in found.items()})
        return {name.replace("_", " "): value for name, value in np.load(file, allow_pickle=False).items()}


def table(runs: dict[str, list[np.ndarray]], target: np.ndarray, info: dict[str, Trained]) -> str:
    """Mean ± standard deviation over seeds of single models, as they are (no temperature)."""
    rows = []
    for name, logits in runs.items():
        scores = [binary_scores(target, _sigmoid(z)) for z in logits]
        cells = []
        for column in ("auroc", "auprc", "brier", "ece", "slope"):
            values = [getattr(score, column) for score in scores]
            spread = f" ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else ""
            cells.append(f"{np.mean(values):.4f}{spread}")
        parameters = f"{info[name].parameters:,}" if name in info else "-"
        rows.append([name, str(len(logits)), parameters, *cells])
    return markdown(["single models", "seeds", "parameters", "AUROC", "AUPRC", "Brier", "ECE", "slope"], rows)


def ensembles(runs: dict[str, list[np.ndarray]], target: np.ndarray, subjects: np.ndarray, repeats: int) -> str:
    """Means of the seeds' logits with 95% intervals over patients, and what they have over the blend.

    The last row is the mean of our model's and the blend's: whether either knows what the other does not.
    """
    mean = {name: np.mean(logits, axis=0) for name, logits in runs.items()}
    counts = {name: str(len(logits)) for name, logits in runs.items()}
    if FUSED in mean:
        both = f"{FUSED}, and the blend"
        mean[both], counts[both] = (mean[FUSED] + mean["blend"]) / 2, f"{counts[FUSED]} + 1"
    rows = []
    for name, z in mean.items():
        p = _sigmoid(z)
        found = score_intervals(target, p, subjects, repeats=repeats)
        against = ["-", "-"]
        if name != "blend":
            less = difference_intervals(target, p, _sigmoid(mean["blend"]), subjects, repeats=repeats)
            against = [f"{less[k].value:+.4f} [{less[k].low:+.4f}, {less[k].high:+.4f}]" for k in ("auroc", "auprc")]
        shown = [f"{found[k].value:.4f} [{found[k].low:.3f}, {found[k].high:.3f}]" for k in ("auroc", "auprc")]
        rows.append([name, counts[name], *shown, *against])
    head = ["mean of the seeds", "seeds", "AUROC", "AUPRC", "AUROC less the blend's", "AUPRC less the blend's"]
    return markdown(head, rows)


def half_life_table(models: list[Trained], start: list[float]) -> str:
    """Half-life of every head in hours, mean ± standard deviation over seeds."""
    values = np.stack([model.half_lives for model in models])
    rows = [
        [f"block {block + 1}, head {head + 1}", f"{start[head]:.3g}", f"{mine.mean():.3g} ± {mine.std(ddof=1):.2g}"]
        for block in range(values.shape[1])
        for head in range(values.shape[2])
        for mine in [values[:, block, head]]
    ]
    return markdown(["head", "started at (h)", f"learned (h), {len(models)} seeds"], rows)


def judge(arguments: argparse.Namespace, recipe: dict[str, Any]) -> str:
    """Everything on set b."""
    bench = Bench(arguments.root, arguments.out, recipe, whole=arguments.whole)
    test = bench.data.samples["test"]
    lines = [
        f"attention-suite {__version__}, python {sys.version.split()[0]}, torch {torch.__version__}, "
        f"lightning {L.__version__}, scikit-learn {sklearn.__version__}, {torch.get_num_threads()} thread(s)",
        f"data: {bench.data.source}, {bench.data.fingerprint()}",
        f"train: set a, {len(bench.data.samples['train']):,} stays; test: set b, {len(test):,} stays, "
        f"{test.target.mean():.1%} died",
    ]
    print("\n".join(lines), flush=True)
    baselines = [bench.tabular(0)]
    runs = {name: [found[name] for found in baselines] for name in baselines[0]}
    info: dict[str, Trained] = {}
    kept: dict[str, list[Trained]] = {}
    for seed in range(arguments.seeds):
        for name, (_, seeds) in VARIANTS.items():
            wanted = seed < seeds and (not arguments.variants or name in arguments.variants)
            if wanted and (not arguments.kept or bench.file(name, seed).is_file()):
                kept.setdefault(name, []).append(bench.trained(name, seed))
    for name, models in kept.items():
        runs[name], info[name] = [model.logits for model in models], models[0]
    parts = ["```", *lines, "```", "", table(runs, test.target, info), ""]
    parts += [ensembles(runs, test.target, test.subjects, arguments.repeats), ""]
    if FUSED in kept and len(kept[FUSED]) > 1:
        heads = recipe["model"]["init_args"]["architecture"]
        low, high = heads["half_lives"]
        start = np.geomspace(low, high, heads["heads"]).tolist()
        parts += [half_life_table(kept[FUSED], start), ""]
        seconds = [model.seconds for model in kept[FUSED]]
        parts.append(
            f"Training on {len(bench.data.samples['train']):,} stays took {np.median(seconds):.0f} s a model (median "
            f"of {len(seconds)}, self-supervised epochs included, one thread of a busy machine)."
        )
    return "\n".join(parts)


def choose(arguments: argparse.Namespace, recipe: dict[str, Any]) -> str:
    """Validation inside set a: means over folds, and the temperature of the pooled validation logits."""
    names = arguments.variants or [FUSED, ALONE]
    runs: dict[str, list[tuple[float, float]]] = {}
    pooled: dict[str, list[np.ndarray]] = {name: [] for name in names}
    targets = []
    for fold in range(arguments.folds):
        bench = Bench(arguments.root, arguments.out, recipe, fold, arguments.folds)
        target = bench.data.samples["test"].target
        targets.append(target)
        found = {name: [z] for name, z in bench.tabular(0).items()}
        for name in names:
            found[name] = [bench.trained(name, seed).logits for seed in range(arguments.seeds)]
            pooled[name].append(found[name][0])
        for name, logits in found.items():
            scores = [binary_scores(target, _sigmoid(z)) for z in logits]
            runs.setdefault(name, []).append(tuple(np.mean([(s.auroc, s.auprc) for s in scores], axis=0)))
    rows = []
    for name, found in runs.items():
        temperature = "-"
        if name in pooled:
            z, y = (torch.from_numpy(np.concatenate(parts)) for parts in (pooled[name], targets))
            temperature = f"{fit_temperature(Outcome('binary', ('1',)), z[:, None], y):.3f}"
        (auroc, auprc), (a, b) = np.mean(found, axis=0), np.std(found, axis=0, ddof=1)
        rows.append([name, f"{auroc:.4f} ± {a:.4f}", f"{auprc:.4f} ± {b:.4f}", temperature])
    return markdown([f"{arguments.folds} folds of set a", "AUROC", "AUPRC", "temperature"], rows)


def _sigmoid(z: np.ndarray) -> np.ndarray:
    return torch.from_numpy(z).double().sigmoid().numpy()


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", help="folder with set-a, set-b and their outcomes")
    parser.add_argument("--folds", type=int, default=0, help="validate inside set a instead of testing on set b")
    parser.add_argument("--whole", action="store_true", help="each model in one run, as the configuration trains it")
    parser.add_argument("--seeds", type=int, default=None, help="at most so many; default: all, with --folds 1")
    parser.add_argument("--variants", nargs="*", choices=list(VARIANTS), help="only these")
    parser.add_argument("--kept", action="store_true", help="train nothing: report the models that are kept already")
    parser.add_argument("--repeats", type=int, default=500, help="draws of the intervals")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark_physionet"), help="where models are kept")
    parser.add_argument("--docs", action="store_true", help="write the tables into docs/timeseries.md")
    arguments = parser.parse_args()
    arguments.seeds = arguments.seeds or (1 if arguments.folds else 5)
    if arguments.whole and arguments.folds:
        parser.error("--whole: expected set b to test on, got --folds")
    arguments.variants = arguments.variants or ([FUSED, ALONE] if arguments.whole else None)
    block = "validation" if arguments.folds else "whole" if arguments.whole else "physionet"
    arguments.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    page = (choose if arguments.folds else judge)(arguments, read_recipe(CONFIG))
    print(f"\n{page}")
    (arguments.out / f"{block}.md").write_text(page + "\n", encoding="utf-8")
    if arguments.docs:
        rewrite(PAGE, block, page)


if __name__ == "__main__":
    main()
