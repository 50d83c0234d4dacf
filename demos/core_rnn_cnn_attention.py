"""Recurrence, convolution, attention: path length, sequential operations, time and memory against length.

Six causal layers of one width map (1, L, 64) to the same: torch's LSTM and GRU, a stack of dilated convolutions that
doubles its reach with each layer until it covers the sequence, one convolution layer, and core's attention with 4
heads, full and in a window of 128. For each:

- the path: layers, or steps, that a signal takes from the first position to the last, stated, and the reach of the last
  output measured by its gradient, which is exactly 0 beyond it;
- the operations that must run one after the other, whatever runs in parallel (matrix products and activations along the
  longest chain, for one layer of attention: project, score, softmax, average, project);
- CPU seconds of one thread and memory of a forward and backward pass, and where two layers cross.

    python demos/core_rnn_cnn_attention.py [--fast] [--out FOLDER]        (memory: Linux)

References:
    Vaswani et al.: Attention is all you need. NeurIPS 2017, table 1.
"""

import argparse
import math
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import core
from core import masks
from core.analysis.figures import new_figure
from core.analysis.heads import gradient_by_distance

WIDTH, HEADS, KERNEL, WINDOW = 64, 4, 3, 128
CHECKED = 256  # length at which the reach is measured
WINDOW_CHECKED = 32  # the window there, so that it does not cover the sequence


class Recurrent(nn.Module):
    """One layer of torch's LSTM or GRU."""

    def __init__(self, cell: type[nn.LSTM] | type[nn.GRU]) -> None:
        super().__init__()
        self.cell = cell(WIDTH, WIDTH, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """States: (B, L, width) -> (B, L, width)."""
        return self.cell(x)[0]


class Convolutions(nn.Module):
    """Causal convolutions of 3 with dilations 1, 2, 4, ...; `layers` of them."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv1d(WIDTH, WIDTH, KERNEL, dilation=2**n) for n in range(layers))

    def forward(self, x: Tensor) -> Tensor:
        """Apply the stack: (B, L, width) -> (B, L, width)."""
        x = x.transpose(1, 2)
        for layer in self.layers:
            x = x + F.gelu(layer(F.pad(x, ((KERNEL - 1) * layer.dilation[0], 0))))
        return x.transpose(1, 2)


class Attention(nn.Module):
    """One layer of core's attention under a mask."""

    def __init__(self, mask: masks.Mask) -> None:
        super().__init__()
        self.attention, self.mask = core.MultiheadAttention(WIDTH, HEADS), mask

    def forward(self, x: Tensor) -> Tensor:
        """Attend: (B, L, width) -> (B, L, width)."""
        return self.attention(x, mask=self.mask)


def layers_to_cover(L: int) -> int:
    """Dilated layers until 1 + 2 (2^n - 1) >= L."""
    return max(1, math.ceil(math.log2((L + 1) / 2)))


def build(name: str, L: int, window: int = WINDOW) -> nn.Module:
    """The layer called `name`, for sequences of L."""
    torch.manual_seed(0)
    made: dict[str, Callable[[], nn.Module]] = {
        "LSTM": lambda: Recurrent(nn.LSTM),
        "GRU": lambda: Recurrent(nn.GRU),
        "convolution, 1 layer": lambda: Convolutions(1),
        "dilated convolutions": lambda: Convolutions(layers_to_cover(L)),
        "attention, full": lambda: Attention(masks.Causal()),
        "attention, window": lambda: Attention(masks.Window(window - 1, 0)),
    }
    return made[name]()


MODELS = ("LSTM", "GRU", "convolution, 1 layer", "dilated convolutions", "attention, full", "attention, window")


def path(name: str, L: int, window: int) -> str:
    """Steps or layers from the first position to the last."""
    if name in ("LSTM", "GRU"):
        return f"{L} steps"
    if name == "dilated convolutions":
        return f"{layers_to_cover(L)} layers"
    if name == "attention, full":
        return "1 layer"
    per_layer = KERNEL - 1 if name.startswith("convolution") else window - 1
    return f"{math.ceil((L - 1) / per_layer)} layers"


def sequential(name: str, L: int) -> int:
    """Operations that wait for one another; a recurrent step is a product and an activation."""
    if name in ("LSTM", "GRU"):
        return 2 * L
    if "convolution" in name:
        return 2 * (1 if name.endswith("1 layer") else layers_to_cover(L))
    return 5


def predicted_reach(name: str, L: int, window: int) -> int:
    """Positions back that one layer, or the stack, sees."""
    if name.startswith("convolution"):
        return KERNEL - 1
    return window - 1 if name.endswith("window") else L - 1


def measured_reach(name: str, L: int, window: int) -> int:
    """The same from the gradient of the last output, in float64."""
    model = build(name, L, window).double()
    x = torch.randn(1, L, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return gradient_by_distance(model, x, probes=2, generator=torch.Generator().manual_seed(1)).reach[0]


def step_of(name: str, L: int) -> Callable[[], None]:
    """A forward and backward pass."""
    model = build(name, L)
    x = torch.randn(1, L, WIDTH, requires_grad=True)

    def step() -> None:
        model.zero_grad()
        x.grad = None
        model(x).sum().backward()

    return step


def times(L: int, rounds: int) -> dict[str, list[float]]:
    """CPU seconds of each model in each round; the models take turns."""
    steps = {name: step_of(name, L) for name in MODELS}
    for step in steps.values():
        step()
    seconds: dict[str, list[float]] = {name: [] for name in MODELS}
    for _ in range(rounds):
        for name, step in steps.items():
            start = time.process_time()
            step()
            seconds[name].append(time.process_time() - start)
    return seconds


def memory(job: tuple[str, int]) -> float:
    """Megabytes by which the peak of this process grows in a pass (Linux)."""

    def status(key: str) -> int:
        with open("/proc/self/status") as file:
            return int(next(line for line in file if line.startswith(key)).split()[1])

    torch.set_num_threads(1)
    step_of(job[0], 64)()
    step = step_of(*job)
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # begin the peak anew
    before = status("VmRSS")
    step()
    return (status("VmHWM") - before) * 1024 / 1e6


def crossing(lengths: list[int], ours: list[float], theirs: list[float]) -> float | None:
    """The last length at which two curves cross, from straight lines between the points on log axes."""
    ratio = [math.log(a / b) for a, b in zip(ours, theirs, strict=True)]
    for n in reversed(range(len(lengths) - 1)):
        if ratio[n] * ratio[n + 1] < 0:
            share = ratio[n] / (ratio[n] - ratio[n + 1])
            return lengths[n] * (lengths[n + 1] / lengths[n]) ** share
    return None


def print_table(title: str, lengths: list[int], rows: dict[str, list[float]], digits: str) -> None:
    """Values by length, with the power of the length between the last two."""
    print(f"\n{title}\n| layer | " + " | ".join(map(str, lengths)) + " | exponent |\n|" + "---|" * (len(lengths) + 2))
    for name, values in rows.items():
        slope = math.log(values[-1] / values[-2]) / math.log(lengths[-1] / lengths[-2])
        print(f"| {name} | " + " | ".join(f"{value:{digits}}" for value in values) + f" | {slope:.2f} |")


def plot(lengths: list[int], panels: dict[str, dict[str, list[float]]], path: Path) -> None:
    """One panel each for what was measured."""
    figure = new_figure(4.6 * len(panels), 4.2)
    axes = figure.subplots(1, len(panels))
    markers = dict(zip(MODELS, "os^Dv*", strict=True))
    for axis, (title, rows) in zip(axes, panels.items(), strict=True):
        for name, values in rows.items():
            axis.plot(lengths, values, marker=markers[name], label=name, linewidth=1.2, markersize=5)
        axis.set(xscale="log", yscale="log", xlabel="length L", ylabel=title)
        axis.set_xticks(lengths, [str(L) for L in lengths], fontsize=8)
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=8)
    figure.suptitle(f"One layer of {WIDTH} features, batch 1, one CPU thread, forward and backward")
    figure.savefig(path, dpi=130)


def main() -> None:
    """Measure, print the tables, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fast", action="store_true", help="short sequences, one round")
    parser.add_argument("--out", type=Path, default=Path("runs/core_rnn_cnn_attention"), help="folder of the picture")
    arguments = parser.parse_args()
    lengths, rounds = ([128, 256], 1) if arguments.fast else ([2**n for n in range(7, 14)], 5)
    torch.set_num_threads(1)
    print(
        f"attention-suite {core.__version__}, torch {torch.__version__}, 1 thread, float32, seed 0, {rounds} round(s)"
    )
    start = time.perf_counter()
    longest = lengths[-1]
    print(
        f"\nreach measured at L = {CHECKED}, window {WINDOW_CHECKED}; path and sequential operations at L = {longest}"
    )
    print("| layer | reach stated | reach measured | path | sequential operations |\n|---|---|---|---|---|")
    for name in MODELS:
        stated, found = (f(name, CHECKED, WINDOW_CHECKED) for f in (predicted_reach, measured_reach))
        if stated != found:
            raise RuntimeError(f"{name}: the gradient reaches {found} positions back, expected {stated}")
        print(f"| {name} | {stated} | {found} | {path(name, longest, WINDOW)} | {sequential(name, longest)} |")
    seconds: dict[str, list[float]] = {name: [] for name in MODELS}
    for L in lengths:
        for name, values in times(L, rounds).items():
            seconds[name].append(statistics.median(values))
    print_table(
        "CPU milliseconds of one thread, medians of interleaved rounds",
        lengths,
        {n: [1e3 * s for s in v] for n, v in seconds.items()},
        ".3g",
    )
    panels = {
        "sequential operations": {name: [float(sequential(name, L)) for L in lengths] for name in MODELS},
        "CPU time (s)": seconds,
    }
    if sys.platform == "linux":
        context = multiprocessing.get_context("forkserver")  # each measurement has a process of its own
        context.set_forkserver_preload(["torch", "core"])
        jobs = [(name, L) for name in MODELS for L in lengths]
        with ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=1) as pool:
            found = dict(zip(jobs, pool.map(memory, jobs), strict=True))
        megabytes = {name: [max(found[name, L], 1e-2) for L in lengths] for name in MODELS}
        print_table("megabytes that the peak grows by", lengths, megabytes, ".3g")
        panels["memory (MB)"] = megabytes
    print("\nwhere the time of full attention crosses that of")
    for name in MODELS:
        if name != "attention, full":
            place = crossing(lengths, seconds["attention, full"], seconds[name])
            slower = seconds["attention, full"][-1] > seconds[name][-1]
            said = f"L = {place:.0f}" if place else f"nowhere in {lengths[0]}..{longest}"
            print(f"  {name}: {said}; at L = {longest} full attention is {'slower' if slower else 'faster'}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    picture = arguments.out / "rnn_cnn_attention.png"
    plot(lengths, panels, picture)
    print(f"\nsaved {picture}; {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
