"""Does an implementation keep the contract? Any task's `Explains` can be run through these checks, in a test of it."""

from __future__ import annotations

import torch
from torch import Tensor

from ..layers import evaluating
from .contract import Explains, Question


def check_explains(explains: Explains, *, pictures: bool = True) -> None:
    """Hold what a task answered to the contract.

    - Items have names, each once; the prediction has a row for each.
    - Every unit of every item has a name.
    - The model answers the same for the same question, an answer for each item, and an item without one unit too.
    - A unit that is left out through the model's mask cannot be seen: whatever stands there, the answer is the same.
    - Asking leaves the model as it was: modes, gradients.
    - An item can be drawn.

    Args:
        explains: what `task.explains(data, items)` answered.
        pictures: draw the first item; needs the extra viz.

    Raises:
        AssertionError: the contract is broken; the message says where.
    """
    items = explains.items
    _hold(len(items) > 0 and all(isinstance(name, str) for name in items), "items: expected names, got", items)
    _hold(len(set(items)) == len(items), "items: expected each name once, got", items)
    rows = len(explains.prediction().values)
    _hold(rows == len(items), f"prediction: expected a row for each of {len(items)} items, got", rows)
    _hold(bool(explains.unit), "unit: expected words, got", repr(explains.unit))
    question = explains.question()
    valid = question.units.validity(question.inputs)
    _hold(len(valid) == len(items), f"question: expected inputs of {len(items)} items, got", len(valid))
    for item, count in enumerate(valid.sum(1).tolist()):
        names = explains.unit_names(item)
        _hold(len(names) == count, f"unit_names({item}): expected {count} names, got", len(names))
    _check_answers(question, valid)
    if pictures:
        values = torch.linspace(-1, 1, int(valid[0].sum()))
        figure = explains.draw(0, values, "title")
        _hold(hasattr(figure, "savefig"), "draw: expected a matplotlib figure, got", type(figure).__name__)


@torch.no_grad()
def _check_answers(question: Question, valid: Tensor) -> None:
    """The answers of the model to the question and to smaller ones."""
    model, x, units = question.model, question.inputs, question.units
    modes = [module.training for module in model.modules()]
    gradients = [parameter.grad for parameter in model.parameters()]
    whole = None if bool(valid.all()) else valid
    with evaluating(model):
        answer = question.call(model, x, whole)
        _hold(isinstance(answer, Tensor), "call: expected it to answer a tensor, got", type(answer).__name__)
        _hold(len(answer) == len(x), f"call: expected an answer for each of {len(x)} items, got", len(answer))
        moved = _change(answer, question.call(model, x, whole))
        _hold(moved == 0, "call: expected the same answer twice, got a change of", moved)
        if question.embedding is None:  # with one, what is replaced is what the embedding answers
            fewer = valid.clone()
            fewer[torch.arange(len(valid)), valid.int().argmax(1)] = False
            less = question.call(model, units.without(x, fewer | ~valid), fewer if units.masked else whole)
            fits = less.shape == answer.shape and bool(less.isfinite().all())
            _hold(fits, f"call: expected finite {tuple(answer.shape)} with a unit left out, got", less)
            if units.masked:
                moved = _change(less, question.call(model, torch.where(units.spread(fewer, x), x, 7.0), fewer))
                _hold(moved < 1e-4, "call: expected hidden units to change nothing, got a change of", moved)
    now = [module.training for module in model.modules()]
    _hold(now == modes, "call: expected it to keep the modes of the model, got", now)
    kept = all(a is b for a, b in zip(gradients, (p.grad for p in model.parameters()), strict=True))
    _hold(kept, "call: expected it to keep the gradients of the parameters, got", "others")


def _change(a: Tensor, b: Tensor) -> float:
    """The largest change, over the largest number where that is above 1."""
    return float((a - b).abs().max() / a.abs().max().clamp(min=1)) if a.numel() else 0.0


def _hold(true: bool, expected: str, got: object) -> None:
    if not true:
        raise AssertionError(f"{expected} {got}")
