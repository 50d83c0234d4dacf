"""Put a defence into a trained model and take it out again; choose its numbers on clean data.

    k <- k * min(1, c / |k|)                 limits of norms
    score <- cos(q, k), scale <- s           cosine scores

Neither changes a parameter, so neither has to be trained with; what it costs in accuracy is to be measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn

from ..engine.problem import Problem, by_head
from ..layers import MultiheadAttention, TorchMultiheadAttention
from ..layers.limits import checked_limit
from ..scores import Cosine, Score
from .running import Forward, at_rest, attention_layers, calls_of, run
from .weights import log_weights, seen_keys, structure

Setting = tuple[float | None, float | None, Score, float | None]
"""query_norm_limit, key_norm_limit, score, scale of a layer."""

FIELDS = ("query_norm_limit", "key_norm_limit", "score", "scale")


@dataclass(frozen=True)
class Calibration:
    """What clean data say about the layers of a model, by the layers' names.

    Attributes:
        quantile: Of the norms.
        query_norms: That quantile of |q| over items, heads and queries that see a key.
        key_norms: That quantile of |k| over items, heads and keys that a query sees.
        cosine_scales: The s whose logits s cos(q, k) are nearest, in least squares over allowed pairs and up to a
            constant for each query, to the logits of the layer.
    """

    quantile: float
    query_norms: dict[str, float]
    key_norms: dict[str, float]
    cosine_scales: dict[str, float]

    def __str__(self) -> str:
        lines = [f"layer: {self.quantile:g} quantile of |q|, of |k|; cosine scale"]
        for name, norm in self.query_norms.items():
            lines.append(f"{name or '(model)'}: {norm:.4g}, {self.key_norms[name]:.4g}; {self.cosine_scales[name]:.4g}")
        return "\n".join(lines)


def calibrate(
    model: nn.Module, batches: Iterable[Any], *, quantile: float = 0.99, forward: Forward = run
) -> Calibration:
    """Measure the norms of queries and keys, and the cosine scales that fit, on clean data.

    The model runs in evaluation mode and is left as it was. Each layer's weights are held once.

    Args:
        model: with layers of the kind `core.MultiheadAttention`.
        batches: clean inputs, each as the model takes it (a plain tuple is several arguments, a mapping keywords).
        quantile: of the norms, above 0 and at most 1; 1 is the largest seen, which changes nothing on these data.
        forward: calls the model with a batch, where that takes more.

    Raises:
        ValueError: the quantile is out of range, or no such layer was called with a pair that is allowed.
    """
    if not 0 < quantile <= 1:
        raise ValueError(f"quantile: expected above 0 and at most 1, got {quantile}")
    layers = attention_layers(model)
    queries: dict[str, list[Tensor]] = {}
    keys: dict[str, list[Tensor]] = {}
    products: dict[str, Tensor] = {}

    def receive(name: str, problem: Problem) -> None:
        if name not in layers:
            return
        allowed, bias = structure(problem)
        seeing = allowed.any(dim=3)
        seen = seen_keys(problem, allowed)
        queries.setdefault(name, []).append(problem.q.norm(dim=-1)[seeing])
        keys.setdefault(name, []).append(problem.k.norm(dim=-1)[seen])
        products[name] = products.get(name, 0) + _inner_products(problem, allowed, bias)

    with at_rest(model), torch.no_grad(), calls_of(model, receive):
        for batch in batches:
            forward(model, batch)
    found = [name for name in layers if name in queries and any(part.numel() for part in queries[name])]
    if not found:
        raise ValueError("model: expected one that calls core.MultiheadAttention with allowed pairs, got none")
    return Calibration(
        quantile,
        {name: _quantile(queries[name], quantile) for name in found},
        {name: _quantile(keys[name], quantile) for name in found},
        {name: float(products[name][0] / products[name][1].clamp(min=1e-12)) for name in found},
    )


class Defence:
    """Layers whose comparison of queries and keys was changed; `undo`, or the end of a `with`, puts it back."""

    def __init__(self, before: Mapping[str, tuple[MultiheadAttention, Setting]]) -> None:
        self._before = dict(before)
        self.layers = tuple(before)

    def undo(self) -> None:
        """Put back what was there; a second time does nothing."""
        for layer, setting in self._before.values():
            _apply(layer, setting)
        self._before.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.undo()


def defend(
    model: nn.Module,
    *,
    query_norm_limit: float | Mapping[str, float] | None = None,
    key_norm_limit: float | Mapping[str, float] | None = None,
    cosine_scale: float | Mapping[str, float] | None = None,
) -> Defence:
    """Limit norms, or compare by cosine, in the attention layers of a trained model, in place.

    with defend(model, key_norm_limit=calibration.key_norms): ...    or    defend(...) and later .undo()

    A number holds for every layer, a mapping for those that it names. Parameters and buffers are not touched, and a
    state_dict does not tell of the defence: to keep it, build the model with the same options.

    Args:
        model: with layers of the kind `core.MultiheadAttention`.
        query_norm_limit: the largest |q|.
        key_norm_limit: the largest |k|.
        cosine_scale: s of cosine scores; not together with limits.

    Returns:
        What takes the defence out again.

    Raises:
        ValueError: nothing was asked for, a layer is not one of the model's, a number is not above 0, limits go with
            cosine scores, or the model has attention that cannot be defended. Nothing has been changed then.
    """
    layers = attention_layers(model)
    foreign = [name for name, layer in model.named_modules() if isinstance(layer, TorchMultiheadAttention)]
    if foreign or not layers:
        raise ValueError(
            "model: expected core.MultiheadAttention for every attention layer (MultiheadAttention.from_torch makes "
            f"one), got {f'TorchMultiheadAttention at {foreign}' if foreign else 'no attention layer'}"
        )
    queries = _by_layer("query_norm_limit", query_norm_limit, layers)
    keys = _by_layer("key_norm_limit", key_norm_limit, layers)
    cosines = _by_layer("cosine_scale", cosine_scale, layers)
    changes: dict[str, tuple[MultiheadAttention, Setting]] = {}
    for name, layer in layers.items():
        if name not in queries and name not in keys and name not in cosines:
            continue
        score: Score = Cosine() if name in cosines else layer.score
        limits = (queries.get(name, layer.query_norm_limit), keys.get(name, layer.key_norm_limit))
        if isinstance(score, Cosine) and limits != (None, None):
            raise ValueError(
                f"query_norm_limit, key_norm_limit: expected None with cosine scores, which ignore norms, got {limits} "
                f"for the layer {name!r}"
            )
        changes[name] = (layer, (*limits, score, cosines.get(name, layer.scale)))
    if not changes:
        raise ValueError("query_norm_limit, key_norm_limit, cosine_scale: expected one of them, got None")
    before = {name: (layer, _setting(layer)) for name, (layer, _) in changes.items()}
    for layer, setting in changes.values():
        _apply(layer, setting)
    return Defence(before)


def _by_layer(
    name: str, value: float | Mapping[str, float] | None, layers: Mapping[str, MultiheadAttention]
) -> dict[str, float]:
    """One number for each layer that gets one."""
    if value is None:
        return {}
    given = dict(value) if isinstance(value, Mapping) else dict.fromkeys(layers, value)
    unknown = sorted(set(given) - set(layers))
    if unknown:
        raise ValueError(f"{name}: expected names of attention layers, {', '.join(layers)}; got {', '.join(unknown)}")
    return {layer: float(number) for layer, number in given.items() if checked_limit(name, number)}


def _setting(layer: MultiheadAttention) -> Setting:
    return (layer.query_norm_limit, layer.key_norm_limit, layer.score, layer.scale)


def _apply(layer: MultiheadAttention, setting: Setting) -> None:
    for field, value in zip(FIELDS, setting, strict=True):
        setattr(layer, field, value)


def _inner_products(problem: Problem, allowed: Tensor, bias: Tensor | None) -> Tensor:
    """<logits, cos> and <cos, cos> over allowed pairs, the mean of every row taken off: (2,), float64.

    The logits are the scores' part alone, scale * score, so that biases and temperature stay with the layer.
    """
    p = problem
    q, k = p.q.to(p.compute_dtype), p.k.to(p.compute_dtype).repeat_interleave(p.groups, dim=1)
    cosines = Cosine().prepare(q) @ Cosine().prepare(k).mT
    logits = log_weights(p, allowed, bias) * by_head(p.temperature)
    if bias is not None:
        logits = logits - bias.masked_fill(~allowed, 0)

    def centred(x: Tensor) -> Tensor:
        kept = x.double().masked_fill(~allowed, 0)
        mean = kept.sum(dim=-1, keepdim=True) / allowed.sum(dim=-1, keepdim=True).clamp(min=1)
        return (kept - mean).masked_fill(~allowed, 0)

    logits, cosines = centred(logits), centred(cosines)
    return torch.stack([(logits * cosines).sum(), cosines.square().sum()])


def _quantile(parts: list[Tensor], q: float) -> float:
    """The smallest of the numbers that is not exceeded by at least a share q of them."""
    values = torch.cat(parts).flatten().double()
    return float(values.kthvalue(max(1, -int(-q * len(values) // 1))).values)
