"""A window of 128 keys on either side: time beside the package local-attention and beside its matrix products alone.

    pip install local-attention  # the peer; nothing else of the suite needs it
    python benchmarks/window.py [--threads 2] [--rounds 5] [--lengths 8192 32768]

One training step (forward and backward), float32, batch 1, 8 heads of 64; no positions in either. All take turns in one
process, and ratios are medians over the rounds. "Products, same shapes" is the time of the seven batched matrix
products of a step at the shapes of our blocks, and "needed" the same less the pairs of a block outside of the window.
The other ways to compute the step show what the backend was chosen from.
"""

import argparse
import math
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

import core
from core import biases, masks
from core.backends.banded import band, banded, blocks

try:
    from local_attention import LocalAttention
except ImportError:
    LocalAttention = None

H, D, SIDE = 8, 64, 128
PEER, SCALING = 2.0, 4.4
"""How many times faster than the peer a step is to be, and how much longer at four times the length."""

Step = Callable[[], None]


def inputs(L: int) -> list[Tensor]:
    """Queries, keys and values, (1, H, L, D)."""
    return [torch.randn(1, H, L, D, requires_grad=True) for _ in range(3)]


def training(f: Callable[..., Tensor], qkv: list[Tensor]) -> Step:
    """Make a training step of an attention."""

    def step() -> None:
        for x in qkv:
            x.grad = None
        f(*qkv).sum().backward()

    return step


def ours(**arguments: object) -> Callable[..., Tensor]:
    """Our attention with a window."""
    return lambda q, k, v: core.attend(q, k, v, backend="banded", **{"mask": masks.Window(SIDE, SIDE), **arguments})


@contextmanager
def by_tiles(rows: int) -> Iterator[None]:
    """Let the tile engine do what the kernel would."""
    old = banded.kernel_can, band.TILE
    banded.kernel_can, band.TILE = (lambda p: False), band.TILE._replace(rows=rows)
    try:
        yield
    finally:
        banded.kernel_can, band.TILE = old


def tiled(rows: int) -> Callable[..., Tensor]:
    """Our attention by the tile engine, which reads the size of its tiles both forward and backward."""

    def f(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        with by_tiles(rows):
            return ours()(q, k, v)

    return f


def products(L: int, rows: int) -> Step:
    """The seven matrix products of a step, head by head over all blocks, into memory that is there already."""
    reach, n = rows + 2 * SIDE, L // rows
    a, b = torch.randn(H, L, D), torch.randn(H, L + 2 * SIDE, D)
    logits, by_query, by_key = torch.empty(n, rows, reach), torch.empty(n, rows, D), torch.empty(n, reach, D)

    def step() -> None:
        for head in range(H):
            x, y = a[head].view(n, rows, D), b[head].unfold(0, reach, rows).mT
            for _ in range(3):  # logits, forward and again backward; dO V^T
                torch.bmm(x, y.mT, out=logits)
            for _ in range(2):  # out, dq
                torch.bmm(logits, y, out=by_query)
            for _ in range(2):  # dk, dv
                torch.bmm(logits.mT, x, out=by_key)

    return step


def batched(L: int, rows: int, most: int = 12) -> Callable[..., Tensor]:
    """The same blocks by batched matrix products and torch's softmax, `most` blocks at a time; interior blocks only."""
    reach, n = rows + 2 * SIDE, L // rows
    offset = torch.arange(reach) - SIDE - torch.arange(rows)[:, None]
    mask = torch.where(offset.abs() <= SIDE, 0.0, -torch.inf)

    def windows(x: Tensor, head: int) -> Tensor:
        return torch.nn.functional.pad(x[0, head], (0, 0, SIDE, SIDE)).unfold(0, reach, rows).mT

    class Batched(torch.autograd.Function):
        @staticmethod
        def forward(ctx, q, k, v):
            out = torch.empty_like(q)
            for head in range(H):
                x, y, z = q[0, head].view(n, rows, D), windows(k, head), windows(v, head)
                for s in range(0, n, most):
                    some = slice(s, s + most)
                    weights = torch.softmax(torch.baddbmm(mask, x[some], y[some].mT, alpha=D**-0.5), dim=-1)
                    torch.bmm(weights, z[some], out=out[0, head].view(n, rows, D)[some])
            ctx.save_for_backward(q, k, v)
            return out

        @staticmethod
        def backward(ctx, d_out):
            q, k, v = ctx.saved_tensors
            d_out = d_out.contiguous()
            dq = torch.empty_like(q)
            dk, dv = (torch.zeros(H, L + 2 * SIDE, D) for _ in range(2))
            for head in range(H):
                x, y, z = q[0, head].view(n, rows, D), windows(k, head), windows(v, head)
                g = d_out[0, head].view(n, rows, D)
                for s in range(0, n, most):
                    some = slice(s, s + most)
                    weights = torch.softmax(torch.baddbmm(mask, x[some], y[some].mT, alpha=D**-0.5), dim=-1)
                    d = torch.bmm(g[some], z[some].mT)
                    d = torch._softmax_backward_data(d, weights, -1, torch.float32).mul_(D**-0.5)
                    torch.bmm(d, y[some], out=dq[0, head].view(n, rows, D)[some])
                    for total, w, t in ((dv, weights, g), (dk, d, x)):
                        piece = torch.bmm(w.mT, t[some])
                        for c in range(0, reach, rows):
                            place = total[head, s * rows + c : (s + len(piece)) * rows + c]
                            place.view(len(piece), rows, D).add_(piece[:, c : c + rows])
            return dq, dk[None, :, SIDE:-SIDE], dv[None, :, SIDE:-SIDE]

    return Batched.apply


def interleaved(steps: dict[str, Step], rounds: int) -> dict[str, list[float]]:
    """Seconds of each step, in turns, after one turn to warm up."""
    found: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(rounds + 1):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if turn:
                found[name].append(time.perf_counter() - start)
    return found


def ratio(a: list[float], b: list[float]) -> float:
    """Median of the ratios within a round."""
    return statistics.median(x / y for x, y in zip(a, b, strict=True))


def main() -> int:
    """Measure, print the tables, and answer 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--lengths", type=int, nargs="+", default=[8192, 32768])
    arguments = parser.parse_args()
    if LocalAttention is None:
        print("local-attention is missing: pip install local-attention")
        return 1
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    peer = LocalAttention(
        window_size=SIDE,
        causal=False,
        look_backward=1,
        look_forward=1,
        exact_windowsize=True,
        use_rotary_pos_emb=False,
    )
    rows = blocks.ROWS
    needed = (2 * SIDE + 1) / (2 * SIDE + rows)
    print(f"torch {torch.__version__}, {platform.machine()}, {arguments.threads} threads, {arguments.rounds} rounds\n")
    qkv = {L: inputs(L) for L in arguments.lengths}
    steps = {(L, "ours"): training(ours(), qkv[L]) for L in qkv}
    steps |= {(L, "peer"): training(peer, qkv[L]) for L in qkv}
    steps |= {(L, "products"): products(L, rows) for L in qkv}
    seconds = interleaved({f"{L} {name}": step for (L, name), step in steps.items()}, arguments.rounds)
    met = True
    print("| length | ours, s | local-attention, s | times faster | products, s | ours over these | over needed |")
    print("|---|---|---|---|---|---|---|")
    for L in qkv:
        mine, theirs, bound = (seconds[f"{L} {name}"] for name in ("ours", "peer", "products"))
        faster, over = ratio(theirs, mine), ratio(mine, bound)
        met &= faster >= PEER
        medians = [statistics.median(x) for x in (mine, theirs, bound)]
        print(
            f"| {L} | {medians[0]:.3f} | {medians[1]:.3f} | {faster:.2f} | {medians[2]:.3f} "
            f"| {over:.2f} ({1 / over:.0%} of the peak) | {over / needed:.2f} ({needed / over:.0%}) |"
        )
    short, long = min(qkv), max(qkv)
    growth = ratio(seconds[f"{long} ours"], seconds[f"{short} ours"])
    exponent = math.log(growth) / math.log(long / short) if long > short else 1.0
    met &= growth <= SCALING * long / short / 4
    print(f"\nTime at {long} over time at {short}: {growth:.2f}, an exponent of {exponent:.2f}.\n")

    slopes = torch.full((H,), 0.01, requires_grad=True)
    everyone = masks.Window(SIDE, SIDE) | masks.Global(torch.arange(4))
    others = {
        f"the kernel on blocks of {rows} (ours)": ours(),
        f"batched products on blocks of {rows}": batched(short, rows),
        f"tile engine, {rows} rows": tiled(rows),
        "tile engine, 256 rows": tiled(256),
        "ours, dilated in steps of 4": ours(mask=masks.Dilated(SIDE, SIDE, 4)),
        "ours, 4 global positions": ours(mask=everyone),
        "ours, learned slopes": ours(bias=biases.Alibi(slopes)),
        "ours, learned slopes, 4 global positions": ours(bias=biases.Alibi(slopes), mask=everyone),
        "ours, dropout": ours(dropout_p=0.1),
    }
    turns = interleaved({name: training(f, qkv[short]) for name, f in others.items()}, arguments.rounds)
    first = next(iter(turns.values()))
    print(f"| at length {short} | s | over the first |\n|---|---|---|")
    for name, found in turns.items():
        print(f"| {name} | {statistics.median(found):.3f} | {ratio(found, first):.2f} |")
    bars = f"Bars: {PEER:.0f} times faster than local-attention; {SCALING} times the time at 4 times the length"
    print(f"\n{bars}: {'met' if met else 'missed'}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
