"""Pictures of heads: weights in a grid or as a heat map, shaded tokens, clustered heads, rollout, pruning curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..heads.heads import Redundancy
from ..heads.importance import PruningCurve
from .figure import new_figure, require_scipy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH = 72  # characters of a line of tokens


def head_grid(weights: Mapping[str, Tensor], *, title: str | None = None, largest: float | None = None) -> Figure:
    """Draw the weights of every head: a row of pictures for each layer, one colour scale for all.

    Args:
        weights: For each layer its weights, for one item.
        title: Above the grid.
        largest: Weight of the darkest colour. None: the largest there is.

    Shapes:
        weights: (heads, Lq, Lk) each.

    Raises:
        ValueError: There is no layer, or weights have another number of axes.
        MissingExtraError: matplotlib is not installed.
    """
    if not weights:
        raise ValueError("weights: expected at least one layer, got none")
    for name, layer in weights.items():
        if layer.ndim != 3:
            raise ValueError(f"weights[{name!r}]: expected (heads, Lq, Lk) of one item, got {tuple(layer.shape)}")
    columns = max(layer.shape[0] for layer in weights.values())
    top = max(float(layer.max()) for layer in weights.values()) if largest is None else largest
    figure = new_figure(1.6 * columns + 1.4, 1.6 * len(weights) + 0.9)
    axes = figure.subplots(len(weights), columns, squeeze=False)
    image = None
    for row, (name, layer) in enumerate(weights.items()):
        for column in range(columns):
            axis = axes[row, column]
            if row == 0:
                axis.set_title(f"head {column}", fontsize=9)
            if column >= layer.shape[0]:
                axis.axis("off")
                continue
            image = axis.imshow(_array(layer[column]), cmap="Blues", vmin=0, vmax=top, aspect="auto")
            axis.tick_params(labelsize=6)
            axis.label_outer()
            if column == 0:
                axis.set_ylabel(f"{name}\nquery", fontsize=8)
            if row == len(weights) - 1:
                axis.set_xlabel("key", fontsize=8)
    assert image is not None
    figure.colorbar(image, ax=axes, label="attention weight", shrink=0.9, pad=0.02)
    if title:
        figure.suptitle(title, fontsize=11)
    return figure


def heat_map(
    weights: Tensor,
    *,
    queries: Sequence[str] | None = None,
    keys: Sequence[str] | None = None,
    title: str | None = None,
    numbers: bool | None = None,
) -> Figure:
    """Draw the weights of one head, labelled.

    Args:
        weights: Of one head.
        queries: Names of the rows. None: their numbers.
        keys: Names of the columns. None: their numbers.
        title: Above the picture.
        numbers: Write each weight into its cell. None: where there are at most 150 cells.

    Shapes:
        weights: (Lq, Lk).

    Raises:
        ValueError: Weights or names of another size.
        MissingExtraError: matplotlib is not installed.
    """
    if weights.ndim != 2:
        raise ValueError(f"weights: expected (Lq, Lk) of one head, got {tuple(weights.shape)}")
    for name, labels, size in (("queries", queries, weights.shape[0]), ("keys", keys, weights.shape[1])):
        if labels is not None and len(labels) != size:
            raise ValueError(f"{name}: expected {size} names, got {len(labels)}")
    Lq, Lk = weights.shape
    figure = new_figure(min(12.0, 0.42 * Lk + 2.4), min(10.0, 0.38 * Lq + 1.8))
    axis = figure.subplots()
    top = max(float(weights.max()), 1e-12)
    image = axis.imshow(_array(weights), cmap="Blues", vmin=0, vmax=top, aspect="auto")
    figure.colorbar(image, ax=axis, label="attention weight")
    axis.set(xlabel="key", ylabel="query")
    if keys is not None:
        axis.set_xticks(range(Lk), keys, rotation=60, ha="right", rotation_mode="anchor", fontsize=8)
    if queries is not None:
        axis.set_yticks(range(Lq), queries, fontsize=8)
    if numbers if numbers is not None else weights.numel() <= 150:
        for i in range(Lq):
            for j in range(Lk):
                value = float(weights[i, j])
                colour = "white" if value > 0.6 * top else "black"
                axis.text(j, i, f"{value:.2f}".lstrip("0"), ha="center", va="center", fontsize=7, color=colour)
    if title:
        axis.set_title(title, fontsize=11)
    return figure


def token_view(
    tokens: Sequence[str], weights: Tensor, *, title: str | None = None, label: str = "attention weight"
) -> Figure:
    """Draw a text, each token shaded by its weight.

    Args:
        tokens: The text.
        weights: One number from 0 for each token.
        title: Above the text.
        label: What the weights are, on the colour bar.

    Shapes:
        weights: (L,).

    Raises:
        ValueError: Another number of weights than of tokens, none, or a negative one.
        MissingExtraError: matplotlib is not installed.
    """
    if tuple(weights.shape) != (len(tokens),) or not tokens:
        raise ValueError(f"weights: expected ({len(tokens)},), one for each token, got {tuple(weights.shape)}")
    if float(weights.min()) < 0:
        raise ValueError(f"weights: expected numbers from 0, got {float(weights.min())}")
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    places, x, y = [], 0, 0
    for token in tokens:
        if x and x + len(token) + 1 > WIDTH:
            x, y = 0, y + 1
        places.append((x, y))
        x += len(token) + 1
    width = WIDTH if y else max(x, 30)
    character, line = 0.0836, 0.3  # inches of a letter and a line at 10 points
    figure = new_figure(width * character + 0.4, (y + 1) * line + 1.1 + 0.3 * bool(title))
    axis = figure.subplots()
    axis.set(xlim=(0, width), ylim=(y + 0.75, -0.75))
    axis.axis("off")
    scale = ScalarMappable(Normalize(0, max(float(weights.max()), 1e-12)), "Oranges")
    for token, (left, row), weight in zip(tokens, places, weights.tolist(), strict=True):
        box = {"boxstyle": "square,pad=0.15", "facecolor": scale.to_rgba(weight), "edgecolor": "none"}
        ink = "white" if weight > 0.7 * float(weights.max()) > 0 else "black"
        axis.text(left + 0.5, row, token, family="monospace", fontsize=10, va="center", bbox=box, color=ink)
    figure.colorbar(scale, ax=axis, orientation="horizontal", label=label, aspect=50, fraction=0.12, shrink=0.8)
    if title:
        figure.suptitle(title, fontsize=11)
    return figure


def head_similarity(redundancy: Redundancy, *, title: str | None = None) -> Figure:
    """Draw how alike the heads are, in the order of a hierarchical clustering, with its tree.

    Clusters are joined by the average Jensen-Shannon divergence between their heads.

    Args:
        redundancy: From `head_redundancy`.
        title: Above the picture.

    Raises:
        ValueError: There are fewer than two heads.
        MissingExtraError: matplotlib or scipy is not installed.
    """
    n = len(redundancy.heads)
    if n < 2:
        raise ValueError(f"redundancy: expected at least 2 heads, got {n}")
    hierarchy, squareform = require_scipy()
    tree = hierarchy.linkage(squareform(_array(redundancy.divergence), checks=False), method="average")
    side = min(12.0, 0.26 * n + 3.2)
    figure = new_figure(side + 3.2, side)
    left, right = figure.subplots(1, 2, width_ratios=(1, 3.5))
    order = hierarchy.dendrogram(
        tree, orientation="left", ax=left, no_labels=True, color_threshold=0, above_threshold_color="0.3"
    )["leaves"]
    left.set(xlabel="JS divergence (nats)")
    left.invert_yaxis()
    for side_name in ("top", "right", "left"):
        left.spines[side_name].set_visible(False)
    similarity = redundancy.similarity[order][:, order]
    image = right.imshow(_array(similarity), cmap="viridis", vmin=0, vmax=1, aspect="auto")
    names = [str(redundancy.heads[i]) for i in order]
    size = 8 if n <= 24 else 5
    right.set_yticks(range(n), names, fontsize=size)
    right.set_xticks(range(n), names, fontsize=size, rotation=90)
    figure.colorbar(image, ax=right, label="similarity, 1 - JS divergence / ln 2")
    figure.suptitle(title or f"{n} heads, effectively {redundancy.effective:.1f}", fontsize=11)
    return figure


def rollout_image(
    image: Tensor, relevance: Tensor, *, title: str | None = None, label: str = "share of the rollout"
) -> Figure:
    """Draw an image, and beside it how much each of its patches counts.

    Args:
        image: The image, of any range.
        relevance: A number for each patch, in the image's shape in patches; without class tokens.
        title: Above the pictures.
        label: What the numbers are, on the colour bar.

    Shapes:
        image: (H, W) or (channels, H, W) with 1 or 3 channels.
        relevance: (rows, columns).

    Raises:
        ValueError: Another shape, or an image side that is not a multiple of the patches'.
        MissingExtraError: matplotlib is not installed.
    """
    shown = image if image.ndim == 2 else image.movedim(0, -1).squeeze(-1)
    if image.ndim not in (2, 3) or (shown.ndim == 3 and shown.shape[2] != 3):
        raise ValueError(f"image: expected (H, W) or (1 or 3 channels, H, W), got {tuple(image.shape)}")
    if relevance.ndim != 2 or shown.shape[0] % relevance.shape[0] or shown.shape[1] % relevance.shape[1]:
        raise ValueError(
            f"relevance: expected (rows, columns) that divide the image's {tuple(shown.shape[:2])}, got "
            f"{tuple(relevance.shape)}"
        )
    low, high = float(shown.min()), float(shown.max())
    picture = _array((shown - low) / max(high - low, 1e-12))
    figure = new_figure(8.2, 3.7)
    left, right = figure.subplots(1, 2)
    height, width = shown.shape[:2]
    extent = (0, width, height, 0)
    left.imshow(picture, cmap="gray", extent=extent)
    layer = right.imshow(_array(relevance), cmap="inferno", extent=extent, interpolation="nearest", vmin=0)
    brightness = picture if picture.ndim == 2 else picture.mean(axis=2)
    if min(height, width) > 1 and high > low:
        centres = [[0.5 + i for i in range(size)] for size in (width, height)]
        right.contour(*centres, brightness, levels=[0.5], colors="white", linewidths=1)
    for axis, name in ((left, "image"), (right, "its patches; outline of the image")):
        axis.set(xlabel="pixel", ylabel="pixel", aspect="equal")
        axis.set_title(name, fontsize=10)
    figure.colorbar(layer, ax=right, label=label)
    if title:
        figure.suptitle(title, fontsize=11)
    return figure


def pruning(curves: Mapping[str, PruningCurve], *, metric: str, title: str | None = None) -> Figure:
    """Draw a metric against the share of heads switched off, beside random orders.

    Args:
        curves: By the name of their order. Several curves of one model or of several seeds.
        metric: Name and unit of the metric.
        title: Above the picture.

    Raises:
        ValueError: There is no curve.
        MissingExtraError: matplotlib is not installed.
    """
    if not curves:
        raise ValueError("curves: expected at least one, got none")
    figure = new_figure(7.0, 4.2)
    axis = figure.subplots()
    first = next(iter(curves.values()))
    random = torch.cat([curve.random for curve in curves.values() if curve.removed == first.removed])
    shares = [100 * count / first.total for count in first.removed]
    mean, spread = random.mean(dim=0), random.std(dim=0) if len(random) > 1 else torch.zeros(random.shape[1])
    axis.fill_between(shares, _array(mean - spread), _array(mean + spread), color="0.8", label=None)
    axis.plot(shares, _array(mean), color="0.4", linestyle="--", label=f"random, mean ± sd of {len(random)} orders")
    for number, (name, curve) in enumerate(curves.items()):
        at = [100 * count / curve.total for count in curve.removed]
        axis.plot(at, _array(curve.ordered), color=f"C{number}", marker="o", markersize=3, label=name)
    axis.set(xlabel="heads switched off (%)", ylabel=metric)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    if title:
        axis.set_title(title, fontsize=11)
    return figure


def _array(x: Tensor) -> Any:
    return x.detach().to("cpu", torch.float64).numpy()
