"""Which backend runs, why not the others, and what each would cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .backend import Backend
from .cost import Cost
from .problem import Problem

DENSE_BYTES = 1 << 27  # what a step may hold for the square of the length before "auto" looks for linear memory
FASTEST = ("fused",)  # where a kernel runs without a dense mask, nothing is faster: no need to ask the others


@dataclass(frozen=True)
class Candidate:
    """One backend in a plan: why it cannot serve (empty if it can) and what a training step would cost on it."""

    backend: str
    reasons: tuple[str, ...]
    cost: Cost


@dataclass(frozen=True)
class Plan:
    """Which backend runs, and why each other one does not.

    Printing it shows a table: floating-point operations, peak memory and, in milliseconds of the machine that
    `core.engine.RATES` was measured on, the time of one training step, forward and backward. A time after ~ is that of
    a route without measured rates, which counts as fast as the reference.
    """

    backend: str
    candidates: tuple[Candidate, ...]

    def __str__(self) -> str:
        rows = [("", "backend", "GFLOP", "ms", "peak MB", "memory", "cannot serve because")]
        for c in self.candidates:
            mark = "->" if c.backend == self.backend else ""
            numbers = (c.cost.flops / 1e9, c.cost.seconds * 1e3, c.cost.peak_bytes / 1e6)
            flops, time, peak = (f"{number:.3g}" for number in numbers)
            time = time if c.cost.is_measured else f"~{time}"
            rows.append((mark, c.backend, flops, time, peak, c.cost.memory, "; ".join(c.reasons) or "-"))
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
        if not all(c.cost.is_measured for c in self.candidates):
            lines.append("~ at the rates of the reference, as nobody has measured those of this backend")
        return "\n".join(lines)


def make_plan(problem: Problem, backend: str, backends: Mapping[str, Backend]) -> Plan:
    """Answer the plan of a problem; arguments and errors are those of `choose`."""
    chosen = choose(problem, backend, backends)
    candidates = tuple(
        Candidate(name, tuple(b.not_supported_reasons(problem)), b.cost(problem)) for name, b in backends.items()
    )
    return Plan(chosen, candidates)


def choose(problem: Problem, backend: str, backends: Mapping[str, Backend]) -> str:
    """Answer the name of the backend that is to run a problem.

    "auto" takes the one that costs the least time of those that can serve, without those that would hold much memory
    for the square of the length; the first where several cost the same.

    Args:
        problem: What is to be computed.
        backend: "auto" or a name.
        backends: Those there are, in the order of preference.

    Raises:
        ValueError: There is no backend of that name, or it cannot serve; the message says why.
    """
    if backend == "auto":
        costs: dict[str, Cost] = {}
        for name, candidate in backends.items():
            if not candidate.not_supported_reasons(problem):
                costs[name] = candidate.cost(problem)
                if costs[name].route in FASTEST:
                    return name
        light = [name for name, cost in costs.items() if cost.is_linear or cost.peak_bytes <= DENSE_BYTES]
        return min(light or costs, key=lambda name: costs[name].seconds)
    if backend not in backends:
        raise ValueError(f"backend: expected 'auto' or one of {', '.join(map(repr, backends))}, got {backend!r}")
    reasons = backends[backend].not_supported_reasons(problem)
    if reasons:
        raise ValueError(f"backend: expected one that can serve, got {backend!r}, which cannot: " + "; ".join(reasons))
    return backend
