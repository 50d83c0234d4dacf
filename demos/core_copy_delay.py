"""Copy a symbol after a delay: LSTM and GRU against one attention layer of the same size.

A sequence begins with one of eight symbols; `delay` steps follow, each of them blank or, one time in ten, a distractor
of the same eight; the last one is a cue, at which the first symbol is to be said. Content does not tell it from the
distractors, so the attention needs positions: sinusoidal ones, added to the embeddings, without parameters. The
recurrent networks know the first step by their empty state. Every model is trained anew for each delay, with the same
steps, batches and clipping, at the learning rate that was best on validation data, and its width is set so that the
parameters agree within 5%. "LSTM, chrono" is an LSTM whose gates start out remembering for about the delay.

Prints the accuracy by delay, mean ± sd over seeds, and draws it beside the gradient of the answer with respect to every
input, by distance, before and after training at the longest delay.

    python demos/core_copy_delay.py [--fast] [--out FOLDER]

References:
    Hochreiter, Schmidhuber: Long short-term memory. Neural Computation 9(8), 1997, section 5.2 (the task's kind).
    Tallec, Ollivier: Can recurrent neural networks warp time? ICLR 2018, section 3 (chrono initialisation).
"""

import argparse
import copy
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
from core.analysis.heads import gradient_by_distance
from core.positions import SinusoidalPositions

SYMBOLS, BLANK, CUE = 8, 8, 9
DISTRACTORS = 0.1
DIM, HEADS, EMBEDDING = 32, 4, 16  # of the attention; features that a recurrent network reads
BASE = 1000.0  # of the sinusoids: the longest wavelength is beyond the longest delay
MODELS = ("attention", "LSTM", "LSTM, chrono", "GRU")
BATCH, CHECK_EVERY, VALIDATED, TESTED = 32, 25, 256, 1024
SOLVED = 0.995  # validation accuracy at which training stops


class Task(NamedTuple):
    """One training run."""

    model: str
    delay: int
    rate: float
    seed: int
    steps: int
    with_gradients: bool = False


class Result(NamedTuple):
    """What came out: test accuracy, validation accuracy and loss, steps taken, gradient norms by distance."""

    task: Task
    accuracy: float
    validation: float
    loss: float
    steps: int
    before: list[float]
    after: list[float]


class Attention(nn.Module):
    """One layer: the cue asks the whole sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(SYMBOLS + 2, DIM)
        self.positions = SinusoidalPositions(DIM, base=BASE)
        self.attention = core.MultiheadAttention(DIM, HEADS)
        self.head = nn.Linear(DIM, SYMBOLS)

    def read(self, embedded: Tensor) -> Tensor:
        """Logits from embedded tokens: (B, L, features) -> (B, symbols)."""
        x = self.positions(embedded)
        return self.head(self.attention(x[:, -1:], x)[:, 0])

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits: (B, L) -> (B, symbols)."""
        return self.read(self.embedding(tokens))


class Recurrent(nn.Module):
    """torch's LSTM or GRU, read at the cue."""

    def __init__(self, cell: type[nn.LSTM] | type[nn.GRU], width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(SYMBOLS + 2, EMBEDDING)
        self.cell = cell(EMBEDDING, width, batch_first=True)
        self.head = nn.Linear(width, SYMBOLS)

    def read(self, embedded: Tensor) -> Tensor:
        """Logits from embedded tokens: (B, L, features) -> (B, symbols)."""
        return self.head(self.cell(embedded)[0][:, -1])

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits: (B, L) -> (B, symbols)."""
        return self.read(self.embedding(tokens))


def size(model: nn.Module) -> int:
    """Number of parameters."""
    return sum(p.numel() for p in model.parameters())


def build(name: str, delay: int) -> nn.Module:
    """A model of the attention's number of parameters, within 5%."""
    budget = size(Attention())
    if name == "attention":
        return Attention()
    cell = nn.GRU if name == "GRU" else nn.LSTM
    width = min(range(1, 64), key=lambda w: abs(size(Recurrent(cell, w)) - budget))
    model = Recurrent(cell, width)
    if abs(size(model) / budget - 1) > 0.05:
        raise ValueError(f"{name}: {size(model)} parameters, expected {budget} within 5%")
    if name == "LSTM, chrono":
        with torch.no_grad():  # torch's order of gates: input, forget, cell, output; two biases add up
            forget = torch.empty(width).uniform_(1, max(delay, 3) - 1).log()
            model.cell.bias_hh_l0.zero_()
            model.cell.bias_ih_l0.zero_()
            model.cell.bias_ih_l0[:width] = -forget
            model.cell.bias_ih_l0[width : 2 * width] = forget
    return model


def draw(items: int, delay: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Tokens (items, delay + 1) and their answers (items,)."""
    tokens = torch.randint(SYMBOLS, (items, delay + 1), generator=generator)
    answers = tokens[:, 0].clone()
    blank = torch.rand(tokens.shape, generator=generator) >= DISTRACTORS
    blank[:, 0] = False
    tokens = tokens.masked_fill(blank, BLANK)
    tokens[:, -1] = CUE
    return tokens, answers


@torch.no_grad()
def test(model: nn.Module, delay: int, items: int, seed: int) -> tuple[float, float]:
    """Accuracy and loss on sequences drawn from a seed of their own."""
    generator = torch.Generator().manual_seed(seed)
    right = loss = 0.0
    for _ in range(items // 128):
        tokens, answers = draw(128, delay, generator)
        logits = model(tokens)
        right += (logits.argmax(-1) == answers).sum().item()
        loss += nn.functional.cross_entropy(logits, answers, reduction="sum").item()
    return right / items, loss / items


def gradients(model: nn.Module, delay: int) -> list[float]:
    """Gradient norm of the logits with respect to the embedded input at distances 0, 1, ... delay."""
    exact = copy.deepcopy(model).double()
    tokens, _ = draw(8, delay, torch.Generator().manual_seed(3))
    return gradient_by_distance(exact.read, exact.embedding(tokens)).norm.tolist()


def run(task: Task) -> Result:
    """Train one model and test it."""
    torch.set_num_threads(1)
    torch.manual_seed(task.seed)
    generator = torch.Generator().manual_seed(10_000 + task.seed)
    model = build(task.model, task.delay)
    before = gradients(model, task.delay) if task.with_gradients else []
    optimiser = torch.optim.Adam(model.parameters(), lr=task.rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, task.rate, total_steps=task.steps, pct_start=0.1)
    validation = loss = 0.0
    for step in range(1, task.steps + 1):
        tokens, answers = draw(BATCH, task.delay, generator)
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(tokens), answers).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if step % CHECK_EVERY == 0 or step == task.steps:
            validation, loss = test(model, task.delay, VALIDATED, seed=1)
            if validation >= SOLVED:
                break
    accuracy, _ = test(model, task.delay, TESTED, seed=2)
    after = gradients(model, task.delay) if task.with_gradients else []
    return Result(task, accuracy, validation, loss, step, before, after)


def choose_rates(pool: ProcessPoolExecutor, rates: list[float], delays: list[int], steps: int) -> dict[str, float]:
    """The rate of lowest validation loss for each model, over the delays, on a seed that is not tested."""
    tasks = [Task(model, delay, rate, 999, steps) for model in MODELS for rate in rates for delay in delays]
    losses: dict[tuple[str, float], float] = {}
    for result in pool.map(run, tasks):
        key = result.task.model, result.task.rate
        losses[key] = losses.get(key, 0.0) + result.loss / len(delays)
    print("\nvalidation loss (nats) by learning rate, mean over delays", ", ".join(map(str, delays)))
    print("| model | " + " | ".join(f"{rate:g}" for rate in rates) + " |\n|---|" + "---|" * len(rates))
    for model in MODELS:
        print(f"| {model} | " + " | ".join(f"{losses[model, rate]:.3f}" for rate in rates) + " |", flush=True)
    return {model: min(rates, key=lambda rate: losses[model, rate]) for model in MODELS}


def summary(values: list[float]) -> str:
    """Mean ± standard deviation."""
    return f"{statistics.mean(values):.3f}" + (f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else "")


def plot(found: dict[tuple[str, int], list[Result]], delays: list[int], path: Path) -> None:
    """Accuracy by delay; gradient norm by distance before and after training."""
    figure = new_figure(13, 4)
    left, middle, right = figure.subplots(1, 3)
    for place, model in enumerate(MODELS):
        runs = [[r.accuracy for r in found[model, delay]] for delay in delays]
        spread = [statistics.stdev(values) if len(values) > 1 else 0.0 for values in runs]
        shifted = [delay * 1.05 ** (place - 1.5) for delay in delays]
        left.errorbar(shifted, [statistics.mean(v) for v in runs], spread, marker="o", capsize=3, label=model)
        first = found[model, delays[-1]][0]
        for panel, norms in ((middle, first.before), (right, first.after)):
            top = max(norms)
            shown = [max(norm / top, 1e-16) for norm in norms]
            panel.plot(shown, label=model, linewidth=1)
            panel.plot(len(shown) - 1, shown[-1], "o", color=f"C{place}", markersize=6, clip_on=False)
    left.axhline(1 / SYMBOLS, color="grey", linestyle=":", linewidth=1)
    left.annotate("chance", (delays[0], 1 / SYMBOLS), textcoords="offset points", xytext=(0, -11), color="grey")
    left.set(xscale="log", xlabel="delay (steps)", ylabel="test accuracy", ylim=(0, 1.05), title="Symbols copied")
    left.set_xticks(delays, [str(delay) for delay in delays])
    left.minorticks_off()
    left.legend(fontsize=8)
    for panel, when in ((middle, "before training"), (right, "after training")):
        panel.set(yscale="log", ylim=(1e-16, 30), xlabel="distance of input and answer (steps)")
        panel.set(title=f"Gradient at delay {delays[-1]}, {when}")
        panel.grid(alpha=0.3)
    middle.set_ylabel("gradient norm / its largest (floor 1e-16)")
    right.legend([right.lines[1]], ["the symbol to copy"], fontsize=8, loc="lower left")
    figure.savefig(path, dpi=130)


def main() -> None:
    """Choose rates, train, print the table, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fast", action="store_true", help="short delays, few steps: shows that it runs, not who wins")
    parser.add_argument("--out", type=Path, default=Path("runs/core_copy_delay"), help="folder of the picture")
    arguments = parser.parse_args()
    delays, sweep, steps, seeds = ([10, 30, 100, 300, 1000], [100, 300], 500, 3)
    if arguments.fast:
        delays, sweep, steps, seeds = [10, 30], [10], 25, 1
    rates = [0.003, 0.01, 0.03]
    print(f"attention-suite {core.__version__}, torch {torch.__version__}, 2 processes of 1 thread")
    print(f"drawn data, seeds 0..{seeds - 1}, at most {steps} steps of {BATCH} sequences, chance {1 / SYMBOLS}")
    start = time.perf_counter()
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        best = choose_rates(pool, rates, sweep, steps)
        tasks = [
            Task(model, delay, best[model], seed, steps, with_gradients=seed == 0 and delay == delays[-1])
            for delay in reversed(delays)
            for model in MODELS
            for seed in range(seeds)
        ]
        found: dict[tuple[str, int], list[Result]] = {}
        for result in pool.map(run, tasks):
            found.setdefault((result.task.model, result.task.delay), []).append(result)
    print("\ntest accuracy by delay, mean ± sd over seeds (mean steps taken)")
    print(
        "| model | parameters | rate | "
        + " | ".join(f"delay {d}" for d in delays)
        + " |\n|"
        + "---|" * (3 + len(delays))
    )
    for model in MODELS:
        runs = [found[model, delay] for delay in delays]
        cells = [f"{summary([r.accuracy for r in x])} ({statistics.mean(r.steps for r in x):.0f})" for x in runs]
        print(f"| {model} | {size(build(model, 10))} | {best[model]:g} | " + " | ".join(cells) + " |")
    print(f"\ngradient norm at the symbol to copy, as a share of the largest, delay {delays[-1]}, seed 0")
    print("| model | before training | after training |\n|---|---|---|")
    for model in MODELS:
        first = found[model, delays[-1]][0]
        shares = [norms[-1] / max(norms) if max(norms) > 0 else math.nan for norms in (first.before, first.after)]
        print(f"| {model} | {shares[0]:.1e} | {shares[1]:.1e} |")
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / "copy_delay.png"
    plot(found, delays, path)
    print(f"\nsaved {path}; {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
