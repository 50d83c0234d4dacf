"""Local attention: windows, dilation and global tokens, their cost by length and their reach by depth.

    window       -64 <= j - i <= 64
    causal       -128 <= j - i <= 0
    dilated      every fourth token from -128 to 128
    with global  the window, and 8 tokens that see all and are seen by all

Three things are measured. `core.attend` under each mask equals dense attention with the mask as a tensor, outputs and
gradients. A training step costs time in proportion to the length: the ratio of 32768 to 8192 tokens is at most 4.4,
where quadratic cost would be 16. And stacked in an encoder, n layers of a window reach n windows far, no less and no
more: beyond, the gradient is exactly 0.

    python demos/core_local_attention.py [--fast] [--out FOLDER]

References:
    Beltagy, Peters, Cohan: Longformer. arXiv 2004.05150, section 3.1.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F

import core
from core import masks
from core.analysis.figures import new_figure
from core.analysis.heads import DistanceGradient, gradient_by_distance

HEADS, HEAD_DIM = 2, 32
GLOBALS = torch.arange(8)
BOUND = 4.4  # on the ratio of times at four times the length
CASES: dict[str, masks.Mask] = {
    "window": masks.Window(64, 64),
    "causal": masks.Window(128, 0),
    "dilated": masks.Dilated(32, 32, 4),
    "with global": masks.Window(64, 64) | masks.Global(GLOBALS),
}
SMALL: dict[str, tuple[masks.Mask, int, int]] = {
    "window": (masks.Window(6, 6), 6, 6),
    "causal": (masks.Window(8, 0), 8, 0),
    "dilated": (masks.Dilated(2, 2, 4), 8, 8),
    "with global": (masks.Window(6, 6) | masks.Global(torch.tensor([0])), 6, 6),
}
"""The same in small, with how many tokens back and ahead a layer sees besides the global one."""


def backend_of(mask: masks.Mask | None, L: int) -> str:
    """The backend that "auto" takes for a training step."""
    q = torch.empty(1, HEADS, L, HEAD_DIM, requires_grad=True)
    return core.plan(q, q, q, mask=mask).backend


def error(mask: masks.Mask, L: int, backend: str) -> float:
    """Largest difference of a backend from dense attention in float64, over outputs and gradients."""
    generator = torch.Generator().manual_seed(0)
    drawn = [torch.randn(1, HEADS, L, HEAD_DIM, generator=generator, dtype=torch.float64) for _ in range(4)]
    weight = drawn.pop()
    answers = []
    for dense in (False, True):
        q, k, v = (x.clone().requires_grad_() for x in drawn)
        if dense:
            out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask.materialize(1, HEADS, L, L))
        else:
            out = core.attend(q, k, v, mask=mask, backend=backend)
        answers.append([out, *torch.autograd.grad((out * weight).sum(), (q, k, v))])
    return max((a - b).abs().max().item() for a, b in zip(*answers, strict=True))


def step_of(mask: masks.Mask | None, L: int) -> Callable[[], None]:
    """A forward and backward pass of attention."""
    q, k, v = (torch.randn(1, HEADS, L, HEAD_DIM, requires_grad=True) for _ in range(3))
    return lambda: core.attend(q, k, v, mask=mask).sum().backward()


def times(mask: masks.Mask | None, lengths: list[int], rounds: int) -> list[list[float]]:
    """CPU seconds by round and length: the lengths take turns."""
    steps = [step_of(mask, L) for L in lengths]
    for step in steps:
        step()
    rows = []
    for _ in range(rounds):
        row = []
        for step in steps:
            start = time.process_time()
            step()
            row.append(time.process_time() - start)
        rows.append(row)
    return rows


def reach(mask: masks.Mask, depth: int, L: int) -> DistanceGradient:
    """Gradient of an encoder's middle output by distance, in float64."""
    torch.manual_seed(0)
    encoder = core.Encoder(16, depth, 2).double()
    x = torch.randn(16, L, 16, dtype=torch.float64)
    return gradient_by_distance(lambda z: encoder(z, mask=mask), x, position=L // 2)


def expected_reach(name: str, depth: int, L: int) -> tuple[int, int]:
    """Depth times the window; with a global token everything from the second layer on, and its own place in one."""
    _, back, ahead = SMALL[name]
    back, ahead = depth * back, depth * ahead
    if name == "with global":
        return L // 2, (ahead if depth == 1 else L - 1 - L // 2)
    return back, ahead


def plot(
    lengths: list[int],
    seconds: dict[str, list[float]],
    fields: dict[tuple[str, int], DistanceGradient],
    path: Path,
) -> None:
    """The patterns, the time by length, the reach by depth."""
    figure = new_figure(12, 8)
    top, bottom = figure.subfigures(2, 1, height_ratios=(0.75, 1))
    for axis, (name, (mask, _, _)) in zip(top.subplots(1, len(SMALL)), SMALL.items(), strict=True):
        axis.imshow(mask.materialize(1, 1, 40, 40)[0, 0], cmap="Blues", vmax=1.3)
        axis.set(title=name, xlabel="key j", ylabel="query i")
    top.suptitle("who sees whom (the patterns in small)")
    left, right = bottom.subplots(1, 2)
    for name, values in seconds.items():
        used = [(L, value) for L, value in zip(lengths, values, strict=True) if value == value]
        left.plot(*zip(*used, strict=True), marker="o", label=name, linestyle="--" if name == "full" else "-")
    first = seconds["window"][0]
    left.plot(lengths, [0.7 * first * L / lengths[0] for L in lengths], ":", color="grey", label="proportional to L")
    left.set(xscale="log", yscale="log", xlabel="length L", ylabel="CPU time of a training step (s)")
    left.set_xticks(lengths, [str(L) for L in lengths])
    left.minorticks_off()
    left.set_title(f"{HEADS} heads of {HEAD_DIM}, one thread")
    left.legend(fontsize=9)
    left.grid(alpha=0.3)
    depths = sorted({depth for _, depth in fields})
    back = SMALL["causal"][1]
    for depth in depths:
        field = fields["causal", depth]
        shown = field.norm > 0
        right.plot(
            field.distance[shown],
            field.norm[shown],
            marker=".",
            color=f"C{depth}",
            label=f"{depth} layers" if depth > 1 else "1 layer",
        )
        right.axvline(depth * back, color=f"C{depth}", linestyle=":", linewidth=1)
    right.set(yscale="log", xlabel="distance into the past (tokens)", ylabel="gradient norm of the output")
    right.set_title(f"causal window of {back}: reach by depth, dotted: depth x {back}")
    right.legend(fontsize=9)
    right.grid(alpha=0.3)
    figure.savefig(path, dpi=130)


def main() -> None:
    """Compare, time, measure the reach, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fast", action="store_true", help="short sequences: shows that it runs, not how it scales")
    parser.add_argument("--out", type=Path, default=Path("runs/core_local_attention"), help="folder of the picture")
    arguments = parser.parse_args()
    lengths, rounds, depths, dense, widest = [4096, 8192, 16384, 32768], 5, [1, 2, 3, 4], 1024, 8192
    if arguments.fast:
        lengths, rounds, depths, dense, widest = [4096, 8192, 16384], 1, [1, 2], 512, 4096
    torch.set_num_threads(1)
    print(f"attention-suite {core.__version__}, torch {torch.__version__}, 1 thread, seed 0, {rounds} round(s)")
    start = time.perf_counter()

    print(f"\nlargest difference from dense attention, outputs and gradients, float64, L = {dense}")
    for name, mask in CASES.items():
        backend = backend_of(mask, lengths[-1])
        found = error(mask, dense, backend)
        print(f"  {name}: {found:.1e} ({backend}, as at L = {lengths[-1]})")
        if found > 1e-10:
            raise RuntimeError(f"{name}: {found:.1e} from dense attention, expected at most 1e-10")

    print(
        f"\nCPU seconds of a training step, median of interleaved rounds; the ratio is {lengths[-1]} to {lengths[-3]}"
    )
    print("| mask | backend | " + " | ".join(map(str, lengths)) + " | ratio (bound) |\n|" + "---|" * (len(lengths) + 3))
    seconds: dict[str, list[float]] = {}
    for name, mask in [*CASES.items(), ("full", None)]:
        used = lengths if mask is not None else [L for L in lengths if L <= widest]
        rows = times(mask, used, rounds)
        seconds[name] = [statistics.median(column) for column in zip(*rows, strict=True)]
        seconds[name] += [float("nan")] * (len(lengths) - len(used))
        cells = " | ".join(f"{value:.3g}" if value == value else "-" for value in seconds[name])
        said = f"{statistics.median(row[-1] / row[-3] for row in rows):.2f} ({BOUND})" if mask is not None else "-"
        backends = ", ".join(dict.fromkeys(backend_of(mask, L) for L in used))
        print(f"| {name} | {backends} | {cells} | {said} |", flush=True)

    L = 2 * max(depths) * max(back for _, back, _ in SMALL.values()) + 21
    print(f"\nreach of the middle output, back and ahead (predicted), L = {L}, float64")
    print(
        "| mask, a layer sees | "
        + " | ".join(f"{depth} layer(s)" for depth in depths)
        + " |\n|"
        + "---|" * (len(depths) + 1)
    )
    fields: dict[tuple[str, int], DistanceGradient] = {}
    for name, (mask, back, ahead) in SMALL.items():
        cells = []
        for depth in depths:
            fields[name, depth] = reach(mask, depth, L)
            found, predicted = fields[name, depth].reach, expected_reach(name, depth, L)
            if found != predicted:
                raise RuntimeError(f"{name}, depth {depth}: the gradient reaches {found}, expected {predicted}")
            cells.append(f"{found[0]}, {found[1]} ({predicted[0]}, {predicted[1]})")
        print(f"| {name}, {back} back, {ahead} ahead | " + " | ".join(cells) + " |")

    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / "local_attention.png"
    plot(lengths, seconds, fields, path)
    print(f"\nsaved {path}; {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
