"""Recover how fast the past fades: half-lives per head, learned from irregular events.

Each head of a planted attention averages what past events carry, by content and by age: a key weighs half as much for
each half-life that it is older. A model that starts from other half-lives sees the events and the noisy averages, and
learns content and half-lives together. Prints the planted and the learned half-lives in hours and draws how they were
found.

    python demos/core_time_decay.py [--fast] [--out FOLDER]
"""

import argparse
import statistics
import time
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

import core
from core import masks
from core.analysis.figures import new_figure

PLANTED = (1.0, 6.0, 24.0, 96.0)  # hours, one per head
START = (12.0, 12.0, 12.0, 12.0)  # hours
HEADS, DIM, EVENTS, GAP = len(PLANTED), 8, 96, 3.0  # GAP: mean hours between events
NOISE = 0.05


class Events(NamedTuple):
    """Irregular events. Shapes: times (B, L) in hours, content (B, L, DIM), carried (B, HEADS, L, 1)."""

    times: Tensor
    content: Tensor
    carried: Tensor


def draw(items: int, generator: torch.Generator) -> Events:
    """Events with exponential gaps, random content, and one number for each head to average."""
    gaps = -GAP * torch.rand(items, EVENTS, generator=generator).log()
    content = torch.randn(items, EVENTS, DIM, generator=generator)
    return Events(gaps.cumsum(dim=1), content, torch.randn(items, HEADS, EVENTS, 1, generator=generator))


class FadingAverage(nn.Module):
    """out_h = attention of head h over the events so far, with queries and keys from the content."""

    def __init__(self, half_lives: tuple[float, ...]) -> None:
        super().__init__()
        self.query = nn.Linear(DIM, HEADS * DIM, bias=False)
        self.key = nn.Linear(DIM, HEADS * DIM, bias=False)
        self.decay = core.TimeDecayBias(HEADS, half_lives)

    def forward(self, events: Events) -> Tensor:
        """Averages, (B, HEADS, L, 1)."""
        q, k = (layer(events.content).unflatten(-1, (HEADS, DIM)).transpose(1, 2) for layer in (self.query, self.key))
        return core.attend(q, k, events.carried, mask=masks.Causal(), bias=self.decay(events.times))


def learn(seed: int, steps: int) -> list[list[float]]:
    """Plant, train, and answer the half-lives of every head after each step, in hours."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    planted, model = FadingAverage(PLANTED), FadingAverage(START)
    rates = [{"params": model.decay.parameters(), "lr": 0.05}, {"params": [model.query.weight, model.key.weight]}]
    optimizer = torch.optim.Adam(rates, lr=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    history = [model.decay.half_lives.tolist()]
    for _ in range(steps):
        events = draw(16, generator)
        with torch.no_grad():
            target = planted(events)
            target = target + NOISE * torch.randn(target.shape, generator=generator)
        loss = (model(events) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        history.append(model.decay.half_lives.tolist())
    return history


def plot(histories: list[list[list[float]]], path: Path) -> None:
    """Half-lives by step, one colour a head, one line a seed; planted values dashed."""
    figure = new_figure(8, 4.5)
    axis = figure.subplots()
    for head, planted in enumerate(PLANTED):
        colour = f"C{head}"
        for history in histories:
            axis.plot([row[head] for row in history], color=colour, alpha=0.7, linewidth=1)
        axis.axhline(
            planted, color=colour, linestyle="--", linewidth=1, label=f"head {head + 1}: planted {planted:g} h"
        )
    axis.set(yscale="log", xlabel="training step", ylabel="half-life (hours, log scale)")
    axis.set_title(f"Half-lives found from irregular events, {len(histories)} seed(s); dashed: planted")
    axis.legend(loc="center right")
    axis.grid(alpha=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def main() -> None:
    """Run the demo."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fast", action="store_true", help="few steps, one seed: shows that it runs, not how well")
    parser.add_argument("--out", type=Path, default=Path("runs/demo_time_decay"), help="folder of the picture")
    arguments = parser.parse_args()
    seeds, steps = (1, 40) if arguments.fast else (5, 600)
    print(f"attention-suite {core.__version__}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    print(
        f"seeds 0..{seeds - 1}, {steps} steps, {EVENTS} events an item, {GAP:g} hours apart on average; data are drawn"
    )
    start = time.perf_counter()
    histories = [learn(seed, steps) for seed in range(seeds)]
    print(f"\n| head | planted (h) | start (h) | learned (h), mean ± sd | largest error |\n|{'---|' * 5}")
    worst = 0.0
    for head, planted in enumerate(PLANTED):
        found = [history[-1][head] for history in histories]
        error = max(abs(value / planted - 1) for value in found)
        worst = max(worst, error)
        deviation = f" ± {statistics.stdev(found):.3g}" if len(found) > 1 else ""
        mean = statistics.mean(found)
        print(f"| {head + 1} | {planted:g} | {START[head]:g} | {mean:.4g}{deviation} | {error:.1%} |")
    print(
        f"\nlargest error over heads and seeds: {worst:.1%} (target: within 10%), {time.perf_counter() - start:.0f} s"
    )
    path = arguments.out / "half_lives.png"
    plot(histories, path)
    print(f"saved {path}")


if __name__ == "__main__":
    main()
