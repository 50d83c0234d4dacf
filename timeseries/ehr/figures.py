"""Pictures of an evaluation and of a model: reliability, net benefit, half-lives, attention over a timeline."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from core.analysis.figures import new_figure

from ..probabilities.evaluation import DecisionCurve, reliability

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def reliability_figure(
    target: np.ndarray, probabilities: Mapping[str, np.ndarray], title: str, bins: int = 10
) -> "Figure":
    """Observed share against predicted probability, in bins of equal counts, with the distribution below.

    Args:
        target: 0 or 1.
        probabilities: Name of a model -> its probabilities.
        title: Stands above.
        bins: How many.

    Shapes:
        target and each of probabilities: (N,)
    """
    figure = new_figure(6.4, 7.2, part="timeseries.ehr.figures")
    axis, below = figure.subplots(2, 1, height_ratios=[3.2, 1], sharex=True)
    top = 0.0
    for k, (name, probability) in enumerate(probabilities.items()):
        groups = reliability(target, probability, bins)
        error = 1.96 * np.sqrt(groups.observed * (1 - groups.observed) / groups.count)
        style = {"color": f"C{k}", "marker": "os^Dv"[k % 5], "markersize": 5, "linewidth": 1.2, "capsize": 2}
        axis.errorbar(groups.predicted, groups.observed, yerr=error, label=name, **style)
        below.hist(probability, bins=np.linspace(0, 1, 51), histtype="step", color=f"C{k}", linewidth=1.3)
        top = max(top, float(groups.predicted.max()), float((groups.observed + error).max()))
    top = min(1.0, top + 0.05)
    axis.plot([0, top], [0, top], color="black", linestyle="--", linewidth=1, label="perfectly calibrated")
    axis.set(xlim=(0, top), ylim=(0, top), ylabel="observed share of outcomes", title=title)
    axis.legend(loc="upper left", frameon=False)
    axis.grid(alpha=0.3)
    below.set(xlabel="predicted probability", ylabel="samples", yscale="log")
    below.grid(alpha=0.3)
    return figure


def decision_figure(curves: Mapping[str, DecisionCurve], title: str) -> "Figure":
    """Net benefit against threshold, of each model, of treating all and of treating none."""
    figure = new_figure(7.2, 4.8, part="timeseries.ehr.figures")
    axis = figure.subplots()
    first = next(iter(curves.values()))
    for k, (name, curve) in enumerate(curves.items()):
        axis.plot(100 * curve.threshold, 1000 * curve.model, color=f"C{k}", label=name, linewidth=1.6)
    axis.plot(100 * first.threshold, 1000 * first.treat_all, color="grey", linestyle="--", label="treat all")
    axis.axhline(0, color="black", linewidth=1, linestyle=":", label="treat none")
    highest = max(float(curve.model.max()) for curve in curves.values())
    axis.set(
        xlabel="threshold probability (%)",
        ylabel="net benefit (true positives per 1,000 patients)",
        ylim=(-0.08 * 1000 * highest, 1.1 * 1000 * highest),
        title=title,
    )
    axis.legend(frameon=False)
    axis.grid(alpha=0.3)
    return figure


def half_life_figure(
    half_lives: Sequence[np.ndarray],
    start: Sequence[float] | None,
    title: str,
    planted: Sequence[float] | None = None,
    names: Sequence[str] | None = None,
    hours: float = 1.0,
) -> "Figure":
    """Half-life of every head, one point a seed, beside where it started.

    Args:
        half_lives: Of every seed, in hours.
        start: Of every head, in hours; None leaves it out.
        title: Stands above.
        planted: True half-life of every head, drawn as a line.
        names: Of the heads of one block; default: their numbers.
        hours: Of a unit of the axis: 1, 24 (days) or 8766 (years).

    Shapes:
        half_lives: (blocks, heads) each; start: (heads,)
    """
    unit = _unit(hours)
    values = np.stack([np.asarray(value) for value in half_lives]) / hours
    seeds, blocks, heads = values.shape
    figure = new_figure(1.2 * blocks * heads + 3.2, 4.6, part="timeseries.ehr.figures")
    from matplotlib.ticker import LogLocator, NullFormatter  # there: the figure is

    axis = figure.subplots()
    ticks = []
    for block in range(blocks):
        for head in range(heads):
            place = block * heads + head
            shift = np.linspace(-0.16, 0.16, seeds) if seeds > 1 else np.zeros(1)
            mine = values[:, block, head]
            last = place == blocks * heads - 1
            axis.scatter(
                place + shift, mine, color=f"C{block}", s=26, zorder=3, label=f"learned, {seeds} seed(s)" * last
            )
            if start is not None:
                style = {"color": "black", "linestyle": "--", "linewidth": 1.2}
                level = [start[head] / hours] * 2
                axis.plot([place - 0.3, place + 0.3], level, label="where it started" * last, **style)
            spread = f" ± {mine.std(ddof=1):.2g}" if seeds > 1 else ""
            name = f"block {block + 1}\nhead {head + 1}" if names is None else names[head]
            ticks.append(f"{name}\n{mine.mean():.3g}{spread} {'h' if hours == 1 else unit}")
    for k, value in enumerate([] if planted is None else planted):
        axis.plot(
            [k - 0.3, k + 0.3], [value / hours] * 2, color="C3", linewidth=1.5, label="planted" if k == 0 else None
        )
    axis.set_xticks(range(len(ticks)), ticks, fontsize=9)
    axis.set(yscale="log", ylabel=f"half-life ({unit}, log scale)", title=title, xlim=(-0.6, len(ticks) - 0.4))
    axis.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.yaxis.set_major_formatter("{x:g}")
    axis.yaxis.set_minor_formatter(NullFormatter())
    figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    axis.grid(axis="y", alpha=0.3)
    return figure


class Timeline(NamedTuple):
    """One sample as the query sees it.

    Shapes:
        time: (T,) hours before the prediction, 0 or less, without the query; width: (T,) hours that each token covers
        attention: (heads, T), weights of the query in one block
        effect: (T,), change of the log-odds when the token is left out
        events: (M,) times of single events; code: (M,) row of each in `codes`; score: (M,) normal scores, NaN without
            a value
    """

    name: str
    probability: float
    target: float
    time: np.ndarray
    width: np.ndarray
    attention: np.ndarray
    effect: np.ndarray
    events: np.ndarray
    code: np.ndarray
    score: np.ndarray
    codes: tuple[str, ...]


def timeline_figure(timeline: Timeline, caption: str, hours: float = 1.0) -> "Figure":
    """Events above, attention per head in the middle, effect of leaving a token out below, on one axis of time.

    Args:
        timeline: One sample.
        caption: Stands below, such as the verdict of the faithfulness check.
        hours: Of a unit of the axis: 1, 24 (days) or 8766 (years).
    """
    unit = _unit(hours)
    heads = len(timeline.attention)
    figure = new_figure(10, 3.4 + 0.23 * len(timeline.codes) + 0.3 * heads + 1.2, part="timeseries.ehr.figures")
    above, middle, below = figure.subplots(
        3, 1, sharex=True, height_ratios=[max(2.0, 0.23 * len(timeline.codes)), 0.5 + 0.3 * heads, 1.8]
    )
    plain = np.isnan(timeline.score)
    above.scatter(timeline.events[plain] / hours, timeline.code[plain], marker="|", color="black", s=30, linewidths=1)
    dots = above.scatter(
        timeline.events[~plain] / hours,
        timeline.code[~plain],
        c=timeline.score[~plain],
        cmap="coolwarm",
        vmin=-2.6,
        vmax=2.6,
        s=14,
        linewidths=0,
    )
    above.set_yticks(range(len(timeline.codes)), timeline.codes, fontsize=8)
    above.set_ylim(len(timeline.codes) - 0.5, -0.5)
    above.grid(axis="y", alpha=0.2)
    figure.colorbar(dots, ax=above, label="normal score (|: no value)", pad=0.01)
    above.set_title(f"{timeline.name}: predicted {timeline.probability:.2f}, outcome {timeline.target:g}")
    end, width = timeline.time / hours, timeline.width / hours
    cells = [
        middle.pcolormesh([t - w, t], np.arange(heads + 1), column[:, None], cmap="inferno", vmin=0, vmax=highest)
        for highest in [float(timeline.attention.max(initial=1e-9))]
        for t, w, column in zip(end, width, timeline.attention.T, strict=True)
    ]
    middle.set_yticks(np.arange(heads) + 0.5, [f"head {k + 1}" for k in range(heads)], fontsize=9)
    middle.set_ylim(heads, 0)
    middle.set_facecolor("0.85")  # no token
    if cells:
        figure.colorbar(cells[0], ax=middle, label="attention weight", pad=0.01)
    middle.set_title("What the query attends to in the last block", fontsize=10)
    below.bar(end - width, timeline.effect, width=width, align="edge", color="C0", edgecolor="white", linewidth=0.5)
    below.axhline(0, color="black", linewidth=0.8)
    below.set_xlim(right=0)
    below.set(xlabel=f"{unit} before the prediction", ylabel="change of log-odds")
    below.set_title("What the prediction loses when a token is left out (positive: the token raised it)", fontsize=10)
    below.grid(alpha=0.3)
    figure.supxlabel(textwrap.fill(caption, 120), fontsize=9)
    return figure


def _unit(hours: float) -> str:
    units = {1.0: "hours", 24.0: "days", 8766.0: "years"}
    if hours not in units:
        raise ValueError(f"hours: expected one of {', '.join(f'{unit:g}' for unit in units)}, got {hours}")
    return units[hours]
