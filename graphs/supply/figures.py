"""Pictures of supply chains: accuracy by hop, a shock that travels, what is embodied, heads and relations."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from core.analysis.figures import new_figure

from ..layers.receptive import hop_distances
from .economy import Economy, Flow
from .relations import Matching

PART = "graphs.supply.figures"
COLOURS = ("#1b6ca8", "#d1495b", "#66a182", "#edae49", "#6d597a", "#3d405b")


def save(figure: Any, path: Path) -> None:
    """Write a figure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)


def draw_hops(scores: Mapping[str, Sequence[Sequence[float | None]]], title: str, path: Path) -> None:
    """R^2 by hop distance: one line per method, mean and spread over its runs.

    Args:
        scores: For each method its runs, each a list over hops 1, 2, ...; None where it sees nothing.
        title: Of the figure.
        path: File to write.
    """
    figure = new_figure(8.4, 4.6, part=PART)
    axis = figure.subplots()
    seen = []
    for number, (name, runs) in enumerate(scores.items()):
        hops, means, spreads = [], [], []
        for hop, column in enumerate(zip(*runs, strict=True), 1):
            values = [value for value in column if value is not None]
            if len(values) == len(column):
                hops.append(hop)
                means.append(sum(values) / len(values))
                spreads.append(torch.tensor(values).std().item() if len(values) > 1 else 0.0)
        learned = name.startswith("D =")
        seen += means
        shift = (number - len(scores) / 2) * 0.05
        axis.errorbar(
            [hop + shift for hop in hops],
            means,
            spreads,
            marker="o" if learned else "s",
            linestyle="-" if learned else "--",
            color=COLOURS[number % len(COLOURS)] if learned else ("grey" if "²" in name else "black"),
            capsize=3,
            label=name,
        )
    most = max(len(runs[0]) for runs in scores.values())
    axis.axhline(0.99, color="grey", linewidth=0.8, linestyle=":")
    axis.text(most + 0.36, 0.988, "0.99", va="top", ha="right", fontsize=8, color="grey")
    axis.set(
        xlabel="distance from the shock (hops)",
        ylabel="R² of ln(requirement), pairs at that distance",
        xticks=range(1, most + 1),
        ylim=(max(min(0.9, *seen) - 0.03, 0.0), 1.005),
        xlim=(0.6, most + 0.4),
    )
    axis.set_title(title, fontsize=11)
    axis.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5))
    save(figure, path)


def ring_layout(distance: Sequence[int], links: Tensor) -> Tensor:
    """Places on rings around the nodes at distance 0, each node near the angle of those it is reached from.

    Args:
        distance: Hops of each node; -1 puts it on the outermost ring.
        links: Edges, where the shock comes from above where it arrives.

    Shapes:
        links: (2, E)
        answer: (n, 2)
    """
    far = max([*distance, 0]) + 1
    rings = [far if hops < 0 else hops for hops in distance]
    angle = [0.0] * len(rings)
    place = torch.zeros(len(rings), 2)
    for ring in sorted(set(rings)):
        nodes = [k for k, own in enumerate(rings) if own == ring]
        wanted = {}
        for node in nodes:
            before = [int(j) for j in links[0][links[1] == node] if rings[int(j)] == ring - 1]
            x, y = sum(math.cos(angle[j]) for j in before), sum(math.sin(angle[j]) for j in before)
            wanted[node] = math.atan2(y, x) if before and ring > 1 else 2 * math.pi * nodes.index(node) / len(nodes)
        for number, node in enumerate(sorted(nodes, key=lambda node: (wanted[node] % (2 * math.pi), node))):
            angle[node] = 2 * math.pi * (number + 0.5 * (ring % 2)) / len(nodes)
            place[node] = ring * torch.tensor([math.cos(angle[node]), math.sin(angle[node])])
    return place


def draw_travel(
    economy: Economy, states: Sequence[Tensor], titles: Sequence[str], title: str, path: Path, flow: Flow = "demand"
) -> None:
    """A shock on the network, one panel a step: rings are hops, colour is the logarithm of what arrived.

    Sectors that no panel reaches are left out.

    Args:
        economy: Cut to the edges that are to be drawn.
        states: What arrived at each sector, (n,) each: first the shock itself, then each hop, drawn with the edges that
            carried it; last the sum.
        titles: Of the panels.
        title: Of the figure.
        path: File to write.
        flow: Which way the shock travels.
    """
    edges = economy.edges(flow)
    distances = hop_distances(edges.index, len(economy))[:, states[0].nonzero().flatten()]
    distance = [min((int(d) for d in row if d >= 0), default=-1) for row in distances]
    place, shown = ring_layout(distance, edges.index), torch.stack(list(states)).amax(0) > 0
    farthest = max(hops for hops, there in zip(distance, shown.tolist(), strict=True) if there)
    highest = float(max(state.max() for state in states))
    size = 50 if int(shown.sum()) < 80 else 26
    columns = min(3, len(states))
    rows = math.ceil(len(states) / columns)
    figure = new_figure(4.3 * columns, 4.2 * rows, part=PART)
    axes = figure.subplots(rows, columns, squeeze=False)
    from matplotlib.collections import LineCollection  # there: the figure is
    from matplotlib.colors import LogNorm
    from matplotlib.patches import Circle

    look = {"cmap": "viridis_r", "norm": LogNorm(highest * 1e-4, highest), "edgecolor": "black", "linewidth": 0.4}
    for axis in axes.flat:
        axis.set_axis_off()
    for number, (axis, state, name) in enumerate(zip(axes.flat, states, titles, strict=False)):
        reached, whole = state > 0, number == len(states) - 1
        for ring in range(1, farthest + 1):
            axis.add_patch(Circle((0, 0), ring, fill=False, color="0.88", linewidth=0.8, zorder=0))
        if number and not whole:
            carried = states[number - 1][edges.index[0]] * edges.coefficient
        else:
            carried = edges.coefficient * (reached[edges.index[0]] & reached[edges.index[1]]) * float(number > 0)
        used, strongest = carried > 0, float(carried.max()) or 1.0
        widths = (0.3 + 2.2 * carried[used] / strongest).numpy()
        ends = place[edges.index[:, used].T].numpy()  # (edges, 2 ends, 2)
        axis.add_collection(LineCollection(list(ends), linewidths=widths, colors="0.45", alpha=0.5, zorder=1))
        waiting = place[~reached & shown].T.numpy()
        axis.scatter(*waiting, s=size / 2, color="white", edgecolor="0.7", linewidth=0.6, zorder=2)
        values = state[reached].clamp_min(highest * 1e-4).numpy()
        dots = axis.scatter(*place[reached].T.numpy(), c=values, s=size, zorder=3, **look)
        _label_greatest(axis, state, place, economy.names, farthest)
        axis.set_title(name, fontsize=10)
        axis.set(aspect="equal", xlim=(-farthest - 0.6, farthest + 0.6), ylim=(-farthest - 0.6, farthest + 0.6))
    figure.colorbar(dots, ax=axes, shrink=0.6, label="what arrives per unit of shock (white: nothing)")
    figure.suptitle(title, fontsize=12)
    save(figure, path)


def _label_greatest(
    axis: Any, state: Tensor, place: Tensor, names: Sequence[str], farthest: int, most: int = 4
) -> None:
    """Name the nodes with the greatest values, outwards of each, where no other name stands."""
    box = dict(boxstyle="round,pad=0.1", facecolor="white", edgecolor="none", alpha=0.8)
    taken: list[Tensor] = []
    for node in state.argsort(descending=True)[: 2 * most].tolist():
        direction = place[node] / place[node].norm().clamp_min(1e-6) if place[node].any() else torch.tensor([0.0, 1.0])
        at = place[node] + 0.11 * farthest * direction
        free = all(abs(at[0] - o[0]) > 0.33 * farthest or abs(at[1] - o[1]) > 0.11 * farthest for o in taken)
        if free and len(taken) < most and state[node] > state.max() * 1e-2:
            taken.append(at)
            axis.text(*at.tolist(), names[node], fontsize=8, ha="center", va="center", bbox=box, zorder=4)


def draw_embodied(names: Sequence[str], direct: Tensor, whole: Tensor, factors: Sequence[str], path: Path) -> None:
    """Bars of each factor behind a unit of final demand: used by the sector itself, and by its suppliers.

    Shapes:
        direct, whole: (factors, sectors)
    """
    figure = new_figure(5.2 * len(factors), 0.28 * len(names) + 1.8, part=PART)
    axes = figure.subplots(1, len(factors), sharey=True)
    for axis, own, total, factor, colour in zip(
        [axes] if len(factors) == 1 else axes, direct, whole, factors, COLOURS, strict=False
    ):
        rows = range(len(names))
        inside, outside = own.tolist(), (total - own).tolist()
        axis.barh(rows, inside, color=colour, label="in the sector itself")
        axis.barh(rows, outside, left=inside, color=colour, alpha=0.4, label="in its suppliers")
        axis.set(xlabel=f"{factor} per unit of final demand", ylim=(len(names) - 0.4, -0.6))
        axis.legend(fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False)
        axis.set_yticks(rows, names)
    save(figure, path)


def draw_relations(
    unexplained: Mapping[str, tuple[Sequence[int], Sequence[Sequence[float]]]],
    bound: Mapping[int, float],
    matchings: Mapping[str, Matching],
    relations: Sequence[str],
    path: Path,
) -> None:
    """Left: unexplained variance by number of heads; right: the heads' attention by relation.

    Args:
        unexplained: For each model the numbers of heads, and for each of them the runs.
        bound: The least that is possible, by number of heads.
        matchings: Heads to be shown, by name.
        relations: Names.
        path: File to write.
    """
    figure = new_figure(5.0 + 2.9 * len(matchings), 4.0, part=PART)
    axes = figure.subplots(1, 1 + len(matchings), width_ratios=[1.7, *[1] * len(matchings)])
    left = axes[0]
    floor = 1e-5
    for number, (name, (heads, runs)) in enumerate(unexplained.items()):
        means = [max(sum(column) / len(column), floor) for column in runs]
        marker = dict(marker="os^v"[number % 4], color=COLOURS[number], capsize=3, label=name)
        low = [mean - max(min(column), floor) for mean, column in zip(means, runs, strict=True)]
        high = [max(column) - mean for mean, column in zip(means, runs, strict=True)]
        spread = [[max(v, 0) for v in low], [max(v, 0) for v in high]]
        left.errorbar(heads, means, spread, linestyle="-" if len(heads) > 1 else "none", **marker)
    steps = [heads for heads, value in bound.items() if value > 0]
    left.plot(steps, [bound[h] for h in steps], "k_", markersize=22, label="least possible (theory)")
    left.axhline(0.02, color="grey", linestyle=":", linewidth=1)
    left.axvline(len(relations), color="grey", linewidth=0.6)
    left.text(len(relations) + 0.05, 0.7, f"{len(relations)} relations", fontsize=8, color="grey")
    left.set(xlabel="heads", ylabel="unexplained variance (held-out graph)", yscale="log", ylim=(floor / 2, 1))
    left.set_xticks(sorted({h for heads, _ in unexplained.values() for h in heads}))
    left.set_title("How many heads does it take?", fontsize=10)
    left.legend(fontsize=8, loc="lower left")
    for axis, (name, matching) in zip(axes[1:], matchings.items(), strict=True):
        shown = axis.imshow(matching.mass.numpy(), cmap="Blues", vmin=0, vmax=1, aspect="auto")
        for head in range(len(matching.mass)):
            for column in range(len(relations)):
                value = float(matching.mass[head, column])
                axis.text(column, head, f"{value:.2f}", ha="center", va="center", color="white" if value > 0.6 else "k")
        axis.set_xticks(range(len(relations)), relations, rotation=30)
        axis.set_yticks(range(len(matching.mass)), [f"head {head + 1}" for head in range(len(matching.mass))])
        axis.set_title(f"{name}\nmatched mass {float(matching.matched[matching.head >= 0].mean()):.3f}", fontsize=10)
    figure.colorbar(shown, ax=axes[-1], label="share of the head's attention")
    save(figure, path)
