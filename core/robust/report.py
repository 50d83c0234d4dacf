"""What an audit found."""

from __future__ import annotations

from dataclasses import dataclass

HIJACKED = 0.99
"""Share of a query's attention above which a key has taken it over."""

TOLERANCE = 1e-4
"""By how much rounding may lift a measured weight above its bound."""


@dataclass(frozen=True)
class Finding:
    """One head under attack with one norm; the worst over the directions tried.

    Attributes:
        level: "key" or "input".
        layer: Name of the layer in the model; attend[n] for a call of `attend` outside core's layers.
        head: Query head.
        factor: Norm of the injected key over the median norm of the head's clean keys; at the input, norm of what is
            written over the median norm of what stood there.
        clean: Attention that the key gets without attack, mean over items and the queries that see it.
        captured: The same under attack.
        peak: The largest over items and queries.
        bound: The most that the defences of the layer allow on any of these queries; None where nothing bounds it.
        assumes_queries: Whether the bound rests on the norms that queries had, as they are not limited.
        change: Change of the model's output over its norm, mean over the items; at key level with this layer alone
            attacked.
    """

    level: str
    layer: str
    head: int
    factor: float
    clean: float
    captured: float
    peak: float
    bound: float | None
    assumes_queries: bool
    change: float


@dataclass(frozen=True)
class Audit:
    """All findings of `audit`; printing it shows a table and the verdict.

    Attributes:
        findings: One for each level, layer, head and norm.
        excess: The largest difference between a measured weight and its bound, over all queries that have one; above 0
            by rounding at most. None where no layer has a bound.
        unaudited: Calls of attention whose keys could not be replaced; they were attacked through the input alone.
    """

    findings: tuple[Finding, ...]
    excess: float | None
    unaudited: tuple[str, ...] = ()

    def select(self, level: str | None = None, layer: str | None = None, factor: float | None = None) -> list[Finding]:
        """The findings of a level, a layer and a factor; None stands for all."""
        asked = {"level": level, "layer": layer, "factor": factor}
        return [f for f in self.findings if all(v is None or getattr(f, k) == v for k, v in asked.items())]

    def captured(self, level: str = "key", factor: float | None = None) -> float:
        """Mean captured attention of the worst head; 0 where nothing was found."""
        return max((f.captured for f in self.select(level, factor=factor)), default=0.0)

    @property
    def bound(self) -> float | None:
        """The largest bound; None if a head has none, or some attention was not audited."""
        bounds = [f.bound for f in self.findings]
        if self.unaudited or not bounds or any(b is None for b in bounds):
            return None
        return max(b for b in bounds if b is not None)

    @property
    def hijackable(self) -> bool:
        """Whether an injected key took over a query of some head."""
        return any(f.peak > HIJACKED for f in self.findings)

    @property
    def passed(self) -> bool:
        """Whether every head has a bound, kept it, and no query was taken over."""
        return self.bound is not None and not self.hijackable and (self.excess or 0.0) <= TOLERANCE

    @property
    def verdict(self) -> str:
        """One sentence."""
        if not self.findings:
            return "nothing audited: no attention was found"
        if self.excess is not None and self.excess > TOLERANCE:
            return f"VIOLATED: a key took {self.excess:.3g} more than its bound allows; the derivation does not apply"
        worst = max(self.findings, key=lambda f: (f.captured, f.peak))
        got = (
            f"{worst.layer or '(model)'}, head {worst.head}, {worst.level} level, {worst.factor:g} x the clean norm: "
            f"{worst.captured:.3f} on average, {max(f.peak for f in self.findings):.3f} of one query"
        )
        if self.hijackable:
            return f"HIJACKABLE: one key takes over attention ({got})"
        if self.bound is None:
            return f"NOT BOUNDED: no key took over, but nothing rules it out ({got})"
        condition = " no longer than these" if any(f.assumes_queries for f in self.findings) else ""
        return f"BOUNDED: no key can take more than {self.bound:.3f} of the attention of a query{condition} ({got})"

    def __str__(self) -> str:
        factors = sorted({f.factor for f in self.findings})
        head = ("level", "layer", "head", "clean", *(f"{r:g} x" for r in factors), "peak", "bound", "output change")
        rows = [head]
        for level, layer in dict.fromkeys((f.level, f.layer) for f in self.findings):
            group = self.select(level, layer)
            worst = max(group, key=lambda f: (f.captured, f.peak)).head
            found = {f.factor: f for f in group if f.head == worst}
            bounds = [f.bound for f in group]
            bound = "none" if any(b is None for b in bounds) else f"{max(b for b in bounds if b is not None):.3f}"
            captured = [f"{found[r].captured:.3f}" for r in factors]
            peak = f"{max(f.peak for f in group):.3f}"
            change = f"{max(f.change for f in group):.2g}"
            clean = f"{next(iter(found.values())).clean:.3f}"
            rows.append((level, layer or "(model)", str(worst), clean, *captured, peak, bound, change))
        widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
        lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
        lines.append("attention that one key takes, by its norm: worst head of the layer, mean over items and queries;")
        lines.append("peak and bound: the largest of the layer over heads, items and queries")
        if self.unaudited:
            lines.append(f"keys not attacked (attention outside core.MultiheadAttention): {', '.join(self.unaudited)}")
        return "\n".join([*lines, self.verdict])
