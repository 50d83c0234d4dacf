"""Time and memory of attention with structure, beside torch's plain attention.

    python benchmarks/engine.py [--threads 2] [--rounds 5] [--length 4096] [--only "entropy"]

float32, 8 heads of 64, batch 1 unless said. A step is forward and backward of `core.attend` with "auto"; its peer is
scaled_dot_product_attention without bias, statistic or dropout, of the same shape, causal where ours is. The two take
turns in one process, and the ratio is the median of the ratios. Memory is the growth of the peak over the inputs, in a
fresh process. Exits with a status other than 0 if a bar is missed.
"""

import argparse
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

import core
from core import biases, masks

Inputs = tuple[Tensor, ...]


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Attributes:
        structure: Length -> the arguments of `attend`.
        bar: The ratio to torch's time that is aimed at; None where torch has nothing to compare.
        megabytes: The memory that is aimed at; None where it is not measured.
        causal: Whether the peer is causal.
        shape: Batch, heads and length; a length of 0 is the one of the command line.
        backward: Whether the step trains.
        rounds: Rounds at least.
    """

    structure: Callable[[int], dict[str, Any]]
    bar: float | None
    megabytes: float | None
    causal: bool = False
    shape: tuple[int, int, int] = (1, 8, 0)
    backward: bool = True
    rounds: int = 1


def decay(L: int, H: int = 8, kernel: biases.Kernel = "exponential") -> biases.Bias:
    """A time decay with a rate to learn for each head, over times in order."""
    return biases.TimeDecay(torch.rand(1, L).sort().values * 30, torch.full((H,), 0.3, requires_grad=True), kernel)


def everything(L: int) -> dict[str, Any]:
    """A table of relative positions, edges and a decay, all learned, with padding and dropout."""
    edges = torch.randint(0, L, (2, 4 * L))
    bias = biases.Relative(torch.zeros(8, 65, requires_grad=True)) + decay(L)
    bias = bias + biases.EdgeBias(edges, torch.zeros(4 * L, 8, requires_grad=True))
    lengths = torch.tensor([L - L // 16])
    return {"bias": bias, "mask": masks.Padding(lengths, lengths), "dropout_p": 0.1}


CASES = {
    "P1 causal, learned time decay": Case(lambda L: {"mask": masks.Causal(), "bias": decay(L)}, 1.15, 100, causal=True),
    "P2 learned decay either way, exponential": Case(lambda L: {"bias": decay(L)}, 1.5, 150),
    "P2 learned decay either way, logarithmic": Case(lambda L: {"bias": decay(L, kernel="logarithmic")}, 1.5, 150),
    "P3 relative + edges + decay, padding, dropout": Case(everything, 2.2, 200),
    "P7 entropy of every row, forward": Case(lambda L: {"need": ("entropy",)}, 2.2, None, backward=False),
    "P8 one head, L 32768, learned decay": Case(lambda L: {"bias": decay(L, 1)}, None, 1000, shape=(1, 1, 32768)),
    "P9 batch 64, L 64, no structure": Case(lambda L: {}, 1.1, None, shape=(64, 8, 64), rounds=31),
    "P9 batch 64, L 128, no structure": Case(lambda L: {}, 1.1, None, shape=(64, 8, 128), rounds=31),
    "P9 batch 64, L 256, no structure": Case(lambda L: {}, 1.1, None, shape=(64, 8, 256), rounds=15),
}
"""What is measured, in the order of the table."""


def inputs(case: Case, L: int) -> Inputs:
    """Queries, keys and values, (B, H, L, 64)."""
    B, H, own = case.shape
    return tuple(torch.randn(B, H, own or L, 64, requires_grad=case.backward) for _ in range(3))


def finish(out: Tensor | core.AttentionOutput, case: Case) -> None:
    """Go backward, if the case trains."""
    if case.backward:
        (out if isinstance(out, Tensor) else out.out).sum().backward()


def ours(case: Case, qkv: Inputs, arguments: dict[str, Any]) -> None:
    """One step of ours."""
    finish(core.attend(*qkv, **arguments), case)


def plain(case: Case, qkv: Inputs) -> None:
    """One step of torch's attention without a bias."""
    finish(F.scaled_dot_product_attention(*qkv, is_causal=case.causal), case)


def seconds(f: Callable[[], None]) -> float:
    """How long a call takes."""
    start = time.perf_counter()
    f()
    return time.perf_counter() - start


def ratio(case: Case, L: int, rounds: int) -> tuple[float, float, float]:
    """Median seconds of ours and of torch's, and the median of their ratios."""
    qkv, arguments = inputs(case, L), case.structure(case.shape[2] or L)
    pair = (lambda: ours(case, qkv, arguments), lambda: plain(case, qkv))
    for f in pair:
        f()
    rows = [[seconds(f) for f in pair] for _ in range(max(rounds, case.rounds))]
    a, b = zip(*rows, strict=True)
    return statistics.median(a), statistics.median(b), statistics.median(x / y for x, y in rows)


def peak(name: str, L: int, threads: int) -> float:
    """Megabytes that a step adds at its peak, in a fresh process."""
    command = [sys.executable, __file__, "--threads", str(threads), "--length", str(L), "--memory-of", name]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def memory_of(case: Case, L: int) -> float:
    """Run one step and answer the growth of the peak in megabytes."""

    def status(key: str) -> int:
        with open("/proc/self/status") as file:
            return int(next(line for line in file if line.startswith(key)).split()[1])

    small = Case(case.structure, None, None, case.causal, (*case.shape[:2], 128), case.backward)
    ours(small, inputs(small, 128), small.structure(128))
    qkv, arguments = inputs(case, L), case.structure(case.shape[2] or L)
    before = status("VmRSS")
    ours(case, qkv, arguments)
    return (status("VmHWM") - before) * 1024 / 1e6


def row(name: str, case: Case, L: int, rounds: int, threads: int) -> tuple[str, bool]:
    """Measure one case; answer its line of the table and whether it meets its bars."""
    backend = core.plan(*inputs(case, L), **case.structure(case.shape[2] or L)).backend
    aims, met, cells = [], True, []
    if case.bar is None:
        qkv, arguments = inputs(case, L), case.structure(case.shape[2] or L)
        cells = [f"{seconds(lambda: ours(case, qkv, arguments)):.2f}", "-", "-"]
    else:
        mine, theirs, median = ratio(case, L, rounds)
        cells = [f"{mine:.3g}", f"{theirs:.3g}", f"{median:.2f}"]
        aims.append(f"{case.bar} x")
        met = median <= case.bar
    used = "-"
    if case.megabytes is not None and sys.platform == "linux":
        megabytes = peak(name, L, threads)
        used, met = f"{megabytes:.0f}", met and megabytes <= case.megabytes
    if case.megabytes is not None:
        aims.append(f"{case.megabytes} MB")
    cells = [name, backend, *cells, used, ", ".join(aims), "yes" if met else "**no**"]
    return f"| {' | '.join(cells)} |", met


def main() -> int:
    """Measure and print the table; answer 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--length", type=int, default=4096)
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    L = arguments.length
    if arguments.memory_of:
        print(memory_of(CASES[arguments.memory_of], L))
        return 0
    setting = f"{platform.machine()}, {arguments.threads} threads, L {L}, {arguments.rounds} rounds or more"
    print(f"torch {torch.__version__}, {setting}")
    print(f"\n| work | backend | ours, s | torch, s | ratio | peak MB | aimed at | met |\n{'|---' * 8}|")
    all_met = True
    for name, case in CASES.items():
        if arguments.only in name:
            line, met = row(name, case, L, arguments.rounds, arguments.threads)
            print(line, flush=True)
            all_met = all_met and met
    print(f"\nOne matrix of weights of P8 would be {32768**2 * 4 / 1e6:.0f} MB; torch's dense route holds several.")
    return 0 if all_met else 1


if __name__ == "__main__":
    sys.exit(main())
