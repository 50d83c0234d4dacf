"""A motif and its far partner: attention alone fails, convolution alone fails, the hybrid block does not.

A sequence of random letters holds one of two motifs (`abcd`, `cbad`) in one half and one of two others (`efgh`, `gfeh`)
in the other half, at least 20 letters apart. At the last letter of the first motif the model says which of the two it
is and which its partner is. The two of a kind hold the same letters: only their order tells them apart. Order is what a
convolution sees, but the partner stands beyond its reach; attention reaches it, but without positions knows the letters
by their counts alone.

Two blocks of each kind, of the same number of parameters (the MLPs grow where a half is left out), trained alike at the
learning rate that was best on validation data: the hybrid, convolution alone, attention alone, and attention alone with
rotary positions, which can tell order by attending to fixed offsets, and has that to learn first.

    python demos/core_hybrid_block.py [--fast] [--out FOLDER]
"""

import argparse
import math
import multiprocessing
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

import core
from core.analysis.figures import new_figure

LETTERS, LENGTH = 8, 48
MOTIFS = torch.tensor([[[0, 1, 2, 3], [2, 1, 0, 3]], [[4, 5, 6, 7], [6, 5, 4, 7]]])  # (which side, which kind, letters)
SIZE = MOTIFS.shape[-1]
DIM, HEADS, KERNEL, DEPTH = 32, 4, 7, 2
KINDS = ("hybrid", "convolution alone", "attention alone", "attention + rotary")
RATES = (0.003, 0.01)
BATCH, CHECK_EVERY, VALIDATED, TESTED = 32, 25, 256, 2048
FEW = 256  # tested with --fast


class Examples(NamedTuple):
    """Letters (B, L), the place that is asked and the partner's first letter (B,), and which the two are (B,)."""

    letters: Tensor
    asked: Tensor
    partner: Tensor
    answers: Tensor


class Run(NamedTuple):
    """One training run."""

    kind: str
    rate: float
    seed: int
    steps: int
    tested: int


class Scores(NamedTuple):
    """Accuracy: both motifs named, the one that is asked, its partner; and the loss in nats."""

    both: float
    own: float
    partner: float
    loss: float


class Result(NamedTuple):
    """Test scores, the validation scores on the way with their steps, the attention around the partner."""

    run: Run
    test: Scores
    curve: list[tuple[int, Scores]]
    profile: list[list[float]]


def count(letters: Tensor) -> Tensor:
    """How often each of the four motifs occurs: (B, L) -> (B, 2, 2)."""
    windows = letters.unfold(1, SIZE, 1)
    return (windows[:, :, None, None] == MOTIFS).all(-1).sum(1)


def draw(items: int, generator: torch.Generator) -> Examples:
    """Plant one motif of either side; draw again where chance has made another."""
    parts: list[Examples] = []
    while sum(len(part.answers) for part in parts) < items:
        letters = torch.randint(LETTERS, (items, LENGTH), generator=generator)
        kinds = torch.randint(2, (items, 2), generator=generator)
        early = torch.randint(0, 11, (items,), generator=generator)
        late = torch.randint(34, LENGTH - SIZE + 1, (items,), generator=generator)
        swap = torch.rand(items, generator=generator) < 0.5
        starts = torch.stack([torch.where(swap, late, early), torch.where(swap, early, late)], dim=1)
        for side in range(2):
            places = starts[:, side, None] + torch.arange(SIZE)
            letters.scatter_(1, places, MOTIFS[side][kinds[:, side]])
        clean = (count(letters).sum(dim=2) == 1).all(dim=1)
        answers = 2 * kinds[:, 0] + kinds[:, 1]
        parts.append(Examples(*(x[clean] for x in (letters, starts[:, 0] + SIZE - 1, starts[:, 1], answers))))
    return Examples(*(torch.cat(columns)[:items] for columns in zip(*parts, strict=True)))


class Model(nn.Module):
    """Letters in, four logits a letter out: 2 * own kind + partner's kind."""

    def __init__(self, kind: str, mlp_ratio: float) -> None:
        super().__init__()
        self.embedding = nn.Embedding(LETTERS, DIM)
        heads = None if kind == "convolution alone" else HEADS
        kernel = None if kind.startswith("attention") else KERNEL
        options = {"rotary": core.Rotary(DIM // HEADS)} if kind == "attention + rotary" else {}
        self.blocks = nn.ModuleList(
            core.HybridBlock(DIM, heads, kernel, mlp_ratio=mlp_ratio, **options) for _ in range(DEPTH)
        )
        self.head = nn.Linear(DIM, 4)

    def forward(self, letters: Tensor) -> Tensor:
        """Logits: (B, L) -> (B, L, 4)."""
        x = self.embedding(letters)
        for block in self.blocks:
            x = block(x)
        return self.head(x)

    def weights(self, letters: Tensor) -> Tensor:
        """The last block's attention weights: (B, heads, L, L)."""
        x = self.embedding(letters)
        for block in self.blocks[:-1]:
            x = block(x)
        return self.blocks[-1](x, need=("weights",)).weights


def size(model: nn.Module) -> int:
    """Number of parameters."""
    return sum(p.numel() for p in model.parameters())


def build(kind: str) -> Model:
    """A model of the hybrid's number of parameters, within 5%."""
    budget = size(Model("hybrid", 1.0))
    ratio = min((hidden / DIM for hidden in range(DIM, 4 * DIM)), key=lambda r: abs(size(Model(kind, r)) - budget))
    model = Model(kind, ratio)
    if abs(size(model) / budget - 1) > 0.05:
        raise ValueError(f"{kind}: {size(model)} parameters, expected {budget} within 5%")
    return model


def at(values: Tensor, places: Tensor) -> Tensor:
    """Row `places` of each item: (B, L, ...) -> (B, ...)."""
    return values[torch.arange(len(places)), places]


@torch.no_grad()
def test(model: Model, items: int, seed: int) -> Scores:
    """Score a model on sequences drawn from a seed of their own."""
    examples = draw(items, torch.Generator().manual_seed(seed))
    logits = torch.cat([at(model(x), p) for x, p in zip(*(y.split(256) for y in examples[:2]), strict=True)])
    loss = nn.functional.cross_entropy(logits, examples.answers).item()
    said = logits.argmax(-1)
    own, partner = said // 2 == examples.answers // 2, said % 2 == examples.answers % 2
    return Scores(*((x.float().mean().item()) for x in (own & partner, own, partner)), loss)


@torch.no_grad()
def profile(model: Model) -> list[list[float]]:
    """Mean weight from the asked letter onto the letters from 8 before to 11 after the partner's first, by head."""
    examples = draw(256, torch.Generator().manual_seed(4))
    rows = at(model.weights(examples.letters).transpose(1, 2), examples.asked)  # (B, heads, L)
    padded = nn.functional.pad(rows, (8, 12))
    places = examples.partner[:, None] + torch.arange(20)
    return padded.gather(2, places[:, None].expand(-1, HEADS, -1)).mean(dim=0).tolist()


def train(run: Run) -> Result:
    """Train one model and test it."""
    torch.set_num_threads(1)
    torch.manual_seed(run.seed)
    generator = torch.Generator().manual_seed(10_000 + run.seed)
    model = build(run.kind)
    optimiser = torch.optim.AdamW(model.parameters(), lr=run.rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, run.rate, total_steps=run.steps, pct_start=0.2)
    curve = []
    for step in range(1, run.steps + 1):
        examples = draw(BATCH, generator)
        optimiser.zero_grad()
        nn.functional.cross_entropy(at(model(examples.letters), examples.asked), examples.answers).backward()
        optimiser.step()
        schedule.step()
        if step % CHECK_EVERY == 0 or step == run.steps:
            curve.append((step, test(model, VALIDATED, seed=1)))
    weights = profile(model) if run.kind == "hybrid" else []
    return Result(run, test(model, run.tested, seed=2), curve, weights)


def summary(values: list[float]) -> str:
    """Mean ± standard deviation."""
    return f"{statistics.mean(values):.3f}" + (f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else "")


def plot(found: dict[str, list[Result]], path: Path) -> None:
    """Validation accuracy by step, and where the hybrid looks."""
    figure = new_figure(11, 4)
    left, right = figure.subplots(1, 2, width_ratios=(1.1, 1))
    for place, (kind, results) in enumerate(found.items()):
        for number, result in enumerate(results):
            steps = [step for step, _ in result.curve]
            values = [scores.both for _, scores in result.curve]
            label = f"{kind}: {statistics.mean(r.test.both for r in results):.2f}" if number == 0 else None
            left.plot(steps, values, color=f"C{place}", linewidth=1.2, alpha=0.8, label=label)
    left.axhline(0.25, color="grey", linestyle=":", linewidth=1)
    left.set(xlabel="training step", ylabel="validation accuracy, both motifs", ylim=(0, 1.03))
    left.set_title(f"{len(found['hybrid'])} seed(s) each; dotted: chance")
    left.legend(fontsize=8, title="mean test accuracy", title_fontsize=8, loc="center right", bbox_to_anchor=(1, 0.74))
    weights = torch.tensor(found["hybrid"][0].profile)
    image = right.imshow(weights, aspect="auto", cmap="viridis", vmin=0)
    right.set_xticks(range(0, 20, 2), [str(offset - 8) for offset in range(0, 20, 2)])
    right.set_yticks(range(HEADS), [str(head + 1) for head in range(HEADS)])
    right.axvline(7.5, color="white", linewidth=1)
    right.axvline(7.5 + SIZE, color="white", linewidth=1)
    right.set(xlabel="letters from the partner's first (motif between the lines)", ylabel="head, last block")
    right.set_title("Where the hybrid looks from the first motif, seed 0")
    figure.colorbar(image, ax=right, label=f"mean attention weight (uniform: {1 / LENGTH:.3f})")
    figure.savefig(path, dpi=130)


def main() -> None:
    """Choose rates, train, print the table, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fast", action="store_true", help="few steps, one seed: shows that it runs, not who wins")
    parser.add_argument("--out", type=Path, default=Path("runs/core_hybrid_block"), help="folder of the picture")
    parser.add_argument("--steps", type=int, default=150, help="training steps of each model")
    arguments = parser.parse_args()
    seeds, steps, tested = (1, 8, FEW) if arguments.fast else (3, arguments.steps, TESTED)
    workers = 1 if arguments.fast else 2  # each imports torch
    print(f"attention-suite {core.__version__}, torch {torch.__version__}, {workers} process(es) of 1 thread")
    print(f"drawn data, seeds 0..{seeds - 1}, {steps} steps of {BATCH} sequences of {LENGTH} letters, chance 0.25")
    start = time.perf_counter()
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        sweep = list(pool.map(train, [Run(kind, rate, 999, steps, tested) for kind in KINDS for rate in RATES]))
        losses = {(r.run.kind, r.run.rate): r.curve[-1][1].loss for r in sweep}
        best = {kind: min(RATES, key=lambda rate: losses[kind, rate]) for kind in KINDS}
        found: dict[str, list[Result]] = {kind: [] for kind in KINDS}
        again = [Run(kind, best[kind], seed, steps, tested) for kind in KINDS for seed in range(seeds)]
        for result in pool.map(train, again):
            found[result.run.kind].append(result)
    print(
        "\n| block | parameters | "
        + " | ".join(f"loss at {rate:g}" for rate in RATES)
        + " | both right | own | partner |"
    )
    print("|---|---|" + "---|" * (len(RATES) + 3))
    for kind in KINDS:
        cells = [f"{losses[kind, rate]:.3f}" for rate in RATES]
        cells += [summary([getattr(r.test, name) for r in found[kind]]) for name in ("both", "own", "partner")]
        print(f"| {kind} | {size(build(kind))} | " + " | ".join(cells) + " |")
    on_partner = [sum(sum(row[8 : 8 + SIZE]) for row in r.profile) / HEADS for r in found["hybrid"]]
    print(f"\nweight of the hybrid's last attention on the partner, mean over heads: {summary(on_partner)}")
    print(f"(uniform attention: {SIZE / LENGTH:.3f}); loss: validation, nats, seed 999, chance {math.log(4):.3f}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / "hybrid_block.png"
    plot(found, path)
    print(f"saved {path}; {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
