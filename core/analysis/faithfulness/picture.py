"""The picture of a `FaithfulnessReport`: rank correlations, deletion and insertion, tests of the weights."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from ..figures.figure import new_figure
from .measured import Measured
from .verdict import AGREEMENT, FREE_DIVERGENCE, OUTPUT_CHANGE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = {
    "attention": "C3",
    "rollout": "C1",
    "gradient x input": "C0",
    "integrated gradients": "C2",
    "leave-one-out": "black",
    "random": "grey",
}
LIMIT = 0.693
"""ln 2, the largest Jensen-Shannon divergence, in nats."""


def faithfulness_figure(report: Measured, title: str | None = None) -> Figure:
    """Four panels: rank correlation with leave-one-out, deletion, insertion, and what changing the weights does.

    Args:
        report: what `faithfulness` answered.
        title: stands above. Default: layer, items and the verdict.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure = new_figure(11, 9)
    axes = figure.subplots(2, 2)
    _agreements(axes[0, 0], report)
    _tests(axes[0, 1], report)
    _curves(axes[1, 0], report, "deletion")
    _curves(axes[1, 1], report, "insertion")
    if title is None:
        title = f"layer {report.layer}, {report.items} items, baseline: {report.baseline}. {report.verdict}"
    figure.suptitle(textwrap.fill(title, 110), fontsize=11)
    return figure


def _agreements(axis: Any, report: Measured) -> None:
    """Kendall's tau of every method, with its interval."""
    methods = [a.method for a in report.agreements]
    taus = [a.tau for a in report.agreements]
    errors = [[t.mean - t.low for t in taus], [t.high - t.mean for t in taus]]
    axis.bar(methods, [t.mean for t in taus], yerr=errors, capsize=4, color=[COLOURS[m] for m in methods], alpha=0.85)
    axis.axhline(0, color="black", linewidth=0.8)
    axis.axhline(AGREEMENT, color="black", linestyle="--", linewidth=1, label=f"needed: {AGREEMENT}")
    axis.set_xticks(range(len(methods)), [m.replace(" ", "\n", 1) for m in methods])
    lowest = min([-0.15, *(t.low - 0.1 for t in taus if t.low == t.low)])
    axis.set(ylabel="Kendall's tau (mean over items, 95% CI)", ylim=(max(-1.05, lowest), 1.05))
    axis.set_title("Rank correlation with leave-one-out")
    axis.legend(loc="upper left", fontsize=9)


def _tests(axis: Any, report: Measured) -> None:
    """Change of output under other weights, and how far other weights with the same output are."""
    rows = [
        ("output, weights\npermuted", report.permuted, OUTPUT_CHANGE, "C0"),
        ("output, weights\nuniform", report.uniform, OUTPUT_CHANGE, "C0"),
        ("attention, other\nwith same output", report.adversary, FREE_DIVERGENCE, "C3"),
    ]
    if report.seeds is not None:
        rows.append((f"attention, {report.seed_models}\nother seed(s)", report.seeds, FREE_DIVERGENCE, "C3"))
    beside = axis.get_yaxis_transform()  # x in shares of the panel, y in rows
    for place, (_, value, rule, colour) in enumerate(rows):
        errors = [[value.mean - value.low], [value.high - value.mean]]
        axis.barh(place, value.mean, xerr=errors, capsize=4, color=colour, alpha=0.85)
        axis.plot([rule, rule], [place - 0.45, place + 0.45], color="black", linestyle="--", linewidth=1.5)
        sign = "≥" if rule == OUTPUT_CHANGE else "≤"
        axis.text(0.98, place, f"needed: {sign} {rule:g}", va="center", ha="right", fontsize=9, transform=beside)
    axis.axvline(LIMIT, color="C3", linestyle=":", linewidth=1)
    axis.text(LIMIT + 0.01, -0.66, "ln 2: largest JS", color="C3", va="top", fontsize=9)
    axis.set_yticks(range(len(rows)), [label for label, *_ in rows])
    axis.set(xlim=(0, 1.5), ylim=(len(rows) - 0.4, -0.75), xticks=[0, 0.2, 0.4, 0.6, 0.8, 1.0])
    axis.set_xlabel("change of output: total variation (blue)\nchange of attention: JS divergence, nats (red)")
    axis.set_title("Does the output depend on the weights?")


def _curves(axis: Any, report: Measured, which: str) -> None:
    """One of the two curves, for every order."""
    for curve in report.curves:
        auc = curve.deletion_auc if which == "deletion" else curve.insertion_auc
        values = curve.deletion if which == "deletion" else curve.insertion
        thick = 2.4 if curve.method == "attention" else 1.4
        style = "--" if curve.method in ("random", "leave-one-out") else "-"
        name = f"{curve.method} ({report.random_orders} orders)" if curve.method == "random" else curve.method
        axis.plot(
            curve.fractions,
            values,
            style,
            color=COLOURS[curve.method],
            linewidth=thick,
            label=f"{name}, AUC {auc.mean:.2f}",
        )
    better, verb = ("low", "removed") if which == "deletion" else ("high", "inserted")
    axis.set(xlabel=f"fraction of units {verb}, most important first", ylabel="target (mean over items)", xlim=(0, 1))
    axis.set_title(f"{which.capitalize()} ({better} is good)")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, frameon=False)
