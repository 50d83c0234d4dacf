"""How far do positions carry? Train on short sequences, test on longer ones.

Two tasks on random symbols, causal, one answer per token:

    copy    say the symbol that stood three tokens ago (an exact offset)
    recall  say the symbol of the last marked token (a recency)

Every model is the same two-block encoder; only what tells it the order differs. The learned table is read at the longer
lengths by interpolation. Prints accuracy by length (mean ± sd over seeds) and saves the figure.

    python demos/core_positions.py [--fast] [--out FOLDER]
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

import core
from core import masks
from core.analysis.figures import new_figure
from core.layers import AlibiBias, Encoder, RelativeBias, Rotary
from core.positions import LearnedPositions, SinusoidalPositions

SYMBOLS, DIM, HEADS, DEPTH = 8, 32, 4, 2
OFFSET = 3
TRAIN_LENGTH = 32
LENGTHS = (TRAIN_LENGTH, 2 * TRAIN_LENGTH, 4 * TRAIN_LENGTH)
METHODS = ("none", "sinusoidal", "learned", "rotary", "relative", "ALiBi")


class Examples(NamedTuple):
    """Tokens, their answers, and where an answer exists. Shapes: (B, L) each."""

    tokens: Tensor
    answers: Tensor
    asked: Tensor


def copy(items: int, length: int, generator: torch.Generator) -> Examples:
    """answer_i = token_(i - 3)."""
    tokens = torch.randint(SYMBOLS, (items, length), generator=generator)
    asked = (torch.arange(length) >= OFFSET).expand(items, length)
    return Examples(tokens, tokens.roll(OFFSET, dims=1), asked)


def recall(items: int, length: int, generator: torch.Generator) -> Examples:
    """answer_i = the symbol of the last token j <= i that is marked; one in eight is. Marked symbols are 8 to 15."""
    symbols = torch.randint(SYMBOLS, (items, length), generator=generator)
    marked = torch.rand((items, length), generator=generator) < 1 / 8
    last = torch.where(marked, torch.arange(length), -1).cummax(dim=1).values
    return Examples(symbols + SYMBOLS * marked, symbols.gather(1, last.clamp(min=0)), last >= 0)


TASKS: dict[str, Callable[[int, int, torch.Generator], Examples]] = {"copy": copy, "recall": recall}


class Tagger(nn.Module):
    """Tokens in, a symbol's logits per token out; `method` says how the order gets in."""

    def __init__(self, method: str) -> None:
        super().__init__()
        self.embedding = nn.Embedding(2 * SYMBOLS, DIM)
        rotary = Rotary(DIM // HEADS) if method == "rotary" else None
        self.encoder = Encoder(DIM, DEPTH, HEADS, mlp_ratio=2.0, rotary=rotary)
        self.sinusoidal = SinusoidalPositions(DIM) if method == "sinusoidal" else None
        self.learned = LearnedPositions(TRAIN_LENGTH, DIM, std=1.0) if method == "learned" else None
        biases = {"relative": lambda: RelativeBias(HEADS, TRAIN_LENGTH // 2), "ALiBi": lambda: AlibiBias(HEADS)}
        self.bias = biases[method]() if method in biases else None
        self.head = nn.Linear(DIM, SYMBOLS)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits per token: (B, L) -> (B, L, symbols)."""
        x = self.embedding(tokens)
        if self.sinusoidal is not None:
            x = self.sinusoidal(x)
        if self.learned is not None:
            x = self.learned(x, tokens.shape[1])
        bias = None if self.bias is None else self.bias()
        return self.head(self.encoder(x, mask=masks.Causal(), bias=bias))


def train_and_test(task: str, method: str, seed: int, steps: int) -> list[float]:
    """Accuracy at each of LENGTHS on sequences not seen in training."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(1000 + seed)
    model = Tagger(method)
    optimiser = torch.optim.AdamW(model.parameters(), lr=4e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps, pct_start=0.2)
    for _ in range(steps):
        batch = TASKS[task](32, TRAIN_LENGTH, generator)
        logits = model(batch.tokens)
        loss = nn.functional.cross_entropy(logits[batch.asked], batch.answers[batch.asked])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    model.eval()
    accuracies = []
    for length in LENGTHS:
        batch = TASKS[task](64, length, torch.Generator().manual_seed(seed))
        with torch.no_grad():
            right = model(batch.tokens).argmax(-1) == batch.answers
        accuracies.append(right[batch.asked].float().mean().item())
    return accuracies


def summary(values: Sequence[float]) -> str:
    """Mean ± sd; of one value, the value."""
    mean = f"{statistics.mean(values):.3f}"
    return f"{mean} ± {statistics.stdev(values):.3f}" if len(values) > 1 else mean


def picture(results: dict[str, dict[str, list[list[float]]]], path: Path) -> None:
    """One panel per task: accuracy by length, one line per method, bars of one sd."""
    figure = new_figure(9, 3.6)
    panels = figure.subplots(1, len(results), sharey=True)
    for panel, (task, by_method) in zip(panels, results.items(), strict=True):
        for method, runs in by_method.items():
            columns = list(zip(*runs, strict=True))
            means = [statistics.mean(column) for column in columns]
            spread = [statistics.stdev(column) if len(column) > 1 else 0.0 for column in columns]
            panel.errorbar(LENGTHS, means, spread, marker="o", capsize=3, label=method)
        panel.axhline(1 / SYMBOLS, color="grey", linestyle=":", linewidth=1)
        panel.axvline(TRAIN_LENGTH, color="grey", linewidth=0.5)
        panel.set(title=task, xscale="log", xlabel=f"test length (trained at {TRAIN_LENGTH})", xticks=LENGTHS)
        panel.set_xticks(LENGTHS, [str(length) for length in LENGTHS])
        panel.minorticks_off()
    panels[0].set(ylabel="accuracy", ylim=(0, 1.03))
    panels[-1].legend(fontsize=8)
    figure.savefig(path, dpi=150)


def main() -> None:
    """Run every method on every task and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fast", action="store_true", help="one seed, few steps: shows that it runs, not who wins")
    parser.add_argument("--out", type=Path, default=Path("runs/demos"), help="folder of the figure")
    arguments = parser.parse_args()
    seeds, steps = (1, 20) if arguments.fast else (3, 350)
    torch.set_num_threads(1)  # the matrices are small: more threads only wait for each other
    print(f"suite {core.__version__}, torch {torch.__version__}, 1 thread, drawn data, seeds 0..{seeds - 1}\n")
    started = time.perf_counter()
    results: dict[str, dict[str, list[list[float]]]] = {}
    for task in TASKS:
        results[task] = {}
        print(f"{task}: accuracy over {seeds} seed(s) (mean ± sd), {steps} steps at length {TRAIN_LENGTH}")
        print(f"{'':12s}" + "".join(f"{f'length {length}':>16s}" for length in LENGTHS))
        for method in METHODS:
            runs = [train_and_test(task, method, seed, steps) for seed in range(seeds)]
            results[task][method] = runs
            cells = [summary(column) for column in zip(*runs, strict=True)]
            print(f"{method:12s}" + "".join(f"{cell:>16s}" for cell in cells), flush=True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / "core_positions.png"
    picture(results, path)
    print(f"chance {1 / SYMBOLS:.3f}; figure: {path}; {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
