"""Attention over neighbours and edges, beside torch's dense attention and PyTorch Geometric's.

    python benchmarks/pairs.py [--threads 2] [--rounds 5] [--nodes 8192] [--clock wall]

One training step (forward and backward), float32. The contestants take turns in one process; a ratio is the median,
over the rounds, of their time over ours. Exits with 1 if a bar is missed. On a busy machine, threads that wait for one
another are most of what a clock on the wall sees: `--threads 1 --clock cpu` counts what this process computes.

- A point cloud: 16 nearest neighbours, batch 1, 8 heads of 64, learned decay with distance. Torch's dense attention
  gets the same pairs as a boolean mask and no bias. TransformerConv gets the same edges and no bias either; against it
  the projections of queries, keys and values count on both sides.
- Small graphs: 64 of 64 nodes with 9 edges a node, 4 heads of 8, projections included; as one batch of graphs there and
  as (64, 4, 64, 8) with `Edges(batch=...)` here. Backend "auto", and each one that could serve.
- Memory: growth of the peak over the inputs in a fresh process, for so many points and four times as many.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import core
from core import biases, masks

H, D, NEAREST = 8, 64, 16
GRAPHS, NODES, DEGREE, SMALL_H, SMALL_D = 64, 64, 9, 4, 8
DENSE_BAR, CONV_BAR, SMALL_BAR, MEMORY_BAR = 8.0, 1.5, 1.5, 4.4
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
CLOCK = time.perf_counter
Step = Callable[[], None]


def seconds(step: Step) -> float:
    """How long a step takes."""
    start = CLOCK()
    step()
    return CLOCK() - start


def race(steps: dict[str, Step], rounds: int) -> dict[str, list[float]]:
    """Seconds of each contestant in each round, after one round to warm up."""
    rows = [{name: seconds(step) for name, step in steps.items()} for _ in range(rounds + 1)]
    return {name: [row[name] for row in rows[1:]] for name in steps}


def ratio(theirs: list[float], ours: list[float]) -> float:
    """Median of the ratios."""
    return statistics.median(a / b for a, b in zip(theirs, ours, strict=True))


class Projections(nn.Module):
    """Queries, keys and values from (batch, nodes, width), as TransformerConv has them."""

    def __init__(self, heads: int, head_size: int):
        super().__init__()
        self.heads = heads
        self.layers = nn.ModuleList(nn.Linear(heads * head_size, heads * head_size) for _ in range(3))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Answer three of (batch, heads, nodes, head size)."""
        return [layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for layer in self.layers]


def point_cloud(N: int, rounds: int) -> tuple[dict[str, list[float]], str]:
    """Time the steps on a point cloud of N points."""
    from torch_geometric.nn import TransformerConv

    positions = torch.rand(1, N, 3)
    mask = masks.Neighbours.from_positions(positions, NEAREST)
    rate = torch.full((H,), 0.5, requires_grad=True)
    bias = biases.DistanceDecay(positions, rate)
    edges = torch.stack([mask.index.flatten(), torch.arange(N).repeat_interleave(NEAREST)])
    dense = mask.materialize(1, H, N, N)
    q, k, v = (torch.randn(1, H, N, D, requires_grad=True) for _ in range(3))
    x = torch.randn(1, N, H * D, requires_grad=True)
    project, conv = Projections(H, D), TransformerConv(H * D, D, heads=H, root_weight=False)
    steps: dict[str, Step] = {
        "ours": lambda: core.attend(q, k, v, mask=mask, bias=bias).sum().backward(),
        "ours, projections included": lambda: core.attend(*project(x), mask=mask, bias=bias).sum().backward(),
        "TransformerConv": lambda: conv(x[0], edges).sum().backward(),
        "dense": lambda: F.scaled_dot_product_attention(q, k, v, attn_mask=dense).sum().backward(),
    }
    return race(steps, rounds), core.plan(q, k, v, mask=mask, bias=bias).backend


def small_graphs(rounds: int) -> tuple[dict[str, list[float]], str]:
    """Time the steps on a batch of small graphs."""
    from torch_geometric.nn import TransformerConv

    query = torch.arange(NODES).repeat_interleave(DEGREE).repeat(GRAPHS)
    key = torch.rand(GRAPHS, NODES, NODES).argsort(dim=-1)[..., :DEGREE].flatten()
    item = torch.arange(GRAPHS).repeat_interleave(NODES * DEGREE)
    mask = masks.Edges(torch.stack([key, query]), item)
    edges = torch.stack([key, query]) + item * NODES
    x = torch.randn(GRAPHS, NODES, SMALL_H * SMALL_D, requires_grad=True)
    project = Projections(SMALL_H, SMALL_D)
    conv = TransformerConv(SMALL_H * SMALL_D, SMALL_D, heads=SMALL_H, root_weight=False)

    def ours(backend: str) -> Step:
        return lambda: core.attend(*project(x), mask=mask, backend=backend).sum().backward()

    steps = {name: ours(name) for name in ("auto", "gathered", "fused")}
    steps["TransformerConv"] = lambda: conv(x.flatten(0, 1), edges).sum().backward()
    return race(steps, rounds), core.plan(*project(x), mask=mask).backend


def peak(N: int, threads: int) -> float:
    """Megabytes that a step on N points adds at its peak, in a fresh process."""
    command = [sys.executable, __file__, "--threads", str(threads), "--memory-of", str(N)]
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}  # what is freed goes back to the system
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return float(done.stdout)


def memory_of(N: int) -> float:
    """Run one step on N points with random neighbours and answer the growth of the peak in megabytes."""

    def status(key: str) -> int:
        with open("/proc/self/status") as file:
            return int(next(line for line in file if line.startswith(key)).split()[1])

    def step(N: int) -> Step:
        mask, rate = masks.Neighbours(torch.randint(0, N, (N, NEAREST))), torch.full((H,), 0.5, requires_grad=True)
        q, k, v = (torch.randn(1, H, N, D, requires_grad=True) for _ in range(3))
        bias = biases.DistanceDecay(torch.rand(1, N, 3), rate)
        return lambda: core.attend(q, k, v, mask=mask, bias=bias, backend="gathered").sum().backward()

    step(100)()
    ready = step(N)
    before = status("VmRSS")
    ready()
    return (status("VmHWM") - before) * 1024 / 1e6


def main() -> None:
    """Measure and print the tables."""
    global CLOCK
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--nodes", type=int, default=8192)
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall")
    parser.add_argument("--memory-of", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    CLOCK = CLOCKS[arguments.clock]
    if arguments.memory_of:
        print(memory_of(arguments.memory_of))
        return
    import torch_geometric

    N, rounds, missed = arguments.nodes, arguments.rounds, False
    print(f"torch {torch.__version__}, torch_geometric {torch_geometric.__version__}, {platform.machine()}, ", end="")
    print(f"{arguments.threads} threads, {arguments.clock} clock, {rounds} rounds, seed 0")
    print("\n| work | backend | ours, ms | against | theirs, ms | theirs / ours | bar |\n|---|---|---|---|---|---|---|")

    def row(work: str, backend: str, ours: list[float], other: str, theirs: list[float], bar: float | None) -> bool:
        found = ratio(theirs, ours)
        numbers = f"{statistics.median(ours) * 1e3:.1f} | {other} | {statistics.median(theirs) * 1e3:.1f}"
        print(f"| {work} | {backend} | {numbers} | {found:.1f} | {bar or '-'} |", flush=True)
        return bar is not None and found < bar

    times, backend = point_cloud(N, rounds)
    work = f"{NEAREST} nearest of {N}"
    missed |= row(work, backend, times["ours"], "SDPA, boolean mask", times["dense"], DENSE_BAR)
    with_projections = times["ours, projections included"]
    missed |= row(
        f"{work}, projections", backend, with_projections, "TransformerConv", times["TransformerConv"], CONV_BAR
    )
    times, backend = small_graphs(4 * rounds)
    work, theirs = f"{GRAPHS} graphs of {NODES}, projections", times["TransformerConv"]
    missed |= row(work, f"auto: {backend}", times["auto"], "TransformerConv", theirs, SMALL_BAR)
    for name in ("gathered", "fused"):
        row(work, name, times[name], "TransformerConv", theirs, None)
    if sys.platform == "linux":
        small, large = (peak(n, arguments.threads) for n in (N, 4 * N))
        growth = large / small
        print("\n| points | peak MB |\n|---|---|")
        print(f"| {N} | {small:.0f} |\n| {4 * N} | {large:.0f} |")
        print(f"\nFour times the pairs take {growth:.2f} times the memory; bar {MEMORY_BAR}.")
        missed |= growth > MEMORY_BAR
    if missed:
        print("\nA bar is missed.")
        sys.exit(1)


if __name__ == "__main__":
    main()
