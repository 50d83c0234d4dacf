"""Measure how fast each way through a backend is, and hold the plan's choices against the clock.

    python benchmarks/calibrate.py [--threads 2] [--rounds 3] [--write]

Training steps of `core.attend` in float32 over lengths, batches and head sizes. For each route the model,

    seconds = call + flops * flop + cells * cell + entries * entry

is fitted to the relative error by non-negative least squares. `--write` puts the rates into core/engine/rates.py. Then,
on problems that the fit has not seen, the time of what "auto" takes is divided by that of the fastest backend.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import nnls

import core
from core import biases, masks
from core.backends import BACKENDS
from core.engine import RATES, Cost, Rates

PAGE = Path(core.__file__).parent / "engine" / "rates.py"
Problem = tuple[tuple[torch.Tensor, ...], dict[str, Any]]


def qkv(B: int, H: int, L: int, D: int) -> tuple[torch.Tensor, ...]:
    """Queries, keys and values that require grad."""
    return tuple(torch.randn(B, H, L, D, requires_grad=True) for _ in range(3))


def structures(B: int, L: int, H: int) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """A route, its backend, and the arguments of `attend` that take it."""
    slopes = torch.full((H,), 0.1, requires_grad=True)
    near, near_by_item = (masks.Neighbours(torch.randint(0, L, (*items, L, 16))) for items in ((), (B,)))
    window = masks.Window(32, 32)
    yield "fused", "fused", {}
    yield "fused with a dense mask", "fused", {"mask": window}
    yield "fused with a dense mask", "fused", {"mask": near_by_item}
    yield "fused by torch's math", "fused", {"bias": biases.Alibi(slopes)}
    yield "reference", "reference", {"bias": biases.Alibi(slopes)}
    yield "reference", "reference", {"mask": near_by_item}
    yield "gathered", "gathered", {"mask": near_by_item}
    yield "gathered", "gathered", {"mask": near, "bias": biases.Alibi(slopes)}
    yield "banded", "banded", {"mask": window}
    yield "banded by tiles", "banded", {"mask": window, "bias": biases.Alibi(slopes)}
    yield "tiled", "tiled", {"bias": biases.Alibi(slopes)}


def unseen(L: int, H: int) -> dict[str, dict[str, Any]]:
    """Problems that the rates are not fitted to."""
    rate = torch.full((H,), 0.1, requires_grad=True)
    times = torch.rand(1, L) * 30
    edges = torch.randint(0, L, (2, 8 * L))
    return {
        "window 64": {"mask": masks.Window(64, 64)},
        "window 64, learned decay": {"mask": masks.Window(64, 64), "bias": biases.TimeDecay(times, rate)},
        "8 edges a node": {"mask": masks.Edges(edges)},
        "learned decay": {"bias": biases.TimeDecay(times, rate)},
        "entropy": {"need": ("entropy",)},
        "dropout": {"dropout_p": 0.1},
    }


def step(inputs: tuple[torch.Tensor, ...], backend: str, arguments: dict[str, Any]) -> None:
    """One training step."""
    out = core.attend(*inputs, backend=backend, **arguments)
    (out if isinstance(out, torch.Tensor) else out.out).sum().backward()


def seconds(f: Callable[[], None], rounds: int) -> float:
    """Median time of a call, after one to warm up."""
    f()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        f()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def sizes() -> Iterator[tuple[int, int, int, int]]:
    """(B, H, L, D) of the problems that are fitted to; many items where they are short."""
    for L in (32, 128, 512, 1024, 2048):
        for D in (8, 64):
            yield from ((B, 4, L, D) for B in ((1, 64) if L <= 128 else (1, 4) if L <= 512 else (1,)))


def measure(rounds: int) -> dict[str, list[tuple[Cost, float]]]:
    """Cost and time of every route at every size."""
    found: dict[str, list[tuple[Cost, float]]] = {}
    for B, H, L, D in sizes():
        inputs = qkv(B, H, L, D)
        for route, backend, arguments in structures(B, L, H):
            plan = core.plan(*inputs, backend=backend, **arguments)
            cost = next(c.cost for c in plan.candidates if c.backend == backend)
            if cost.route != route:
                raise RuntimeError(f"expected the route {route!r}, got {cost.route!r}: the list here is out of date")
            found.setdefault(route, []).append((cost, seconds(lambda: step(inputs, backend, arguments), rounds)))  # noqa: B023
    return found


def fit(points: list[tuple[Cost, float]]) -> tuple[Rates, float]:
    """Rates that make the squared relative error least, and the median relative error that is left."""
    rows = np.array([[1.0, cost.flops, cost.cells, cost.entries] for cost, _ in points])
    clock = np.array([time for _, time in points])
    scale = np.maximum(rows.max(axis=0), 1.0)
    answer, _ = nnls(rows / scale / clock[:, None], np.ones(len(clock)))
    answer = answer / scale
    return Rates(*map(float, answer)), float(np.median(np.abs(rows @ answer / clock - 1)))


def write(found: dict[str, Rates]) -> None:
    """Put the rates into core/engine/rates.py; what stands above them and routes that were not measured stay."""
    head = PAGE.read_text(encoding="utf-8").split("RATES = {")[0]
    every = RATES | found
    lines = [
        f'    "{k}": Rates(call={r.call:.2e}, flop={r.flop:.2e}, cell={r.cell:.2e}, entry={r.entry:.2e}),\n'
        for k, r in every.items()
    ]
    PAGE.write_text(f"{head}RATES = {{\n{''.join(lines)}}}\n", encoding="utf-8")


def regret(rounds: int) -> None:
    """Print, for problems not fitted to, what "auto" takes beside what is fastest."""
    print("\n| problem | B, H, L, D | auto takes | fastest | auto's time / fastest's |\n|---|---|---|---|---|")
    for B, H, L, D in ((1, 8, 1024, 32), (1, 4, 256, 32), (16, 4, 64, 32)):
        inputs = qkv(B, H, L, D)
        for name, arguments in unseen(L, H).items():
            if name == "learned decay" and B > 1:
                continue  # its times are of one item
            given = dict(arguments)
            if B > 1 and isinstance(given.get("bias"), biases.TimeDecay):
                given["bias"] = biases.TimeDecay(given["bias"].times.expand(B, -1), given["bias"].rate)
            plan = core.plan(*inputs, **given)
            able = [c.backend for c in plan.candidates if not c.reasons]
            clock = {b: seconds(lambda: step(inputs, b, given), rounds) for b in able}  # noqa: B023
            best = min(clock, key=lambda b: clock[b])
            ratio = clock[plan.backend] / clock[best]
            print(f"| {name} | {B}, {H}, {L}, {D} | {plan.backend} | {best} | {ratio:.2f} |", flush=True)


def main() -> None:
    """Measure, fit, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="put the rates into core/engine/rates.py")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    print(f"{arguments.threads} threads, {arguments.rounds} rounds")
    print("\n| route | seconds a call | a GFLOP | a million logits | a million entries of a mask | median error |")
    print("|---|---|---|---|---|---|")
    found = {}
    for route, points in measure(arguments.rounds).items():
        found[route], error = fit(points)
        call, flop, cell, entry = found[route]
        numbers = f"{call:.2e} | {flop * 1e9:.2e} | {cell * 1e6:.2e} | {entry * 1e6:.2e}"
        print(f"| {route} | {numbers} | {error:.0%} |", flush=True)
    if arguments.write:
        write(found)
    RATES.update(found)
    regret(arguments.rounds)
    unknown = {b.NAME for b in BACKENDS.values()} - {route.split(" ")[0] for route in found} - {"flex"}
    if unknown:
        raise SystemExit(f"not calibrated: {', '.join(sorted(unknown))}")


if __name__ == "__main__":
    main()
