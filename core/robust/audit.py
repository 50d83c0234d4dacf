"""Inject keys of growing norm into a model, and compare what they take with what its defences allow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ..engine.problem import Problem
from .injection import DIRECTIONS, Region, injected_key, row, unit
from .judge import Call, judge
from .report import Audit, Finding
from .running import Forward, at_rest, attention_layers, calls_of, run

FACTORS = (1.0, 10.0, 100.0, 1e3, 1e4)

Round = tuple[list[Call], float]
"""The calls of attention under one attack, and the change of the model's output."""


def audit(
    model: nn.Module,
    batch: Any,
    *,
    region: Region | None = None,
    levels: Sequence[str] = ("key", "input"),
    factors: Sequence[float] = FACTORS,
    steps: int = 8,
    key: int | None = None,
    forward: Forward = run,
) -> Audit:
    """Measure how much attention one injected key can take in every layer and head, and what that does to the output.

    - Key level: in one layer at a time, one key is replaced where the key projection comes out, by r times the median
      norm of the head's keys in a direction that the queries like (three are tried, see `injection.DIRECTIONS`); its
      value stays. What the layer does to keys afterwards, norms, rotation and limits, is done to this one too.
    - Input level: one token of the input is overwritten by r times the median norm of what stood there, in a direction
      found by gradient ascent on the attention that the token gets; what comes before the attention is in its way.
      Layers without a key of that number are passed over.

    Each weight is compared with the bound that the layer's limits (or cosine scores, or `qk_norm`) give for its query,
    see `core.robust.bounds`; torch's attention has none, timm's where its `qk_norm` is LayerNorm. What is no
    `core.MultiheadAttention` is attacked through the input alone. The model runs in evaluation mode and is left as it
    was: parameters, gradients, modes, hooks, random states. Nothing is drawn at random. The attacks are examples, not
    the worst there is: without a bound a small number proves nothing. At key level one layer's weights are held at a
    time, at input level those of all.

    Args:
        model: any that attends by core's layers, `core.attend`, torch.nn.MultiheadAttention or timm's `Attention`.
        batch: clean input, as the model takes it (a plain tuple is several arguments, a mapping keywords).
        region: what the attacker of the input may write, in the first floating-point tensor of the batch. Default: row
            `key` of a tensor (B, L, features), as key number `key`.
        levels: "key", "input" or both.
        factors: r, the norms to try.
        steps: of the gradient ascent, for each norm.
        key: position of the key to attack. Default: at key level the first of those that most queries see, at input
            level 0.
        forward: calls the model with a batch, where that takes more.

    Returns:
        The findings; print it for a table and the verdict.

    Raises:
        ValueError: an argument is out of range, there is no such key, or the input cannot be attacked by a gradient.
        CaptureError: the model is compiled.
    """
    if not levels or set(levels) - {"key", "input"}:
        raise ValueError(f"levels: expected 'key', 'input' or both, got {tuple(levels)}")
    if not factors or not all(math.isfinite(r) and r > 0 for r in factors):
        raise ValueError(f"factors: expected finite numbers above 0, got {tuple(factors)}")
    if steps < 1:
        raise ValueError(f"steps: expected at least 1, got {steps}")
    auditor = _Auditor(model, forward)
    with at_rest(model), torch.no_grad():
        clean, calls = auditor.observe(batch, key)
        if "key" in levels:
            auditor.attack_keys(batch, clean, calls, key, factors)
        if "input" in levels:
            auditor.attack_input(batch, clean, region, key, factors, steps)
    outside = tuple(dict.fromkeys(c.layer for c in calls if c.layer not in auditor.layers))
    return Audit(tuple(auditor.findings), auditor.excess, outside if "key" in levels else ())


class _Auditor:
    """The model under audit, and what was found so far."""

    def __init__(self, model: nn.Module, forward: Forward) -> None:
        self.model, self.forward = model, forward
        self.layers = attention_layers(model)
        self.modules = dict(model.named_modules())
        self.findings: list[Finding] = []
        self.excess: float | None = None

    def observe(
        self, batch: Any, key: int | None, *, only: str | None = None, pass_over: bool = False
    ) -> tuple[Any, list[Call]]:
        """Run the model; answer its output and the calls of attention.

        Args:
            batch: the input.
            key: the key to look at.
            only: the one layer to look at.
            pass_over: leave out calls that have no such key.
        """
        calls: list[Call] = []

        def receive(name: str, problem: Problem) -> None:
            if only in (None, name) and not (pass_over and key is not None and problem.Lk <= key):
                calls.append(judge(name, problem, self.modules.get(name), key))

        with calls_of(self.model, receive):
            out = self.forward(self.model, batch)
        return out, calls

    def attack_keys(self, batch: Any, clean: Any, calls: list[Call], key: int | None, factors: Sequence[float]) -> None:
        """Every layer in turn, every norm, every direction."""
        for name, layer in self.layers.items():
            before = [call for call in calls if call.layer == name]
            for factor in factors if before else ():
                rounds: list[Round] = []
                for kind in DIRECTIONS:
                    with injected_key(layer, factor, kind, [call.view for call in before]):
                        out, after = self.observe(batch, key, only=name)
                    rounds.append((after, change(clean, out)))
                self._record("key", factor, before, rounds)

    def attack_input(
        self, batch: Any, clean: Any, region: Region | None, key: int | None, factors: Sequence[float], steps: int
    ) -> None:
        """Every norm, all layers at once; each norm goes on from the direction that the last one found."""
        leaves, form = pytree.tree_flatten(batch)
        place = next((n for n, x in enumerate(leaves) if isinstance(x, Tensor) and x.is_floating_point()), None)
        if place is None:
            raise ValueError("batch: expected a floating-point tensor to attack at input level, got none")
        x = leaves[place].detach()
        region = row(x, key or 0) if region is None else region
        region = region._replace(where=region.where.to(x.device).expand(x.shape))
        _, before = self.observe(batch, region.key, pass_over=True)
        inside = x.masked_fill(~region.where, 0)
        norms = inside.flatten(1).norm(dim=1)
        size = norms.median() if bool(norms.median() > 0) else norms.new_ones(())
        blank = (norms == 0).view(-1, *[1] * (x.dim() - 1))
        content = unit(torch.where(blank, 1.0, inside), region)
        for factor in factors:
            rounds: list[Round] = []
            for step in range(steps + 1):
                with torch.enable_grad():
                    leaf = content.clone().requires_grad_()
                    written = region.write(x, factor * size * leaf)
                    attacked = pytree.tree_unflatten([*leaves[:place], written, *leaves[place + 1 :]], form)
                    out, after = self.observe(attacked, region.key, pass_over=True)
                    aims = [call.appeal() for call in after if call.log_captured.requires_grad]
                    rounds.append((after, change(clean, out)))
                    if step == steps or not aims:
                        break
                    appeal = torch.stack(aims).sum()
                    (slope,) = torch.autograd.grad(appeal, leaf, allow_unused=True, materialize_grads=True)
                reach = 0.5 * (1 + math.cos(math.pi * step / steps)) + 0.05
                content = unit(content + reach * unit(slope.nan_to_num(0, 0, 0), region), region)
            self._record("input", factor, before, rounds)

    def _record(self, level: str, factor: float, before: list[Call], rounds: list[Round]) -> None:
        """One finding for each layer and head: the worst of the rounds."""
        moved = max(c for _, c in rounds)
        for name in dict.fromkeys(call.layer for call in before):
            first = [call for call in before if call.layer == name]
            calls = [call for after, _ in rounds for call in after if call.layer == name]
            if not any(bool(call.view.seeing.any()) for call in first):
                continue
            clean = torch.stack([call.mean() for call in first]).amax(dim=0)
            captured = torch.stack([call.mean() for call in calls]).amax(dim=0)
            peak = torch.stack([call.captured().amax(dim=(0, 2)) for call in calls]).amax(dim=0)
            bounds = [call.bound for call in calls if call.bound is not None]
            bound = torch.stack([b.amax(dim=(0, 2)) for b in bounds]).amax(dim=0) if bounds else None
            for call in calls:
                if call.bound is not None:
                    over = float((call.captured() - call.bound).max())
                    self.excess = over if self.excess is None else max(self.excess, over)
            assumed = any(call.assumes_queries for call in calls)
            for head in range(len(captured)):
                numbers = (float(clean[head]), float(captured[head]), float(peak[head]))
                most = None if bound is None else float(bound[head])
                self.findings.append(Finding(level, name, head, factor, *numbers, most, assumed, moved))


def change(before: Any, after: Any) -> float:
    """|after - before| / |before| over all floating-point tensors of two answers, mean over the items.

    What was not finite before (lse of dead rows) is left out; what is not finite afterwards counts as infinite.
    """
    pairs = list(zip(_floats(before), _floats(after), strict=True))
    lengths = {a.shape[0] if a.dim() else 1 for a, _ in pairs}
    items = lengths.pop() if len(lengths) == 1 else 1  # without one batch axis, all of it is one item
    if not pairs or not items:
        return 0.0
    moved = [torch.where(a.isfinite(), b - a, 0).reshape(items, -1).nan_to_num(torch.inf) for a, b in pairs]
    whole = [a.nan_to_num(0, 0, 0).reshape(items, -1) for a, _ in pairs]
    return float((torch.cat(moved, dim=1).norm(dim=1) / torch.cat(whole, dim=1).norm(dim=1).clamp(min=1e-30)).mean())


def _floats(answer: Any) -> list[Tensor]:
    tensors = (x for x in pytree.tree_leaves(answer) if isinstance(x, Tensor) and x.is_floating_point())
    return [x.detach().double() for x in tensors]
