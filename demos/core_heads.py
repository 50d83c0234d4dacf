"""What the heads of a small vision transformer do, which of them matter, and what pruning costs.

Trains a vision transformer on scikit-learn's digits, three seeds. Entropy, specialisation and redundancy come from one
captured pass over the validation images; importance by ablation and by gradient is measured on the same images; the
pruning curve, in the order of that importance and in random orders, is drawn on the test images.

    python demos/core_heads.py [--fast] [--out FOLDER]
"""

import argparse
import hashlib
import statistics
import time
from pathlib import Path
from typing import NamedTuple

import sklearn
import torch
from scipy.stats import spearmanr
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.nn import functional as F

import core
from core import analysis
from core.analysis import figures as plots
from vision import VisionTransformer

PATCH, DIM, DEPTH, HEADS = 2, 48, 3, 4
SHOWN = 8  # images whose weights are drawn or averaged


class Split(NamedTuple):
    """Images (n, 1, 8, 8) in 0..1 and their labels."""

    x: Tensor
    y: Tensor


class Result(NamedTuple):
    """What one seed gave."""

    model: nn.Module
    profile: analysis.HeadProfile
    redundancy: analysis.Redundancy
    ablation: analysis.HeadImportance
    gradient: analysis.HeadImportance
    curve: analysis.PruningCurve
    accuracy: float


def load() -> tuple[Split, Split, Split, str]:
    """Training, validation and test images, 60/20/20 and stratified, and the data's fingerprint."""
    x, y = load_digits(return_X_y=True)
    fingerprint = hashlib.sha256(x.tobytes() + y.tobytes()).hexdigest()[:12]
    rest, test, y_rest, y_test = train_test_split(x, y, test_size=0.2, stratify=y, random_state=0)
    train, val, y_train, y_val = train_test_split(rest, y_rest, test_size=0.25, stratify=y_rest, random_state=0)
    pairs = ((train, y_train), (val, y_val), (test, y_test))
    splits = [
        Split(torch.tensor(a / 16, dtype=torch.float32).reshape(-1, 1, 8, 8), torch.tensor(b, dtype=torch.long))
        for a, b in pairs
    ]
    return splits[0], splits[1], splits[2], fingerprint


def train(data: Split, seed: int, epochs: int) -> nn.Module:
    """A vision transformer after some epochs, in evaluation mode."""
    torch.manual_seed(seed)
    model = VisionTransformer(
        img_size=8, patch_size=PATCH, in_chans=1, num_classes=10, embed_dim=DIM, depth=DEPTH, num_heads=HEADS
    )
    batch = 64
    steps = epochs * (len(data.y) // batch)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps, pct_start=0.2)
    for _ in range(epochs):
        for index in torch.randperm(len(data.y))[: len(data.y) // batch * batch].split(batch):
            optimizer.zero_grad()
            F.cross_entropy(model(data.x[index]), data.y[index]).backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def losses(model: nn.Module, batch: Split) -> Tensor:
    """Cross-entropy of each image."""
    return F.cross_entropy(model(batch.x), batch.y, reduction="none")


def study(seed: int, data: tuple[Split, Split, Split], epochs: int, orders: int) -> Result:
    """Train and measure one model."""
    learn, val, test = data
    model = train(learn, seed, epochs)
    with torch.no_grad(), analysis.capture(model, ("inputs",)) as seen:
        model(val.x)
    ablation = analysis.ablation_importance(model, losses, [val])
    gradient = analysis.gradient_importance(model, losses, [val])

    def accuracy(m: nn.Module) -> float:
        return 100 * (m(test.x).argmax(dim=1) == test.y).double().mean().item()

    curve = analysis.pruning_curve(model, accuracy, ablation.order(), seeds=range(orders))
    with torch.no_grad():
        whole = accuracy(model)
    return Result(model, analysis.head_profile(seen), analysis.head_redundancy(seen), ablation, gradient, curve, whole)


def spread(values: list[float], digits: int = 2) -> str:
    """Mean ± standard deviation over the seeds."""
    deviation = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{deviation}"


def head_table(result: Result) -> str:
    """One row for each head of one model."""
    lines = [
        "| head | entropy (nats) | of the largest | specialisation (nats) | loss without it | by gradient |",
        f"|{'---|' * 6}",
    ]
    p = result.profile
    for place, head in enumerate(p.heads):
        off, error = result.ablation.value[place], result.ablation.error[place]
        lines.append(
            f"| {head} | {p.entropy[place]:.2f} | {p.relative_entropy[place]:.2f} | {p.specialisation[place]:.3f} "
            f"| {off:+.4f} ± {error:.4f} | {result.gradient.value[place]:.4f} |"
        )
    return "\n".join(lines)


def summary(results: list[Result]) -> str:
    """What holds over the seeds."""
    correlation = [float(spearmanr(r.ablation.value, r.gradient.value).statistic) for r in results]
    rows = [
        ("test accuracy, all heads (%)", [r.accuracy for r in results]),
        ("mean entropy of the heads (nats; uniform over 17 tokens: 2.83)", [r.profile.entropy.mean() for r in results]),
        ("mean specialisation (nats; at most ln 4 = 1.39)", [r.profile.specialisation.mean() for r in results]),
        (f"effective heads (of {DEPTH * HEADS})", [r.redundancy.effective for r in results]),
        ("rank correlation of the two importances (Spearman)", correlation),
        ("test accuracy, mean over the curve: least important first (%)", [r.curve.ordered.mean() for r in results]),
        ("test accuracy, mean over the curve: random orders (%)", [r.curve.random.mean() for r in results]),
    ]
    lines = [f"| over {len(results)} seed(s) | mean ± sd |\n|---|---|"]
    lines += [f"| {name} | {spread([float(v) for v in values])} |" for name, values in rows]
    return "\n".join(lines)


def pruning_table(results: list[Result]) -> str:
    """Test accuracy by heads switched off."""
    lines = ["| heads off | least important first (%) | random orders (%) |\n|---|---|---|"]
    for place, count in enumerate(results[0].curve.removed):
        ordered = [float(r.curve.ordered[place]) for r in results]
        random = [float(r.curve.random[:, place].mean()) for r in results]
        lines.append(f"| {count} | {spread(ordered, 1)} | {spread(random, 1)} |")
    return "\n".join(lines)


def draw(results: list[Result], test: Split, folder: Path) -> None:
    """Save the pictures of the first seed, and the pruning curves of all."""
    folder.mkdir(parents=True, exist_ok=True)
    first = results[0]
    with torch.no_grad(), analysis.capture(first.model, ("weights",)) as seen:
        predicted = first.model(test.x[:SHOWN]).argmax(dim=1)
    weights = {name: records[0].weights.mean(dim=0) for name, records in seen.layers.items()}
    with torch.no_grad(), analysis.capture(first.model, ("inputs",)) as one:
        first.model(test.x[:1])
    # the class token is row 0; what reaches it from the patches, 1 to 16, is drawn
    shares = analysis.rollout(one, rows=[0])[0, 0, 1:].reshape(8 // PATCH, 8 // PATCH)
    wanted = int(predicted[0])
    relevance = analysis.relevance(first.model, lambda: first.model(test.x[:1])[:, wanted], rows=[0])
    relevance = relevance[0, 0, 1:].reshape(8 // PATCH, 8 // PATCH)
    title = f"class token, digit {int(test.y[0])} read as {wanted}"
    figures = {
        "grid": plots.head_grid(
            weights, title=f"Attention weights, mean of {SHOWN} test images (0 is the class token)"
        ),
        "similarity": plots.head_similarity(first.redundancy),
        "rollout": plots.rollout_image(test.x[0], shares, title=f"Rollout to the {title}"),
        "relevance": plots.rollout_image(
            test.x[0], relevance, title=f"Gradient-weighted relevance, {title}", label="relevance to the class's logit"
        ),
        "pruning": plots.pruning(
            {f"least important first, seed {seed}": r.curve for seed, r in enumerate(results)},
            metric="test accuracy (%)",
            title="Heads switched off in the order of their importance by ablation",
        ),
    }
    for name, figure in figures.items():
        path = folder / f"{name}.png"
        figure.savefig(path, dpi=120)
        print(f"saved {path}")


def main() -> None:
    """Run the demo."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fast", action="store_true", help="one seed, few epochs: shows that it runs, not how well")
    parser.add_argument("--out", type=Path, default=Path("runs/demo_heads"), help="folder of the pictures")
    arguments = parser.parse_args()
    seeds, epochs, orders = (1, 3, 1) if arguments.fast else (3, 30, 8)
    torch.set_num_threads(1)  # a model this small gains nothing by more
    *data, fingerprint = load()
    print(f"attention-suite {core.__version__}, torch {torch.__version__}, scikit-learn {sklearn.__version__}")
    sizes = ", ".join(
        f"{len(split.y)} {name}" for split, name in zip(data, ("training", "validation", "test"), strict=True)
    )
    print(f"digits {fingerprint}: {sizes} images; seeds 0..{seeds - 1}, {epochs} epochs, {orders} random orders each")
    start = time.perf_counter()
    results = [study(seed, tuple(data), epochs, orders) for seed in range(seeds)]
    print("\nHeads of seed 0, on the validation images (loss in nats, ± standard error over images)")
    print(head_table(results[0]))
    print(f"\nRedundancy of seed 0: {results[0].redundancy}")
    print(f"\nTest accuracy by heads switched off, mean ± sd over seeds\n{pruning_table(results)}")
    print(f"\n{summary(results)}\n\n{time.perf_counter() - start:.0f} s")
    draw(results, data[2], arguments.out)


if __name__ == "__main__":
    main()
