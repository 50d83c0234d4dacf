"""How much each head matters: by switching it off, by gradient, and the curve of pruning in that order."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .ablation import Site, ablated, all_heads, by_head, reading, sites
from .heads import Head
from .tables import table

Losses = Callable[[nn.Module, Any], Tensor]
"""loss(model, batch): the loss of each item of a batch, (B,)."""


@dataclass(frozen=True)
class HeadImportance:
    """How much each head matters; printing it shows a table.

    Attributes:
        heads: The heads, in the order of the model.
        value: Importance of each, in units of the loss; larger matters more.
        error: Its standard error over the items.
        method: "ablation" or "gradient".
        items: Number of items that it was measured on.
    """

    heads: tuple[Head, ...]
    value: Tensor
    error: Tensor
    method: str
    items: int

    def order(self) -> tuple[Head, ...]:
        """List the heads from the least important on."""
        return tuple(self.heads[int(i)] for i in self.value.argsort(stable=True))

    def __str__(self) -> str:
        columns = zip(self.heads, self.value, self.error, strict=True)
        rows = [(str(head), f"{value:+.5f}", f"{error:.5f}") for head, value, error in columns]
        return f"by {self.method}, {self.items} items\n" + table(("head", "importance (loss)", "standard error"), rows)


@dataclass(frozen=True)
class PruningCurve:
    """A metric against the number of heads switched off; printing it shows a table.

    Attributes:
        removed: Numbers of heads switched off.
        ordered: The metric with the least important ones off, (points,).
        random: The metric with random ones off, (orders, points).
        seeds: Of the random orders.
        total: Number of heads.
    """

    removed: tuple[int, ...]
    ordered: Tensor
    random: Tensor
    seeds: tuple[int, ...]
    total: int

    def __str__(self) -> str:
        spread = self.random.std(dim=0) if len(self.seeds) > 1 else torch.full_like(self.ordered, torch.nan)
        columns = zip(self.removed, self.ordered, self.random.mean(dim=0), spread, strict=True)
        rows = [(f"{n} of {self.total}", f"{o:.4f}", f"{r:.4f} ± {s:.4f}") for n, o, r, s in columns]
        names = ("heads off", "least important first", f"at random, mean ± sd of {len(self.seeds)} orders")
        return table(names, rows)


def ablation_importance(model: nn.Module, losses: Losses, batches: Iterable[Any]) -> HeadImportance:
    """Importance by ablation: how much the loss rises when the head's output is 0.

        I_h = mean over items of (loss without h - loss)

    Take batches that the model was not trained on, and the model in evaluation mode. One pass over the data for each
    head, and one besides.

    Args:
        model: A model with core's, torch's or timm's attention.
        losses: loss(model, batch) answers the loss of each item, (B,).
        batches: Held-out data, gone through once.

    Raises:
        CaptureError: No heads can be told apart.
        ValueError: `losses` answers another shape, or there are no items.

    References:
        Michel, Levy, Neubig: Are sixteen heads really better than one? NeurIPS 2019, section 3.2.
    """
    heads = all_heads(model)
    differences: list[list[Tensor]] = [[] for _ in heads]
    with torch.no_grad():
        for batch in batches:
            whole = _losses(losses, model, batch)
            for place, head in enumerate(heads):
                with ablated(model, [head]):
                    differences[place].append((_losses(losses, model, batch) - whole).double().cpu())
    return _importance(heads, differences, "ablation")


def gradient_importance(model: nn.Module, losses: Losses, batches: Iterable[Any]) -> HeadImportance:
    """Importance by gradient: how fast the loss changes when the head's output is scaled down from 1.

        I_h = mean over items of |sum over positions and features of a_h * dloss / da_h|,  a_h = output of head h

    One forward and one backward pass over the data. Items must not act on each other (no batch statistics): put the
    model into evaluation mode. No parameter's gradient is touched.

    Args:
        model: A model with core's, torch's or timm's attention.
        losses: loss(model, batch) answers the loss of each item, (B,).
        batches: Held-out data, gone through once.

    Raises:
        CaptureError: No heads can be told apart.
        ValueError: `losses` answers another shape, there are no items, or an attention module did not run or does not
            reach the loss.

    References:
        Michel, Levy, Neubig: Are sixteen heads really better than one? NeurIPS 2019, section 4.1, there also
        normalised by layer.
    """
    heads, found = all_heads(model), sites(model)
    importances: list[list[Tensor]] = [[] for _ in heads]
    for batch in batches:
        gates: dict[str, list[Tensor]] = {name: [] for name in found}

        def scale(site: Site, joined: Tensor, gates: dict[str, list[Tensor]] = gates) -> Tensor:
            gate = joined.new_ones(joined.shape[0], *[1] * (joined.ndim - 2), site.heads, 1).requires_grad_()
            gates[site.name].append(gate)
            return (by_head(joined, site.heads) * gate).flatten(-2)

        with torch.enable_grad(), reading(model, list(found), scale):
            loss = _losses(losses, model, batch)
            used = [gate for name in found for gate in gates[name]]
            silent = [name for name in found if not gates[name]]
            if silent:
                raise ValueError(f"losses: expected every attention module to run, got no call of {', '.join(silent)}")
            slopes = iter(torch.autograd.grad(loss.sum(), used, allow_unused=True))
        place = 0
        for name, site in found.items():
            parts = [slope for slope in (next(slopes) for _ in gates[name]) if slope is not None]
            if not parts:
                raise ValueError(
                    f"losses: expected a loss that depends on every attention module, got one that does not on {name}"
                )
            total = sum(part.reshape(loss.shape[0], site.heads) for part in parts)
            assert isinstance(total, Tensor)
            for index in range(site.heads):
                importances[place].append(total[:, index].abs().double().cpu())
                place += 1
    return _importance(heads, importances, "gradient")


def pruning_curve(
    model: nn.Module,
    metric: Callable[[nn.Module], float],
    order: Sequence[Head],
    *,
    removed: Sequence[int] | None = None,
    seeds: Sequence[int] = (0, 1, 2),
) -> PruningCurve:
    """The metric as heads are switched off, the first of `order` first, beside random orders.

    Importance and curve need different data: an order found on the data of the metric looks better than it is.

    Args:
        model: A model with core's, torch's or timm's attention.
        metric: Answers the metric of the model as it stands.
        order: Heads, the least important first: `HeadImportance.order()`.
        removed: How many to switch off at each point. None: 0, 1, ..., all.
        seeds: Of the random orders.

    Raises:
        ValueError: `order` is not the heads of the model, or more are to be removed than there are.
    """
    heads = all_heads(model)
    if sorted(order) != sorted(heads):
        raise ValueError(f"order: expected the {len(heads)} heads of the model, each once, got {len(order)}")
    points = tuple(range(len(heads) + 1)) if removed is None else tuple(removed)
    if any(not 0 <= count <= len(heads) for count in points):
        raise ValueError(f"removed: expected numbers from 0 to {len(heads)}, got {points}")

    def curve(heads_off: Sequence[Head]) -> list[float]:
        values = []
        for count in points:
            with torch.no_grad(), ablated(model, heads_off[:count]):
                values.append(float(metric(model)))
        return values

    shuffled = []
    for seed in seeds:
        permutation = torch.randperm(len(heads), generator=torch.Generator().manual_seed(seed)).tolist()
        shuffled.append(curve([heads[i] for i in permutation]))
    random = torch.tensor(shuffled, dtype=torch.float64).reshape(len(seeds), len(points))
    ordered = torch.tensor(curve(order), dtype=torch.float64)
    return PruningCurve(points, ordered, random, tuple(seeds), len(heads))


def _losses(losses: Losses, model: nn.Module, batch: Any) -> Tensor:
    value = losses(model, batch)
    if not isinstance(value, Tensor) or value.ndim != 1:
        got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(f"losses: expected the loss of each item, (B,), got {got}; use reduction='none'")
    return value


def _importance(heads: tuple[Head, ...], values: list[list[Tensor]], method: str) -> HeadImportance:
    if not values[0]:
        raise ValueError("batches: expected at least one, got none")
    joined = [torch.cat(parts) for parts in values]
    items = joined[0].numel()
    error = [statistics.stdev(v.tolist()) / items**0.5 if items > 1 else float("nan") for v in joined]
    return HeadImportance(
        heads, torch.stack([v.mean() for v in joined]), torch.tensor(error, dtype=torch.float64), method, items
    )
