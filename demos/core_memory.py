"""Memory of a training step against length, for every mask and every bias, and with activation checkpointing.

Each measurement is the growth of a fresh process's peak memory over its inputs, in one forward and backward pass:
`core.attend` as "auto" runs it, beside the dense route, torch's scaled_dot_product_attention with the same mask or bias
as a tensor (which requires grad where the bias learns). A power of the length is fitted to each: about 1 is O(L d),
about 2 is O(L^2). `Dense` hands over a tensor of L^2 numbers to begin with; learning them takes as many again.

The second part trains an encoder with and without activation checkpointing, at several depths.

    python demos/core_memory.py [--fast] [--out FOLDER]        (needs Linux: the peak is read from /proc)
"""

import argparse
import math
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

import core
from core import biases, masks
from core.analysis.figures import new_figure

HEADS, HEAD_DIM, DEGREE = 2, 32, 8
DIM, ENCODER_LENGTH, ENCODER_HEADS = 64, 2048, 4
Arguments = dict[str, masks.Mask | biases.Bias]


def number(*shape: int) -> Tensor:
    """Small numbers that are learned."""
    return (0.1 * torch.randn(*shape)).requires_grad_()


def edges(L: int) -> Tensor:
    """Random edges, DEGREE for each query."""
    return torch.stack([torch.randint(L, (DEGREE * L,)), torch.arange(L).repeat_interleave(DEGREE)])


def times(L: int) -> Tensor:
    """Irregular times in order, one apart on average."""
    return (torch.rand(1, L) * L).sort().values


STRUCTURES: dict[str, Callable[[int], Arguments]] = {
    "no mask": lambda L: {},
    "Padding": lambda L: {"mask": masks.Padding(torch.tensor([L - L // 8]))},
    "Causal": lambda L: {"mask": masks.Causal()},
    "Window": lambda L: {"mask": masks.Window(64, 64)},
    "Dilated": lambda L: {"mask": masks.Dilated(32, 32, 4)},
    "Global": lambda L: {"mask": masks.Global(torch.arange(8))},
    "Window or Global": lambda L: {"mask": masks.Window(64, 64) | masks.Global(torch.arange(8))},
    "Causal & Padding": lambda L: {"mask": masks.Causal() & masks.Padding(torch.tensor([L - L // 8]))},
    "~Window": lambda L: {"mask": ~masks.Window(64, 64)},
    "NotAfter": lambda L: {"mask": masks.NotAfter(times(L).floor())},
    "Neighbours": lambda L: {"mask": masks.Neighbours(torch.randint(L, (L, DEGREE)))},
    "Edges": lambda L: {"mask": masks.Edges(edges(L))},
    "Segments": lambda L: {"mask": masks.Segments(torch.arange(L)[None] // 256)},
    "Dense mask": lambda L: {"mask": masks.Dense(torch.rand(1, 1, L, L) < 0.5)},
    "TimeDecay": lambda L: {"bias": biases.TimeDecay(times(L), number(HEADS).detach().abs().requires_grad_())},
    "TimeDecay, logarithmic": lambda L: {"bias": biases.TimeDecay(times(L), number(HEADS), "logarithmic")},
    "TimeDecay, causal": lambda L: {
        "bias": biases.TimeDecay(times(L), number(HEADS).detach().abs().requires_grad_()),
        "mask": masks.Causal(),
    },
    "DistanceDecay": lambda L: {"bias": biases.DistanceDecay(torch.rand(1, L, 2), number(HEADS))},
    "Alibi": lambda L: {"bias": biases.Alibi(number(HEADS))},
    "Relative": lambda L: {"bias": biases.Relative(number(HEADS, 129))},
    "EdgeBias": lambda L: {"bias": biases.EdgeBias(edges(L), number(DEGREE * L, HEADS))},
    "KeyBias": lambda L: {"bias": biases.KeyBias(number(1, L))},
    "Alibi + Relative": lambda L: {"bias": biases.Alibi(number(HEADS)) + biases.Relative(number(HEADS, 129))},
    "Dense bias": lambda L: {"bias": biases.Dense(number(1, 1, L, L))},
}


def check_that_all_are_here() -> None:
    """Every mask and bias that can be made is part of a structure above."""
    seen = set()
    for make in STRUCTURES.values():
        for value in make(32).values():
            stack = [value]
            while stack:
                part = stack.pop()
                seen.add(type(part))
                stack += part.nodes()
    bases = {masks.Mask, masks.PairMask, biases.Bias}
    classes = [getattr(package, name) for package in (masks, biases) for name in package.__all__]
    nodes = {c for c in classes if isinstance(c, type) and issubclass(c, masks.Mask | biases.Bias)} - bases
    if missing := nodes - seen:
        raise ValueError(f"STRUCTURES: expected every mask and bias, missing {sorted(c.__name__ for c in missing)}")


class Job(NamedTuple):
    """One measurement: a structure at a length, on a route; or an encoder of a depth, with or without checkpoints."""

    name: str
    size: int
    route: str


def status(key: str) -> int:
    """A line of the process's status, in bytes."""
    with open("/proc/self/status") as file:
        return int(next(line for line in file if line.startswith(key)).split()[1]) * 1024


def grown(step: Callable[[], object]) -> float:
    """Bytes by which the peak grows during a step."""
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # begin the peak anew, so that what building the inputs took does not count
    before = status("VmRSS")
    step()
    return float(status("VmHWM") - before)


def attention_step(job: Job, L: int) -> Callable[[], object]:
    """Forward and backward of one attention."""
    torch.manual_seed(0)
    q, k, v = (torch.randn(1, HEADS, L, HEAD_DIM, requires_grad=True) for _ in range(3))
    structure = STRUCTURES[job.name](L)
    if job.route == "auto":
        return lambda: core.attend(q, k, v, **structure).sum().backward()

    def dense() -> None:
        mask, bias = (
            node and node.materialize(1, HEADS, L, L) for node in (structure.get("mask"), structure.get("bias"))
        )
        if bias is not None and mask is not None:
            bias = bias.masked_fill(~mask, -torch.inf)
        given = mask if bias is None else bias
        if given is None:
            given = torch.zeros(1, 1, L, L)  # a dense route adds something dense
        F.scaled_dot_product_attention(q, k, v, attn_mask=given.expand(1, -1, L, L)).sum().backward()

    return dense


def encoder_step(job: Job, depth: int, length: int) -> Callable[[], object]:
    """Forward and backward of an encoder."""
    torch.manual_seed(0)
    encoder = core.Encoder(DIM, depth, ENCODER_HEADS, checkpoint=job.route == "checkpoint")
    x = torch.randn(1, length, DIM, requires_grad=True)
    return lambda: encoder(x, mask=masks.Causal()).sum().backward()


def measure(job: Job) -> tuple[float, str]:
    """Megabytes of a step, and the backend that the plan names."""
    torch.set_num_threads(1)
    if job.name == "encoder":
        encoder_step(job, 1, 64)()
        return grown(encoder_step(job, job.size, ENCODER_LENGTH)) / 1e6, ""
    attention_step(job, 256)()  # what the first call loads does not count
    q = torch.empty(1, HEADS, job.size, HEAD_DIM, requires_grad=True)
    backend = core.plan(q, q, q, **STRUCTURES[job.name](job.size)).backend if job.route == "auto" else "dense"
    return grown(attention_step(job, job.size)) / 1e6, backend


def exponent(lengths: list[int], values: list[float]) -> float:
    """Slope of the line through log(values) against log(lengths), by least squares."""
    x, y = ([math.log(value) for value in row] for row in (lengths, values))
    centre = sum(x) / len(x)
    return sum((a - centre) * b for a, b in zip(x, y, strict=True)) / sum((a - centre) ** 2 for a in x)


Curves = dict[tuple[str, str], list[float]]


def plot(curves: Curves, lengths: dict[str, list[int]], depths: list[int], path: Path) -> None:
    """Memory by length, the fitted exponents, and memory by depth."""
    figure = new_figure(14, 5.4)
    left, middle, right = figure.subplots(1, 3, width_ratios=(1, 1, 0.8))
    colours = {"auto": "C0", "dense": "C3"}
    names = {"auto": "core.attend", "dense": "dense tensor through SDPA"}
    for route, colour in colours.items():
        for name in STRUCTURES:
            style = "--" if name.startswith("Dense") else "-"
            label = names[route] if name == "no mask" else None
            left.plot(lengths[route], curves[name, route], style, color=colour, marker=".", alpha=0.6, label=label)
    left.plot([], [], "--", color="grey", label="given a Dense tensor")
    left.set(xscale="log", yscale="log", xlabel="length L", ylabel="peak memory of a training step (MB)")
    ticks = sorted({*lengths["auto"], *lengths["dense"]})
    left.set_xticks(ticks, [str(tick) for tick in ticks])
    left.minorticks_off()
    left.set_title(f"Every mask and bias, {HEADS} heads of {HEAD_DIM}")
    left.legend(fontsize=8)
    left.grid(alpha=0.3)
    for route, colour in colours.items():
        slopes = [exponent(lengths[route], curves[name, route]) for name in STRUCTURES]
        middle.plot(slopes, range(len(slopes)), "o", color=colour, label=names[route])
    middle.set_yticks(range(len(STRUCTURES)), list(STRUCTURES), fontsize=8)
    middle.invert_yaxis()
    middle.set(xlabel="fitted exponent of memory in L", xlim=(0, 2.5), title="1: linear, 2: quadratic")
    middle.grid(alpha=0.3)
    for route, marker in (("keep", "o"), ("checkpoint", "s")):
        label = "all activations kept" if route == "keep" else "checkpointed block by block"
        right.plot(depths, curves["encoder", route], marker=marker, label=label)
    right.set(xlabel="blocks", ylabel="peak memory of a training step (MB)", ylim=(0, None), xticks=depths)
    right.set_title(f"Encoder, {DIM} features, L = {ENCODER_LENGTH}")
    right.legend(fontsize=8)
    right.grid(alpha=0.3)
    figure.savefig(path, dpi=130)


def main() -> None:
    """Measure, print the tables, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--fast", action="store_true", help="short lengths: shows that it runs, too short for exponents"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/core_memory"), help="folder of the picture")
    arguments = parser.parse_args()
    lengths = {"auto": [4096, 6144, 8192], "dense": [1024, 2048, 4096]}
    depths = [2, 4, 8, 16]
    if arguments.fast:
        lengths, depths = {"auto": [512, 1024], "dense": [256, 512]}, [1, 2]
    print(f"attention-suite {core.__version__}, torch {torch.__version__}, 1 thread, float32, batch 1, seed 0")
    if sys.platform != "linux":
        print("skipped: reading and resetting the peak needs Linux's /proc")
        return
    check_that_all_are_here()
    start = time.perf_counter()
    jobs = [Job(name, L, route) for name in STRUCTURES for route in lengths for L in lengths[route]]
    jobs += [Job("encoder", depth, route) for route in ("keep", "checkpoint") for depth in depths]
    os.environ["MALLOC_MMAP_THRESHOLD_"] = "65536"  # glibc gives back at once what is freed: the peak is what is held
    context = multiprocessing.get_context("forkserver")  # each measurement has a process of its own, with torch loaded
    context.set_forkserver_preload(
        ["torch", "torch._dynamo", "core"]
    )  # the second takes 1 s, and some steps ask for it
    curves: Curves = {}
    backends: dict[str, str] = {}
    with ProcessPoolExecutor(2, mp_context=context, max_tasks_per_child=1) as pool:
        for job, (megabytes, backend) in zip(jobs, pool.map(measure, jobs), strict=True):
            curves.setdefault((job.name, job.route), []).append(megabytes)
            if job.route == "auto":
                backends[job.name] = backend
    first, last = lengths["auto"][0], lengths["auto"][-1]
    shared = lengths["dense"][-1]
    head = [f"backend at {last}", f"MB at {first}", f"MB at {last}", "exponent", f"dense, MB at {shared}", "exponent"]
    print("\n| structure | " + " | ".join(head) + " |")
    print("|" + "---|" * 7)
    for name in STRUCTURES:
        ours, dense = curves[name, "auto"], curves[name, "dense"]
        slopes = exponent(lengths["auto"], ours), exponent(lengths["dense"], dense)
        cells = f"{ours[0]:.1f} | {ours[-1]:.1f} | {slopes[0]:.2f} | {dense[-1]:.1f} | {slopes[1]:.2f}"
        print(f"| {name} | {backends[name]} | {cells} |")
    print(f"\n| blocks (L {ENCODER_LENGTH}) | all kept, MB | checkpointed, MB | ratio |\n|---|---|---|---|")
    for depth, kept, less in zip(depths, curves["encoder", "keep"], curves["encoder", "checkpoint"], strict=True):
        print(f"| {depth} | {kept:.1f} | {less:.1f} | {less / kept:.2f} |")
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / "memory.png"
    plot(curves, lengths, depths, path)
    print(f"\nsaved {path}; {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
