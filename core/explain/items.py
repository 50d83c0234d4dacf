"""What an explanation says: of which items, what was predicted, what each unit counts, and whether to believe it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..analysis.faithfulness import FaithfulnessReport


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a model predicts for some items.

    Args:
        names: of the numbers: classes, labels or targets.
        values: the numbers.
        unit: of the numbers: "probability", "USD", ...
        uncertainty: their standard deviation, of the same unit, where the model gives one.
        truth: what was observed, where that is known, in words.

    Shapes:
        values, uncertainty: (B, K) for K names; truth: B.

    Raises:
        ValueError: shapes that do not fit, or probabilities outside [0, 1].
    """

    names: tuple[str, ...]
    values: Tensor
    unit: str = "probability"
    uncertainty: Tensor | None = None
    truth: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or self.values.shape[1] != len(self.names):
            raise ValueError(f"values: expected (B, {len(self.names)}), got {tuple(self.values.shape)}")
        if self.unit == "probability" and not bool(((self.values >= 0) & (self.values <= 1)).all()):
            low, high = float(self.values.min()), float(self.values.max())
            raise ValueError(f"values: expected probabilities in [0, 1], got {low:g} to {high:g}")
        if self.uncertainty is not None and self.uncertainty.shape != self.values.shape:
            expected, got = tuple(self.values.shape), tuple(self.uncertainty.shape)
            raise ValueError(f"uncertainty: expected {expected}, got {got}")
        if self.truth is not None and len(self.truth) != len(self.values):
            raise ValueError(f"truth: expected one for each of {len(self.values)} items, got {len(self.truth)}")


@dataclass(frozen=True, eq=False)
class Explanation:
    """Predictions of some items, what each of their units counts by several methods, and the verdict on attention.

    Args:
        items: the items' names.
        prediction: of each of them.
        unit: what a unit is, in words: "patch of 4 x 4 pixels".
        unit_names: the names of each item's units, in their order.
        valid: which places hold a unit.
        attributions: by method, what each unit counts; 0 where there is no unit.
        faithful: whether attention passed every check that was run.
        verdict: the same in words: which checks failed, which were not run.
        report: all that was measured.
        limits: what must be said wherever this is shown.

    Shapes:
        items, unit_names: B; valid and each of attributions: (B, n).

    Raises:
        ValueError: parts that do not fit each other.
    """

    items: tuple[str, ...]
    prediction: Prediction
    unit: str
    unit_names: tuple[tuple[str, ...], ...]
    valid: Tensor
    attributions: Mapping[str, Tensor]
    faithful: bool
    verdict: str
    report: FaithfulnessReport | None = field(default=None, repr=False)
    limits: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        B = len(self.items)
        for name, count in (("prediction", len(self.prediction.values)), ("unit_names", len(self.unit_names))):
            if count != B:
                raise ValueError(f"{name}: expected one for each of {B} items, got {count}")
        if self.valid.ndim != 2 or len(self.valid) != B or self.valid.dtype != torch.bool:
            got = f"{self.valid.dtype} of {tuple(self.valid.shape)}"
            raise ValueError(f"valid: expected bool of ({B}, n), got {got}")
        for number, (names, count) in enumerate(zip(self.unit_names, self.valid.sum(1).tolist(), strict=True)):
            if len(names) != count:
                raise ValueError(f"unit_names[{number}]: expected {count}, one for each unit, got {len(names)}")
        if not self.attributions:
            raise ValueError("attributions: expected at least one method, got none")
        for method, values in self.attributions.items():
            if values.shape != self.valid.shape:
                shapes = f"expected {tuple(self.valid.shape)}, got {tuple(values.shape)}"
                raise ValueError(f"attributions[{method!r}]: {shapes}")

    def of(self, item: str, method: str) -> Tensor:
        """What each unit of an item counts by a method, (units,).

        Raises:
            ValueError: there is no such item or method.
        """
        number = self._number(item)
        if method not in self.attributions:
            raise ValueError(f"method: expected one of {', '.join(self.attributions)}, got {method!r}")
        return self.attributions[method][number][self.valid[number]]

    def top(self, item: str, method: str, most: int = 5) -> list[tuple[str, float]]:
        """The units of an item that count most by a method, by magnitude, with their numbers; ties in their order."""
        values = self.of(item, method).tolist()
        named = zip(self.unit_names[self._number(item)], values, strict=True)
        return sorted(named, key=lambda pair: -abs(pair[1]))[:most]

    def _number(self, item: str) -> int:
        if item not in self.items:
            raise ValueError(f"item: expected one of {', '.join(self.items)}, got {item!r}")
        return self.items.index(item)
