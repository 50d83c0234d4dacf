"""Time and memory of a training step against the length, and where `plan` changes its mind.

    python benchmarks/curves.py [--threads 2] [--longest 32768] [--out docs/images/engine_curves.png]

One head of 64, batch 1, float32, each way at the lengths 2^8, 2^9, ... A way is left out from where one matrix of
weights would take more than 300 MB. Draws docs/images/engine_curves.png and prints the numbers.
"""

import argparse
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import torch
import torch.nn.functional as F
from torch import Tensor

import core
from core import biases, masks

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # after the choice of its backend

D, LARGEST_MATRIX = 64, 300e6
Way = Callable[[int], Callable[[Tensor, Tensor, Tensor], Tensor]]


def rate() -> Tensor:
    """A rate to learn."""
    return torch.full((1,), 0.3, requires_grad=True)


def times(L: int) -> Tensor:
    """Times in order, (1, L)."""
    return torch.rand(1, L).sort().values * 30


def dense(L: int) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Make torch's attention with a learned bias as a tensor."""
    distance, r = (times(L)[:, :, None] - times(L)[:, None]).abs()[:, None], rate()
    return lambda q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=-r * distance)


def ours(backend: str, structure: Callable[[int], dict[str, Any]]) -> Way:
    """A way through `attend`."""

    def way(L: int) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
        arguments = structure(L)
        return lambda q, k, v: core.attend(q, k, v, backend=backend, **arguments)

    return way


WAYS: dict[str, tuple[Way, bool]] = {
    "dense learned decay (torch)": (dense, True),
    "no bias (torch)": (lambda L: lambda q, k, v: F.scaled_dot_product_attention(q, k, v), False),
    "tiled, learned decay": (ours("tiled", lambda L: {"bias": biases.TimeDecay(times(L), rate())}), False),
    "folded, causal learned decay": (
        ours("fused", lambda L: {"mask": masks.Causal(), "bias": biases.TimeDecay(times(L), rate())}),
        False,
    ),
    "banded, window of 128 either side": (ours("banded", lambda L: {"mask": masks.Window(128, 128)}), False),
    "gathered, 16 neighbours": (
        ours("gathered", lambda L: {"mask": masks.Neighbours(torch.randint(0, L, (L, 16)))}),
        False,
    ),
}
"""Way -> how to make a step, and whether it holds L x L tensors."""


def step(name: str, L: int) -> Callable[[], None]:
    """A training step of a way."""
    f = WAYS[name][0](L)
    qkv = [torch.randn(1, 1, L, D, requires_grad=True) for _ in range(3)]
    return lambda: f(*qkv).sum().backward()


def seconds(name: str, L: int) -> float:
    """Median time of a step."""
    f, clock = step(name, L), []
    f()
    for _ in range(1 if L > 8192 else 5):
        start = time.perf_counter()
        f()
        clock.append(time.perf_counter() - start)
    return statistics.median(clock)


def megabytes(name: str, L: int, threads: int) -> float:
    """Growth of the peak in a step, in a fresh process."""
    command = [sys.executable, __file__, "--threads", str(threads), "--memory-of", name, "--longest", str(L)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def memory_of(name: str, L: int) -> float:
    """Run one step and answer the growth of the peak in megabytes."""

    def status(key: str) -> int:
        with open("/proc/self/status") as file:
            return int(next(line for line in file if line.startswith(key)).split()[1])

    step(name, 64)()
    f = step(name, L)
    before = status("VmRSS")
    f()
    return (status("VmHWM") - before) * 1024 / 1e6


def crossings() -> dict[str, list[tuple[int, str]]]:
    """For problems whose backend depends on the length: the lengths from which `plan` takes another."""
    found: dict[str, list[tuple[int, str]]] = {}
    problems: dict[str, Callable[[int], dict[str, Any]]] = {
        "window of 16 either side": lambda L: {"mask": masks.Window(16, 16)},
        "window of 128 either side": lambda L: {"mask": masks.Window(128, 128)},
        "16 neighbours": lambda L: {"mask": masks.Neighbours(torch.zeros(L, 16, dtype=torch.long))},
        "learned decay": lambda L: {"bias": biases.TimeDecay(times(L), torch.full((8,), 0.3, requires_grad=True))},
        "entropy that is differentiated": lambda L: {"need": ("entropy",)},
        "dropout": lambda L: {"dropout_p": 0.1},
    }
    for name, structure in problems.items():
        for power in range(10, 29):
            L = round(2 ** (power / 2))
            x = torch.empty(1, 8, L, D, requires_grad=True)
            backend = core.plan(x, x, x, **structure(L)).backend
            if name not in found or found[name][-1][1] != backend:
                found.setdefault(name, []).append((L, backend))
    return found


def draw(numbers: dict[str, dict[int, tuple[float, float]]], path: Path) -> None:
    """Draw time and memory against the length."""
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.6), layout="constrained")
    for place, (axis, label) in enumerate(zip(axes, ("seconds a training step", "peak memory, MB"), strict=True)):
        for name, points in numbers.items():
            values = [point[place] for point in points.values()]
            axis.plot(list(points), values, "o--" if "torch" in name else "o-", markersize=4, label=name)
        axis.set(xscale="log", yscale="log", xlabel="length L", ylabel=label)
        axis.set_xscale("log", base=2)
        axis.grid(alpha=0.3)
    axes[1].set_ylim(bottom=0.1)
    axes[0].legend(fontsize=8)
    figure.suptitle("One head of 64, float32, forward and backward")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Measure, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--longest", type=int, default=32768)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs" / "images" / "engine_curves.png")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    if arguments.memory_of:
        print(memory_of(arguments.memory_of, arguments.longest))
        return
    print(f"torch {torch.__version__}, {platform.machine()}, {arguments.threads} threads; seconds / MB\n")
    lengths = [2**power for power in range(8, 16) if 2**power <= arguments.longest]
    numbers: dict[str, dict[int, tuple[float, float]]] = {name: {} for name in WAYS}
    print(f"| way | {' | '.join(f'L {L}' for L in lengths)} |\n|{'---|' * (len(lengths) + 1)}")
    for name, (_, square) in WAYS.items():
        cells = []
        for L in lengths:
            if square and L * L * 4 > LARGEST_MATRIX:
                cells.append("-")
                continue
            memory = megabytes(name, L, arguments.threads) if sys.platform == "linux" else float("nan")
            numbers[name][L] = seconds(name, L), memory
            cells.append(f"{numbers[name][L][0]:.2g} / {numbers[name][L][1]:.0f}")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    print(
        "\nWhat `plan` takes with 8 heads of 64, from which length on (lengths go in steps of the square root of 2):\n"
    )
    for name, changes in crossings().items():
        print(f"- {name}: " + ", ".join(f"{backend} from {L}" for L, backend in changes))
    draw(numbers, arguments.out)
    print("\n![Time and memory against the length](images/engine_curves.png)")


if __name__ == "__main__":
    main()
