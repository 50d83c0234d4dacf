"""Time and memory of attention that learns its biases, beside torch's plain attention.

    python benchmarks/engine.py [--threads 2] [--rounds 5] [--length 4096]

One training step (forward and backward) of `core.attend` with "auto" against scaled_dot_product_attention without any
bias; float32, batch 1, 8 heads of 64. The two take turns in one process; the table shows the median of the ratios.
Memory is the growth of the peak over the inputs, in a fresh process. The last column gives the bound that is aimed at.
"""

import argparse
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

import core
from core import biases, masks

H, D = 8, 64
Inputs = tuple[Tensor, Tensor, Tensor]


def inputs(L: int) -> Inputs:
    """Queries, keys and values, (1, H, L, D)."""
    q, k, v = (torch.randn(1, H, L, D, requires_grad=True) for _ in range(3))
    return q, k, v


def structure(name: str, L: int) -> dict:
    """The arguments of `attend` for a case."""
    times = torch.rand(1, L).sort().values * 30
    rate = torch.full((H,), 0.3, requires_grad=True)
    if name == "causal, learned time decay":
        return {"mask": masks.Causal(), "bias": biases.TimeDecay(times, rate)}
    if name == "learned decay either way, exponential":
        return {"bias": biases.TimeDecay(times, rate)}
    if name == "learned decay either way, logarithmic":
        return {"bias": biases.TimeDecay(times, rate, "logarithmic")}
    if name == "relative + edges + decay, padding, dropout":
        edges = torch.randint(0, L, (2, 4 * L))
        bias = biases.Relative(torch.zeros(H, 65, requires_grad=True)) + biases.TimeDecay(times, rate)
        bias = bias + biases.EdgeBias(edges, torch.zeros(4 * L, H, requires_grad=True))
        lengths = torch.tensor([L - L // 16])
        return {"bias": bias, "mask": masks.Padding(lengths, lengths), "dropout_p": 0.1}
    return {}


CASES = {
    "causal, learned time decay": (1.15, 100),
    "learned decay either way, exponential": (1.5, 150),
    "learned decay either way, logarithmic": (1.5, 150),
    "relative + edges + decay, padding, dropout": (2.2, 200),
}
"""Case -> the ratio and the megabytes that are aimed at, for a length of 4096."""


def ours(qkv: Inputs, arguments: dict) -> None:
    """One training step of ours."""
    core.attend(*qkv, **arguments).sum().backward()


def plain(qkv: Inputs, causal: bool) -> None:
    """One training step of torch's attention without a bias."""
    F.scaled_dot_product_attention(*qkv, is_causal=causal).sum().backward()


def seconds(f: Callable[[], None]) -> float:
    """How long a call takes."""
    start = time.perf_counter()
    f()
    return time.perf_counter() - start


def ratio(name: str, L: int, rounds: int) -> tuple[float, float, float]:
    """Median seconds of ours and of torch's, and the median of their ratios."""
    qkv, arguments = inputs(L), structure(name, L)
    pair = (lambda: ours(qkv, arguments), lambda: plain(qkv, name.startswith("causal")))
    for f in pair:
        f()
    rows = [[seconds(f) for f in pair] for _ in range(rounds)]
    a, b = zip(*rows, strict=True)
    return statistics.median(a), statistics.median(b), statistics.median(x / y for x, y in rows)


def peak(name: str, L: int, threads: int) -> float:
    """Megabytes that a step adds at its peak, in a fresh process."""
    command = [sys.executable, __file__, "--threads", str(threads), "--length", str(L), "--memory-of", name]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def memory_of(name: str, L: int) -> float:
    """Run one step and answer the growth of the peak in megabytes."""

    def status(key: str) -> int:
        with open("/proc/self/status") as file:
            return int(next(line for line in file if line.startswith(key)).split()[1])

    ours(inputs(128), structure(name, 128))
    qkv, arguments = inputs(L), structure(name, L)
    before = status("VmRSS")
    ours(qkv, arguments)
    return (status("VmHWM") - before) * 1024 / 1e6


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--length", type=int, default=4096)
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    L = arguments.length
    if arguments.memory_of:
        print(memory_of(arguments.memory_of, L))
        return
    setting = f"{platform.machine()}, {arguments.threads} threads, L {L}, {arguments.rounds} rounds"
    print(f"torch {torch.__version__}, {setting}")
    print("\n| work | backend | ours, s | torch, s | ratio | peak MB | aimed at |\n|---|---|---|---|---|---|---|")
    for name, (bar, megabytes) in CASES.items():
        backend = core.plan(*inputs(L), **structure(name, L)).backend
        mine, theirs, median = ratio(name, L, arguments.rounds)
        used = peak(name, L, arguments.threads) if sys.platform == "linux" else float("nan")
        print(
            f"| {name} | {backend} | {mine:.2f} | {theirs:.2f} | {median:.2f} | {used:.0f} | {bar} x, {megabytes} MB |",
            flush=True,
        )


if __name__ == "__main__":
    main()
