"""Which source does a gate trust? Gated fusion on planted data, beside concatenation and an average.

Three sources report on one of four classes. Per token, one source is informative: it shows the class's pattern. The
others show the pattern of a random class, so content alone cannot tell who is right. Every source also carries a noisy
quality cue that says whether it is informative, and nothing about the class.

    whole    the source is informative in all its features
    grouped  two groups of features, each with an informative source and a cue of its own
    no cue   `whole` with cues that are pure noise: nothing tells who is right, so no gate can know

Trained where source 1 is informative for 80% of the tokens; tested on new tokens of that kind and, shifted, where
source 3 is. Held out, mean ± sd over seeds: accuracy; AUROC of the gates for "this source is informative here"; mean
gates; accuracy with a source missing. The cue keeps its meaning under the shift; `turned` shows what a lying cue does.

    python demos/core_gated_fusion.py [--fast] [--out FOLDER]
"""

import argparse
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

import core
from core import FusionOutput, GatedFusion
from core.analysis.figures import new_figure

SOURCES, CLASSES, GROUPS, PATTERN, TOKENS = 3, 4, 2, 4, 8
CUES = GROUPS
DIM = GROUPS * PATTERN + CUES
TRAINED, SHIFTED = (0.8, 0.1, 0.1), (0.1, 0.1, 0.8)  # how often each source is informative
NOISE, CUE_NOISE, ABSENT = 0.5, 0.3, 0.15
METHODS = ("gate per feature", "gate per token", "concatenation + MLP", "concatenation", "average")

Task = Literal["whole", "grouped", "no cue"]


class Tokens(NamedTuple):
    """Sources, classes, and who is informative.

    Shapes:
        sources: (B, TOKENS, DIM) each; labels: (B, TOKENS); informative: (B, TOKENS, GROUPS), the source's number.
    """

    sources: list[Tensor]
    labels: Tensor
    informative: Tensor


def draw(task: Task, items: int, shares: Sequence[float], generator: torch.Generator, lie: bool = False) -> Tokens:
    """Draw tokens. With `lie` the cue points to the next source in place of the informative one."""
    patterns = torch.randn(CLASSES, GROUPS, PATTERN, generator=torch.Generator().manual_seed(0))
    rows = items * TOKENS
    labels = torch.randint(CLASSES, (rows,), generator=generator)
    informative = torch.multinomial(torch.tensor(shares), rows * GROUPS, replacement=True, generator=generator)
    informative = informative.unflatten(0, (rows, GROUPS))
    if task != "grouped":
        informative = informative[:, :1].expand(rows, GROUPS)
    cued = (informative + 1) % SOURCES if lie else informative
    sources = []
    for source in range(SOURCES):
        others = torch.randint(CLASSES, (rows, GROUPS), generator=generator)
        if task != "grouped":
            others = others[:, :1].expand(rows, GROUPS)
        shown = torch.where(informative == source, labels[:, None], others)
        content = patterns[shown, torch.arange(GROUPS)]
        content = content + NOISE * torch.randn(content.shape, generator=generator)
        cue = CUE_NOISE * torch.randn(rows, CUES, generator=generator)
        if task != "no cue":
            cue = cue + (cued == source)
        sources.append(torch.cat([content.flatten(1), cue], 1).unflatten(0, (items, TOKENS)))
    return Tokens(sources, labels.unflatten(0, (items, TOKENS)), informative.unflatten(0, (items, TOKENS)))


class Classifier(nn.Module):
    """Fuse the sources by `method`, then one linear layer; the answer says which class each token is of."""

    def __init__(self, method: str) -> None:
        super().__init__()
        self.method = method
        joined = SOURCES * DIM
        hidden = 32  # parameters of the MLP: about those of the gate per feature
        if method.startswith("gate"):
            self.fusion = GatedFusion(DIM, SOURCES, per="feature" if method.endswith("feature") else "token")
        elif method == "concatenation + MLP":
            self.fusion = nn.Sequential(nn.Linear(joined, hidden), nn.ReLU())
        width = {"concatenation": joined, "concatenation + MLP": hidden}.get(method, DIM)
        self.head = nn.Linear(width, CLASSES)

    def fuse(self, sources: Sequence[Tensor], present: Tensor) -> FusionOutput:
        """The fused features and the gates; every method sees zeros where a source is missing."""
        if self.method.startswith("gate"):
            return self.fusion(*sources, present=present, need=("gates",))
        there = present[:, None, :, None]
        stacked = torch.stack(list(sources), dim=2).masked_fill(~there, 0)
        weights = (there / there.sum(2, keepdim=True)).expand((*stacked.shape[:-1], 1))
        if self.method == "average":
            return FusionOutput((weights * stacked).sum(2), weights)
        joined = stacked.flatten(2)
        return FusionOutput(joined if self.method == "concatenation" else self.fusion(joined), weights)

    def forward(self, sources: Sequence[Tensor], present: Tensor) -> Tensor:
        """Logits of the classes, (B, TOKENS, CLASSES)."""
        return self.head(self.fuse(sources, present).out)


def everyone(items: int) -> Tensor:
    """All sources present."""
    return torch.ones(items, SOURCES, dtype=torch.bool)


def some(items: int, generator: torch.Generator) -> Tensor:
    """Each source missing from 15% of the items, but never all of them."""
    present = torch.rand(items, SOURCES, generator=generator) > ABSENT
    keep = torch.randint(SOURCES, (items,), generator=generator)
    present[torch.arange(items), keep] = True
    return present


def train(task: Task, method: str, seed: int, steps: int) -> Classifier:
    """Fit to fresh tokens in every step, some of them without some source."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(1000 + seed)
    model = Classifier(method)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        tokens = draw(task, 64, TRAINED, generator)
        logits = model(tokens.sources, some(64, generator))
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), tokens.labels.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()


class Held(NamedTuple):
    """What a model does on tokens it has not seen: accuracy, AUROC of its gates (nan without gates), their means."""

    accuracy: float
    auroc: float
    gates: tuple[float, ...]


@torch.no_grad()
def test(model: Classifier, tokens: Tokens, present: Tensor) -> Held:
    """Accuracy and gates. A gate per feature counts in the features of its group; cues are left out."""
    from sklearn.metrics import roc_auc_score

    fused = model.fuse(tokens.sources, present)
    accuracy = (model.head(fused.out).argmax(-1) == tokens.labels).float().mean().item()
    if not model.method.startswith("gate"):
        return Held(accuracy, float("nan"), ())
    gates = fused.gates.expand(*fused.gates.shape[:-1], DIM)[..., : GROUPS * PATTERN]
    gates = gates.unflatten(-1, (GROUPS, PATTERN)).mean(-1)  # (B, TOKENS, SOURCES, GROUPS)
    truth = torch.stack([tokens.informative == source for source in range(SOURCES)], 2)
    auroc = [roc_auc_score(truth[:, :, s].flatten(), gates[:, :, s].flatten()) for s in range(SOURCES)]
    return Held(accuracy, statistics.mean(auroc), tuple(gates.mean((0, 1, 3)).tolist()))


def spread(values: Sequence[float]) -> str:
    """Mean ± sd; of one value, the value; of none, a dash."""
    if any(value != value for value in values):
        return "-"
    mean = f"{statistics.mean(values):.3f}"
    return f"{mean} ± {statistics.stdev(values):.3f}" if len(values) > 1 else mean


def by_task(task: Task, methods: Sequence[str], seeds: int, steps: int, items: int) -> dict[str, list[list[Held]]]:
    """Train every method, print it as trained, shifted and with a lying cue; answer [method][kind][seed]."""
    print(f"\n{task}: held out, {items * TOKENS} tokens a seed, {seeds} seed(s); as trained / shifted / cue turned")
    print("| method | accuracy | shifted | turned | AUROC | shifted | turned | mean gates | shifted |\n|" + "---|" * 9)
    results: dict[str, list[list[Held]]] = {}
    missing: list[str] = []
    for method in methods:
        kinds: list[list[Held]] = [[], [], []]
        without: list[list[float]] = [[], []]
        for seed in range(seeds):
            model = train(task, method, seed, steps)
            generator = torch.Generator().manual_seed(2000 + seed)
            for kind, (shares, lie) in enumerate([(TRAINED, False), (SHIFTED, False), (TRAINED, True)]):
                kinds[kind].append(test(model, draw(task, items, shares, generator, lie), everyone(items)))
            tokens = draw(task, items, TRAINED, generator)
            present = everyone(items)
            present[:, SOURCES - 1] = False
            with torch.no_grad():
                right = model(tokens.sources, present).argmax(-1) == tokens.labels
            concerned = (tokens.informative == SOURCES - 1).any(-1)
            for index, rows in enumerate((~concerned, concerned)):
                without[index].append(right[rows].float().mean().item())
        results[method] = kinds
        cells = [spread([held.accuracy for held in runs]) for runs in kinds]
        cells += [spread([held.auroc for held in runs]) for runs in kinds]
        for runs in kinds[:2]:
            columns = list(zip(*(held.gates for held in runs), strict=True))
            cells.append(" ".join(f"{statistics.mean(column):.2f}" for column in columns) or "-")
        print(f"| {method} | " + " | ".join(cells) + " |", flush=True)
        missing.append(f"| {method} | {spread(without[0])} | {spread(without[1])} |")
    print("\nsource 3 missing: accuracy where others are informative, and where it would have been\n")
    print("| method | others | source 3 |\n|---|---|---|\n" + "\n".join(missing))
    return results


def picture(results: dict[str, dict[str, list[list[Held]]]], path: Path) -> None:
    """Accuracy of every method, as trained and shifted; then the mean gates, which follow the shift."""
    tasks = [task for task in results if task != "no cue"]
    figure = new_figure(5 * len(tasks) + 4, 4.3)
    panels = figure.subplots(1, len(tasks) + 1)
    for panel, task in zip(panels, tasks, strict=False):
        methods = list(results[task])
        for kind, (name, colour) in enumerate([("as trained", "C0"), ("shifted", "C1"), ("cue turned", "lightgrey")]):
            runs = [[held.accuracy for held in results[task][method][kind]] for method in methods]
            height = [statistics.mean(values) for values in runs]
            error = [statistics.stdev(values) if len(values) > 1 else 0.0 for values in runs]
            at = [index + 0.27 * (kind - 1) for index in range(len(methods))]
            panel.bar(at, height, 0.26, yerr=error, capsize=2, color=colour, label=name)
        names = [method.replace(" + ", "\n+ ").replace(" per ", "\nper ") for method in methods]
        names = [one.replace("concatenation", "concat.") for one in names]
        panel.axhline(1 / CLASSES, color="black", linestyle=":", linewidth=1)
        panel.set_xticks(range(len(methods)), names)
        panel.tick_params(axis="x", labelsize=8)
        panel.set(ylabel="accuracy, held out", ylim=(0, 1.12), title=f"Task “{task}” (dotted: chance)")
        panel.legend(fontsize=8, ncols=3, loc="upper center")
    kinds = results["whole"]["gate per token"]
    for kind, (name, colour) in enumerate([("as trained", "C0"), ("shifted", "C1")]):
        columns = list(zip(*(held.gates for held in kinds[kind]), strict=True))
        at = [source + 0.36 * (kind - 0.5) for source in range(SOURCES)]
        error = [statistics.stdev(column) if len(column) > 1 else 0.0 for column in columns]
        mean = [statistics.mean(column) for column in columns]
        panels[-1].bar(at, mean, 0.34, yerr=error, capsize=2, color=colour, label=f"mean gate, {name}")
        shares = (TRAINED, SHIFTED)[kind]
        label = "share of tokens where informative" if kind == 0 else None
        panels[-1].plot(at, shares, "k_", markersize=22, markeredgewidth=2, label=label)
    panels[-1].set_xticks(range(SOURCES), [f"source {source + 1}" for source in range(SOURCES)])
    panels[-1].set(ylabel="mean gate", ylim=(0, 1.12), title="Gate per token, task “whole”")
    panels[-1].legend(fontsize=8, loc="upper center")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def main() -> None:
    """Run the demo."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fast", action="store_true", help="two seeds, few steps: shows that it runs, not how well")
    parser.add_argument("--out", type=Path, default=Path("runs/demo_gated_fusion"), help="folder of the picture")
    arguments = parser.parse_args()
    seeds, steps, items = (2, 50, 100) if arguments.fast else (5, 500, 500)
    torch.set_num_threads(1)
    print(
        f"attention-suite {core.__version__}, torch {torch.__version__}, 1 thread; seeds 0..{seeds - 1}; data are drawn"
    )
    print(
        f"{SOURCES} sources, {CLASSES} classes, {steps} steps of 64 items of {TOKENS} tokens; chance {1 / CLASSES:.3f}"
    )
    print(f"sources are informative for {TRAINED} of the tokens as trained, {SHIFTED} shifted")
    start = time.perf_counter()
    results: dict[str, dict[str, list[list[Held]]]] = {}
    tasks: tuple[Task, ...] = ("whole", "grouped", "no cue")
    for task in tasks:
        methods = METHODS if task != "no cue" else METHODS[:2]
        results[task] = by_task(task, methods, seeds, steps, items)
    path = arguments.out / "gated_fusion.png"
    picture(results, path)
    print(f"\nAUROC target: above 0.95, as trained and shifted; saved {path}; {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
