"""May attention be read as an explanation? Ask three models: two built by hand, and a trained vision transformer.

    faithful    the output is a one-to-one function of the attention weights: the answer must be yes
    unfaithful  the most attended token is projected to zero, one of the least attended decides: the answer must be no
    digits      a vision transformer trained on scikit-learn's 8 x 8 digits, three seeds; held-out images

The digits' other seeds and models trained with uniform weights in the last layer serve as Wiegreffe and Pinter's
controls. Prints every number, the checks and the sentence for a model card, and saves pictures.

    python demos/core_faithfulness.py [--fast] [--baseline zero|mean] [--out FOLDER]
"""

import argparse
import statistics
import textwrap
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import captum
import torch
from torch import Tensor, nn

import core
import vision
from core.analysis.faithfulness import (
    FaithfulnessReport,
    Patches,
    PlantedModel,
    Positions,
    call_planted,
    faithfulness,
    planted_items,
    rewritten,
    uniform_weights,
)
from core.analysis.figures import new_figure

PATCH = 2
LAYER = "blocks.3.attention"


def digits() -> tuple[Any, dict[str, tuple[Tensor, Tensor]]]:
    """The data module, and images with labels by part; nothing is chosen, so there is no validation part."""
    data = vision.DigitsData(batch_size=64, val_fraction=0.0, test_fraction=0.2)
    data.prepare_data()
    data.setup()
    parts = {}
    for name, part in (("train", data.train_set), ("test", data.test_set)):
        items = [part[k] for k in range(len(part))]
        parts[name] = (
            torch.stack([item.image for item in items]),
            torch.tensor([int(item.label) for item in items]),
        )
    return data, parts


def train(images: Tensor, labels: Tensor, seed: int, epochs: int, *, averaging: bool = False) -> nn.Module:
    """A vision transformer of 4 blocks; with averaging its last attention averages, in training as later."""
    torch.manual_seed(seed)
    model = vision.VisionTransformer(
        img_size=8,
        patch_size=PATCH,
        in_chans=1,
        num_classes=10,
        embed_dim=64,
        depth=4,
        num_heads=4,
        mlp_ratio=2.0,
    )
    steps = epochs * (len(images) // 64)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=steps, pct_start=0.2)
    order = torch.Generator().manual_seed(seed)
    forced = rewritten(model.get_submodule(LAYER), uniform_weights) if averaging else nullcontext()
    with forced:
        for _ in range(epochs):
            for batch in torch.randperm(len(images), generator=order).split(64)[: len(images) // 64]:
                loss = nn.functional.cross_entropy(model(images[batch]), labels[batch], label_smoothing=0.1)
                optimiser.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimiser.step()
                schedule.step()
    return model.eval()


def summary(values: list[float]) -> str:
    """Mean ± sd; of one value, the value."""
    mean = f"{statistics.mean(values):.3f}"
    return f"{mean} ± {statistics.stdev(values):.3f}" if len(values) > 1 else mean


def table(trained: list[FaithfulnessReport], planted: dict[str, FaithfulnessReport]) -> str:
    """Every number and check of the reports: the trained models' over seeds, beside the planted ones'."""
    columns = [f"digits, {len(trained)} seed(s)", "smallest", "largest", *planted]
    lines = ["| number | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
    by_seed = [dict(report.numbers()) for report in trained]
    others = [dict(report.numbers()) for report in planted.values()]
    for name in by_seed[0]:
        values = [numbers[name] for numbers in by_seed]
        cells = [summary(values), f"{min(values):.3f}", f"{max(values):.3f}"]
        cells += [f"{numbers[name]:.3f}" if name in numbers else "-" for numbers in others]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    words = {True: "pass", False: "fail", None: "not run"}
    for checks in zip(*(report.findings for report in (*trained, *planted.values())), strict=True):
        found = [words[check.passed] for check in checks]
        cells = [" / ".join(found[: len(trained)]), "", "", *found[len(trained) :]]
        lines.append(f"| check: {checks[0].check} | " + " | ".join(cells) + " |")
    verdicts = ["yes" if report.faithful else "no" for report in trained]
    cells = [" / ".join(verdicts), "", "", *("yes" if report.faithful else "no" for report in planted.values())]
    lines.append("| may attention be read as an explanation? | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def plot_examples(images: Tensor, labels: Tensor, report: FaithfulnessReport, path: Path, count: int = 6) -> None:
    """The first images, and what each method says of their patches by magnitude, each scaled to its largest."""
    methods = list(report.attributions)
    figure = new_figure(1.7 * (len(methods) + 1), 1.65 * count + 1.4)
    axes = figure.subplots(count, len(methods) + 1)
    side = images.shape[-1] // PATCH
    for row in range(count):
        axes[row, 0].imshow(images[row, 0], cmap="gray_r", vmin=0, vmax=1)
        axes[row, 0].set_ylabel(f"digit {int(labels[row])}")
        for column, method in enumerate(methods, 1):
            magnitude = report.attributions[method][row].abs().view(side, side)
            shown = axes[row, column].imshow(
                magnitude / magnitude.max(), cmap="viridis", vmin=0, vmax=1, extent=(-0.5, 7.5, 7.5, -0.5)
            )
            ink = images[row, 0]
            axes[row, column].contour(ink, levels=[float(ink.max()) / 2], colors="white", linewidths=0.8)
    for axis, name in zip(axes[0], ["image", *methods], strict=True):
        axis.set_title(name.replace(" ", "\n", 1), fontsize=10)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    bar = figure.colorbar(shown, ax=axes, shrink=0.5, aspect=30)
    bar.set_label("magnitude of a patch / the image's largest")
    figure.suptitle("What each method calls important, first test images\n(white: outline of the digit)", fontsize=11)
    figure.savefig(path, dpi=120)


def show(name: str, report: FaithfulnessReport, path: Path) -> None:
    """Print a report and its card, save its picture."""
    print(f"\n== {name}\n\n{report}\n\nmodel card: {textwrap.fill(report.card(), 118)}", flush=True)
    report.plot().savefig(path, dpi=120)
    print(f"picture: {path}")


def main() -> None:
    """Ask all three."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fast", action="store_true", help="seconds: two seeds, hardly trained; numbers mean nothing")
    parser.add_argument("--baseline", choices=("zero", "mean"), default="zero", help="what replaces a removed patch")
    parser.add_argument("--out", type=Path, default=Path("runs/demo_faithfulness"), help="folder of the pictures")
    arguments = parser.parse_args()
    seeds, epochs, items = (2, 1, 24) if arguments.fast else (3, 20, 150)
    effort = (
        {
            "rank_permutations": 49,
            "weight_permutations": 5,
            "adversary_steps": 5,
            "random_orders": 1,
            "curve_steps": 4,
            "gradient_steps": 8,
        }
        if arguments.fast
        else {}
    )
    torch.set_num_threads(1)  # the matrices are small: more threads only wait for each other
    arguments.out.mkdir(parents=True, exist_ok=True)
    data, parts = digits()
    print(f"suite {core.__version__}, torch {torch.__version__}, captum {captum.__version__}, 1 thread")
    print(f"data: {data.source}; licence {data.licence}; fingerprint {data.fingerprint()}")
    print(
        f"seeds 0..{seeds - 1}, {epochs} epoch(s), {items} held-out images, baseline for patches: {arguments.baseline}"
    )
    started = time.perf_counter()

    planted = {}
    for name in ("faithful", "unfaithful"):
        model = PlantedModel(name == "faithful")
        drawn = planted_items(model, items, torch.Generator().manual_seed(0))
        planted[name] = faithfulness(model, drawn, Positions("mask"), call=call_planted, seed=0, **effort)
        show(f"planted: {name}", planted[name], arguments.out / f"{name}.png")

    models, uniform_models = [], []
    shown = [part[:256] if arguments.fast else part for part in parts["train"]]
    for seed in range(seeds):
        models.append(train(*shown, seed, epochs))
        uniform_models.append(train(*shown, seed, epochs, averaging=True))
        print(f"\ntrained seed {seed}: {time.perf_counter() - started:.0f} s", flush=True)
    images, labels = (part[:items] for part in parts["test"])
    reports = [
        faithfulness(
            models[seed],
            images,
            Patches(arguments.baseline, size=PATCH),
            labels=labels,
            other_seeds=[model for other, model in enumerate(models) if other != seed],
            uniform_model=uniform_models[seed],
            seed=seed,
            **effort,
        )
        for seed in range(seeds)
    ]
    show("digits, seed 0", reports[0], arguments.out / "digits.png")
    plot_examples(images, labels, reports[0], arguments.out / "digits_examples.png")
    print(f"picture: {arguments.out / 'digits_examples.png'}\n")
    print(table(reports, planted))
    print(f"\n{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
