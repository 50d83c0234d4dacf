"""The model under test: how it is called, what is read from its output, which attention is read as an explanation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ...layers import evaluating
from .intervention import Rewrite, attention_layers, check_rewriting, recorded, rewritten
from .units import Units

Call = Callable[[nn.Module, Tensor, Tensor | None], Any]
"""Takes the model, the inputs and the units that it may see ((B, n) bool, or None for all); answers the output. It is
always called with the whole batch, so it may hold other tensors of the batch (times, lengths, a second input)."""


def plain_call(model: nn.Module, inputs: Tensor, keep: Tensor | None) -> Any:
    """`model(inputs)`; refuses to leave units out, which needs a `call` that knows the model's mask."""
    if keep is not None and not keep.all():
        raise ValueError(
            "call: expected a function (model, inputs, keep) that hides the units outside `keep` with the model's "
            "mask, for example `lambda model, x, keep: model(x, mask=masks.Padding(keep))`, got none"
        )
    return model(inputs)


class Subject:
    """A model in evaluation, a batch, and what is asked of them.

    score(y) is the scalar that attributions explain, curve(y) the one that deletion and insertion follow,
    distribution(y) the probabilities that total variation compares. By default, with c the class predicted on the
    intact input: score = log p_c - log(1 - p_c), which does not saturate and ranks units as p_c does; curve = p_c.

    Args:
        model: any module. It is put into eval() by `opened` and left as it was.
        inputs: floating point, split by `units`; integers with `embedding`.
        units: how the input is split, and what replaces a removed unit.
        call: how the model is called. Default: `model(inputs)`.
        embedding: name of the module that turns integer inputs into vectors; units, baselines and gradients then act on
            what it answers.
        target: from the output to one number per item, (B,), as score and curve. Default: see above.
        distribution: from the output to probabilities (B, C). Default: softmax of (B, C), sigmoid of (B,) or (B, 1).
        layer: name of the attention layer under test. Default: the last one that runs.
        row: the query whose weights are read: its index, or "mean" over all. Default: the only one of a pooling layer,
            else 0 where `units.prefix` > 0 (the class token), else "mean".

    Raises:
        ValueError: no attention layer runs, the named one does not or runs twice, its keys are not prefix + units, or
            the output is not one that the defaults can read.
        TypeError: integer inputs without `embedding`.
    """

    def __init__(
        self,
        model: nn.Module,
        inputs: Tensor,
        units: Units,
        *,
        call: Call = plain_call,
        embedding: str | None = None,
        target: Callable[[Tensor], Tensor] | None = None,
        distribution: Callable[[Tensor], Tensor] | None = None,
        layer: str | None = None,
        row: int | Literal["mean"] | None = None,
    ) -> None:
        self.model, self.units, self.call = model, units, call
        self._embedding = embedding
        self.embedding = None if embedding is None else model.get_submodule(embedding)
        self._raw, self._target, self._distribution = inputs, target, distribution
        if inputs.shape[:1] == (0,):
            raise ValueError("inputs: expected at least one item, got none")
        if embedding is None and not inputs.is_floating_point():
            raise TypeError(f"inputs: expected floating point, or integers with `embedding`, got {inputs.dtype}")
        with self.opened(), torch.no_grad():
            self.x = inputs if self.embedding is None else self._embedded(self.embedding)
            self.valid = units.validity(self.x)
            if not self.valid.any():
                raise ValueError("inputs: expected at least one valid unit, got none")
            self.layers = attention_layers(model)
            if not self.layers:
                raise ValueError(f"model: expected an attention layer, got none among its {_types(model)}")
            ran = check_rewriting(self.layers, self.intact)
            self.layer = self._choose(layer, ran)
            output = self.intact()
            self.classes = None if target is not None else self.distribution(output).argmax(1)
            self.intact_distribution = self.distribution(output)
            with recorded(self.layers) as calls:
                self.intact()
            self.calls = calls[: [name for name, *_ in calls].index(self.layer) + 1]
        _, self.weights, self.allowed = self.calls[-1]
        self.row: int | Literal["mean"] = self._row(row)
        keys = units.keys(self.valid.shape[1])
        if self.weights.shape[-1] != keys:
            raise ValueError(
                f"units: expected {keys} keys in layer {self.layer!r} for {self.valid.shape[1]} units after a "
                f"prefix of {units.prefix}, got {self.weights.shape[-1]}"
            )

    def opened(self) -> AbstractContextManager[None]:
        """The model in eval(); the mode of every module is put back."""
        return evaluating(self.model)

    def intact(self) -> Tensor:
        """The output for the input as it is."""
        return self.output(self.x)

    def output(self, x: Tensor, keep: Tensor | None = None) -> Tensor:
        """The output for an input of x's shape; `keep` names the units that the model may see."""
        if keep is None and not self.valid.all():
            keep = self.valid
        if self.embedding is None:
            output = self.call(self.model, x, keep)
        else:
            handle = self.embedding.register_forward_hook(lambda *_: x)
            try:
                output = self.call(self.model, self._raw, keep)
            finally:
                handle.remove()
        if not isinstance(output, Tensor) or output.shape[:1] != x.shape[:1]:
            got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise ValueError(f"call: expected it to answer a tensor with {x.shape[0]} items, got {got}")
        return output

    def without(self, keep: Tensor) -> Tensor:
        """The output with only the units of `keep`, (B, n); the others are replaced by the baseline or hidden."""
        keep = keep & self.valid
        x = self.units.without(self.x, keep | ~self.valid)
        return self.output(x, keep if self.units.masked else None)

    @contextmanager
    def with_weights(self, rewrite: Rewrite) -> Iterator[None]:
        """The layer under test with other weights in the row that is read, the other rows as they are."""

        def one_row(weights: Tensor, allowed: Tensor) -> Tensor:
            new = rewrite(weights, allowed)
            if self.row == "mean":
                return new
            chosen = torch.arange(weights.shape[2], device=weights.device)[:, None] == self.row
            return torch.where(chosen, new, weights)

        with rewritten(self.layers[self.layer], one_row):
            yield

    def twin(self, model: nn.Module) -> Subject:
        """The same questions put to another model of this architecture."""
        return Subject(
            model,
            self._raw,
            self.units,
            call=self.call,
            embedding=self._embedding,
            target=self._target,
            distribution=self._distribution,
            layer=self.layer,
            row=self.row,
        )

    def read(self, weights: Tensor) -> Tensor:
        """From weights (B, H, Lq, Lk) to the explanation: the mean of the heads in the row that is read, (B, Lk)."""
        rows = weights.mean(1)
        if self.row != "mean":
            return rows[:, self.row]
        alive = self.allowed.any(1).any(-1).to(rows)  # rows that attend at all: padded queries do not count
        return (rows * alive[..., None]).sum(1) / alive.sum(1, keepdim=True).clamp(min=1)

    def score(self, output: Tensor) -> Tensor:
        """What attributions explain, (B,)."""
        if self._target is not None:
            return self._checked("target", self._target(output))
        assert self.classes is not None
        logits = output if output.dim() > 1 and output.shape[1] > 1 else self._binary_logits(output)
        logits = logits.log_softmax(1)  # of logits: itself but for a constant
        chosen = torch.nn.functional.one_hot(self.classes, logits.shape[1]).bool()
        others = logits.masked_fill(chosen, -torch.inf).logsumexp(1)
        return logits.gather(1, self.classes[:, None])[:, 0] - others

    def curve(self, output: Tensor) -> Tensor:
        """What deletion and insertion follow, (B,): p_c, or `target`."""
        if self.classes is None:
            return self.score(output)
        return self.distribution(output).gather(1, self.classes[:, None])[:, 0]

    def distribution(self, output: Tensor) -> Tensor:
        """Probabilities of the classes, (B, C)."""
        if self._distribution is not None:
            probabilities = self._distribution(output)
            if probabilities.dim() != 2 or len(probabilities) != len(self._raw):
                raise ValueError(
                    f"distribution: expected probabilities ({len(self._raw)}, C), got {tuple(probabilities.shape)}"
                )
            return probabilities
        if output.dim() == 1 or (output.dim() == 2 and output.shape[1] == 1):
            return self._binary_logits(output).softmax(1)
        if output.dim() != 2:
            raise ValueError(
                "distribution: expected a function to probabilities (B, C) where the output is not (B, C) logits, got "
                f"none and an output of shape {tuple(output.shape)}"
            )
        return output.softmax(1)

    def variation(self, output: Tensor) -> Tensor:
        """Total variation to the intact output, 1/2 sum_c |p_c - p'_c|: (B,), from 0 to 1."""
        return (self.distribution(output) - self.intact_distribution).abs().sum(1) / 2

    @staticmethod
    def _binary_logits(output: Tensor) -> Tensor:
        logit = output.reshape(len(output))
        return torch.stack([torch.zeros_like(logit), logit], 1)

    def _checked(self, name: str, value: Tensor) -> Tensor:
        if value.shape != (len(self._raw),):
            raise ValueError(f"{name}: expected one number per item, ({len(self._raw)},), got {tuple(value.shape)}")
        return value

    def _embedded(self, embedding: nn.Module) -> Tensor:
        """What the embedding answers to the raw inputs."""
        seen: list[Tensor] = []
        handle = embedding.register_forward_hook(lambda _, args, out: seen.append(out.detach()))
        try:
            keep = getattr(self.units, "valid", None)
            self.call(self.model, self._raw, keep)
        finally:
            handle.remove()
        if len(seen) != 1:
            raise ValueError(
                f"embedding: expected a module that runs once in the model, got one that ran {len(seen)} x"
            )
        return seen[0]

    def _choose(self, layer: str | None, ran: Any) -> str:
        """The layer under test."""
        if not ran:
            raise ValueError(
                f"model: expected one of its attention layers to run, got none of {', '.join(self.layers)}"
            )
        chosen: str = ran[-1] if layer is None else layer
        if ran.count(chosen) != 1:
            raise ValueError(
                f"layer: expected the name of an attention layer that runs once, one of {', '.join(dict.fromkeys(ran))}"
                f", got {chosen!r}, which ran {ran.count(chosen)} times"
            )
        return chosen

    def _row(self, row: int | Literal["mean"] | None) -> int | Literal["mean"]:
        """The row to read."""
        queries = self.weights.shape[2]
        if row is None:
            return 0 if queries == 1 or self.units.prefix else "mean"
        if row != "mean" and not 0 <= row < queries:
            raise ValueError(f"row: expected 'mean' or a query from 0 to {queries - 1}, got {row!r}")
        return row


def _types(model: nn.Module) -> str:
    return ", ".join(sorted({type(module).__name__ for module in model.modules()}))
