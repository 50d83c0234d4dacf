"""Classify images with a vision transformer: one table, three pictures.

    python demos/vision_classification.py                         scikit-learn's digits, one of five folds
    python demos/vision_classification.py --folds 5               all five
    python demos/vision_classification.py --data mnist5k
    python demos/vision_classification.py --data medmnist --path pneumoniamnist.npz --seeds 3
    python demos/vision_classification.py --fast                  seconds, for the tests; its numbers mean nothing

The recipe is the one of configs/vision/<data>.yaml, fixed beforehand: the final averaged weights are tested, no epoch
and no setting is chosen on the test part. A small convolutional network with the same stem, width, depth and recipe,
and scikit-learn's support vector machine on the raw pixels, stand in the same table.
"""

import argparse
import logging
import statistics
import sys
import time
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import lightning as L
import numpy as np
import sklearn
import timm
import torch
import yaml
from matplotlib.colors import PowerNorm

import vision
from core import __version__
from core.analysis.figures import new_figure
from core.training import WeightAverage
from vision.classification import ranking_scores, support_vector_machine
from vision.vit import effective_receptive_field, spread

CONFIGS = Path(__file__).resolve().parent.parent / "configs" / "vision"


class Judged(NamedTuple):
    """Predicted classes, scores and true classes of the test part."""

    prediction: np.ndarray
    score: np.ndarray
    target: np.ndarray


class Outcome(NamedTuple):
    """One method on one split."""

    method: str
    result: Judged
    minutes: float
    parameters: int


def recipe(name: str) -> dict[str, Any]:
    """The configuration file of a data set."""
    return yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())


def make_data(config: dict[str, Any], **changes: Any) -> Any:
    """The data module of a configuration, set up."""
    part = config["data"]
    data = getattr(vision, part["class_path"])(**{**part["init_args"], **changes})
    data.prepare_data()
    data.setup()
    return data


def train(config: dict[str, Any], data: Any, seed: int, epochs: int | None, **changes: Any) -> tuple[Any, float]:
    """Train a model by the recipe; answer it with its final averaged weights, and the minutes."""
    L.seed_everything(seed, verbose=False)
    part = config["model"]
    task = getattr(vision, part["class_path"])(**{**part["init_args"], **changes})
    trainer = L.Trainer(
        max_epochs=epochs or config["trainer"]["max_epochs"],
        gradient_clip_val=config["trainer"]["gradient_clip_val"],
        accelerator="auto",
        devices=1,
        callbacks=[WeightAverage(decay=config["ema"])],
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    start = time.perf_counter()
    trainer.fit(task, data)
    return task.eval().cpu(), (time.perf_counter() - start) / 60


def judge(task: Any, data: Any) -> Judged:
    """Predictions on the test part, two classes at the threshold .5."""
    with torch.no_grad():
        images = test_images(data)
        score = torch.cat([task(batch).softmax(1) for batch in images.split(256)]).numpy()
    target = data.test_set.targets()
    if score.shape[1] == 2:
        return Judged((score[:, 1] >= 0.5).astype(int), score[:, 1], target)
    return Judged(score.argmax(1), score, target)


def test_images(data: Any, most: int | None = None) -> torch.Tensor:
    """Images of the test part, (n, C, H, W)."""
    count = len(data.test_set) if most is None else min(most, len(data.test_set))
    return torch.stack([data.test_set[k].image for k in range(count)])


def table(outcomes: list[Outcome]) -> str:
    """Mean and standard deviation of every method over the splits or seeds."""
    lines = ["| method | parameters | accuracy | AUROC | AUPRC | minutes a run |", "|---|---|---|---|---|---|"]
    for method in dict.fromkeys(outcome.method for outcome in outcomes):
        rows = [outcome for outcome in outcomes if outcome.method == method]
        cells = []
        accuracy = [float((row.result.prediction == row.result.target).mean()) for row in rows]
        ranking = [ranking_scores(row.result.target, row.result.score) for row in rows]
        for values in (accuracy, [r[0] for r in ranking], [r[1] for r in ranking]):
            deviation = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.4f}{deviation}")
        minutes = statistics.mean(row.minutes for row in rows)
        parameters = f"{rows[0].parameters:,}" if rows[0].parameters else "-"
        lines.append(f"| {method} | {parameters} | {' | '.join(cells)} | {minutes:.2f} |")
    return "\n".join(lines)


def plot_accuracy(outcomes: list[Outcome], classes: tuple[str, ...], title: str, path: Path) -> None:
    """Accuracy within each class, and the confusion matrix of the vision transformer, over all runs."""
    figure = new_figure(12, 5)
    left, right = figure.subplots(1, 2, width_ratios=[1.5, 1])
    methods = list(dict.fromkeys(outcome.method for outcome in outcomes))
    where = np.arange(len(classes))
    lowest = 1.0
    for k, method in enumerate(methods):
        target = np.concatenate([o.result.target for o in outcomes if o.method == method])
        prediction = np.concatenate([o.result.prediction for o in outcomes if o.method == method])
        within = [float((prediction[target == c] == c).mean()) for c in range(len(classes))]
        lowest = min(lowest, *within)
        left.bar(where + (k - (len(methods) - 1) / 2) * 0.27, within, width=0.25, label=method)
    floor = max(0.0, np.floor(lowest * 20 - 0.5) / 20)
    left.set(xticks=where, xticklabels=classes, xlabel="class", ylabel="accuracy within the class", ylim=(floor, 1.0))
    left.set_title("Accuracy within each class" + (f" (axis starts at {floor:.2f})" if floor else ""))
    left.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=len(methods), frameon=False)
    left.grid(axis="y", alpha=0.3)
    first = [o.result for o in outcomes if o.method == methods[0]]
    confusion = np.zeros((len(classes), len(classes)), dtype=int)
    for result in first:
        np.add.at(confusion, (result.target, result.prediction), 1)
    share = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    right.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for row in range(len(classes)):
        for column in range(len(classes)):
            if confusion[row, column]:
                colour = "white" if share[row, column] > 0.5 else "black"
                right.text(column, row, confusion[row, column], ha="center", va="center", color=colour, fontsize=9)
    right.set(xticks=where, xticklabels=classes, yticks=where, yticklabels=classes)
    right.set(xlabel="predicted", ylabel="true", title=f"Confusion matrix, {methods[0]}\n(test images; blank = 0)")
    figure.suptitle(title)
    figure.savefig(path, dpi=120)


def plot_attention(task: Any, data: Any, path: Path, count: int = 6) -> None:
    """Where the class token of the last block looks, head by head."""
    targets = data.test_set.targets()
    chosen: list[int] = []
    for turn in range(count):  # one image of each class, then again from the first
        of_class = np.flatnonzero(targets == turn % len(data.classes))
        chosen.append(int(of_class[turn // len(data.classes)]))
    items = [data.test_set[k] for k in chosen]
    images = torch.stack([item.image for item in items])
    with torch.no_grad():
        maps = vision.attention_maps(task.model, task.normalised(images))[-1]
        probabilities = task(images).softmax(1)
    heads = maps.shape[1]
    figure = new_figure(1.6 * (heads + 1) + 2.2, 1.6 * count + 1.3, layout=None)
    axes = figure.subplots(count, heads + 1, squeeze=False)
    scale = PowerNorm(0.5, vmin=0, vmax=float(maps.max()))
    size = images.shape[-1]
    middles = np.arange(size) + 0.5
    for row in range(count):
        picture = images[row].permute(1, 2, 0).squeeze(-1).numpy()
        axes[row, 0].imshow(picture, cmap="gray", vmin=0, vmax=1)
        guess = int(probabilities[row].argmax())
        name, sure = data.classes[guess], float(probabilities[row, guess])
        axes[row, 0].set_ylabel(f"true: {data.classes[int(items[row].label)]}\nmodel: {name} ({sure:.2f})", fontsize=9)
        for head in range(heads):
            axis = axes[row, head + 1]
            shown = axis.imshow(maps[row, head], cmap="inferno", norm=scale, extent=(0, size, size, 0))
            grey = images[row].mean(0).numpy()
            axis.contour(middles, middles, grey, levels=[float(grey.max()) / 2], colors="deepskyblue", linewidths=0.9)
            if row == 0:
                axis.set_title(f"head {head + 1}", fontsize=10)
    axes[0, 0].set_title("image", fontsize=10)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    figure.subplots_adjust(left=0.12, right=0.86, top=0.92, bottom=0.09, wspace=0.06, hspace=0.06)
    bar = figure.add_axes((0.89, 0.3, 0.02, 0.4))
    figure.colorbar(shown, cax=bar, label="attention weight of a patch")
    figure.suptitle("What the class token attends to in the last block, per head (test images)", y=0.985)
    caption = (
        "Each square is a patch, blue is the image's outline; a head's weights and that of the token itself sum to 1.\n"
        "Attention is not an explanation: it shows where the token reads, not what the answer depends on."
    )
    figure.text(0.5, 0.02, caption, ha="center", fontsize=9)
    figure.savefig(path, dpi=120)


def plot_receptive_fields(models: dict[str, Any], data: Any, path: Path, most: int) -> None:
    """Effective receptive field of the middle unit after each block."""
    images = test_images(data, most)
    rows = {}
    for name, task in models.items():
        normalised = task.normalised(images)
        rows[name] = effective_receptive_field(
            lambda x, model=task.model: model.forward_intermediates(x)[1], normalised
        )
    depth = max(len(fields) for fields in rows.values())
    figure = new_figure(2.5 * depth + 1.6, 2.7 * len(rows) + 1.2, layout=None)
    axes = figure.subplots(len(rows), depth, squeeze=False)
    for row, (name, fields) in enumerate(rows.items()):
        for layer, field in enumerate(fields):
            axis = axes[row, layer]
            shown = axis.imshow((field / field.max()).sqrt(), cmap="viridis", vmin=0, vmax=1)
            axis.set(xticks=[], yticks=[])
            axis.set_title(f"block {layer + 1}: spread {float(spread(field)):.1f} px", fontsize=10)
        axes[row, 0].set_ylabel(name, fontsize=11)
    figure.subplots_adjust(left=0.04, right=0.9, top=0.87, bottom=0.1, wspace=0.05, hspace=0.15)
    figure.colorbar(shown, cax=figure.add_axes((0.92, 0.25, 0.015, 0.5)), label="square root of R / max R")
    figure.suptitle(f"Effective receptive field of the middle unit by depth, mean over {len(images)} test images")
    caption = (
        "R: mean absolute gradient of the unit with respect to each pixel (Luo et al. 2016); spread: root mean square\n"
        "distance from its centre. Both networks have the same stem, width and depth and were trained by one recipe."
    )
    figure.text(0.5, 0.015, caption, ha="center", fontsize=9)
    figure.savefig(path, dpi=120)


def cnn_options(config: dict[str, Any]) -> dict[str, Any]:
    """The convolutional network with the stem of the recipe's vision transformer."""
    name = config["model"]["init_args"]["model_name"]
    stem = {"stem": "overlap", "patch_size": 2} if "patch2" in name else {"stem": "convolution", "patch_size": 4}
    return {"model_name": "cnn_suite_micro", "model_options": stem}


def main() -> None:
    """Run the demo."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=("digits", "mnist5k", "medmnist"), default="digits")
    parser.add_argument("--path", help="the npz file, for medmnist")
    parser.add_argument("--folds", type=int, default=1, help="how many of the five folds to run (digits, mnist5k)")
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds to run on each split")
    parser.add_argument("--out", type=Path, default=Path("runs/demo_vision"), help="folder of the pictures")
    parser.add_argument("--fast", action="store_true", help="a few epochs only")
    arguments = parser.parse_args()
    if arguments.data == "medmnist" and arguments.path is None:
        parser.error("--path: expected a MedMNIST npz file for --data medmnist")
    if not 1 <= arguments.folds <= 5 or arguments.seeds < 1:
        parser.error("--folds: expected 1 .. 5, --seeds: at least 1")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    config, epochs = recipe(arguments.data), 5 if arguments.fast else None
    medmnist = arguments.data == "medmnist"
    splits: list[dict[str, Any]] = (
        [{"path": arguments.path}] if medmnist else [{"fold": k} for k in range(arguments.folds)]
    )
    print(
        f"attention-suite {__version__}, python {sys.version.split()[0]}, torch {torch.__version__}, "
        f"timm {timm.__version__},"
    )
    print(f"lightning {L.__version__}, scikit-learn {sklearn.__version__}, {torch.get_num_threads()} threads")
    outcomes: list[Outcome] = []
    models: dict[str, Any] = {}
    for split in splits:
        for seed in range(arguments.seeds):
            data = make_data(config, seed=seed, **split)
            if not outcomes:
                print(f"data: {data.source}\nlicence: {data.licence}\nfingerprint: {data.fingerprint()}")
            print(f"seed {seed}; split: {data.describe_split()}", flush=True)
            for method, changes in (("vision transformer", {}), ("small CNN", cnn_options(config))):
                task, minutes = train(config, data, seed, epochs, **changes)
                models.setdefault(method, task)
                parameters = sum(p.numel() for p in task.model.parameters())
                outcomes.append(Outcome(method, judge(task, data), minutes, parameters))
                accuracy = (outcomes[-1].result.prediction == outcomes[-1].result.target).mean()
                print(f"  {method}: accuracy {accuracy:.4f} in {minutes:.2f} min", flush=True)
            if seed == 0:
                start = time.perf_counter()
                result = support_vector_machine(data)
                outcomes.append(Outcome("SVC on pixels", result, (time.perf_counter() - start) / 60, 0))
    print(f"\n{table(outcomes)}\n")
    if arguments.fast:
        print("--fast: a few epochs only; these numbers show that it runs, not how good it is\n")
    arguments.out.mkdir(parents=True, exist_ok=True)
    first = make_data(config, seed=0, **splits[0])
    runs = f"{len(splits)} split(s) x {arguments.seeds} seed(s)"
    paths = [arguments.out / f"{arguments.data}_{what}.png" for what in ("accuracy", "attention", "receptive_field")]
    plot_accuracy(outcomes, first.classes, f"{type(first).__name__}: test accuracy, {runs}", paths[0])
    plot_attention(models["vision transformer"], first, paths[1])
    plot_receptive_fields(models, first, paths[2], 8 if arguments.fast else 128)
    print("\n".join(f"saved {path}" for path in paths))


if __name__ == "__main__":
    main()
