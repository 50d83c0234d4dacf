"""The four kinds of outcomes: their losses, their probabilities, their metrics.

| kind | logits | loss | probabilities |
|---|---|---|---|
| binary | (N, 1) | weighted cross-entropy | (N,), of class 1 |
| multiclass | (N, K) | weighted cross-entropy | (N, K) |
| multilabel | (N, K) | mean of the known labels' cross-entropies | (N, K) |
| time_to_event | (N, K) intervals | see `hazards` | (N, K), the event by the end of each interval |
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import Metric, MetricCollection

from core.training import Ranking, classification_metrics

from .hazards import exposure, hazard_loss, interval_edges, survival

Kind = Literal["binary", "multiclass", "multilabel", "time_to_event"]

UNNAMED = ("1",)
"""Class 1 of a binary outcome without a name."""


@dataclass(frozen=True)
class Outcome:
    """What is predicted.

    A target is an array: binary: 0 or 1; multiclass: the class number; multilabel: 0 or 1 per label, NaN where unknown;
    time_to_event: (duration in hours, 1 for an event or 0 for the end of observation).

    Args:
        kind: Of the target.
        names: Of the classes (binary: of class 1), the labels, or the intervals.
        edges: time_to_event: the ends of the intervals in hours.
    """

    kind: Kind
    names: tuple[str, ...]
    edges: tuple[float, ...] = ()

    @classmethod
    def of(cls, target: np.ndarray, kind: Kind, names: Sequence[str] = (), *, intervals: int = 10) -> "Outcome":
        """That of training targets.

        Args:
            target: Of the training part.
            kind: Which kind it is.
            names: Of the classes (binary: of class 1 alone) or labels; may be empty.
            intervals: For time_to_event.

        Shapes:
            target: (N,) or (N, K)

        Raises:
            ValueError: A multiclass target has one class alone.
        """
        if kind == "time_to_event":
            edges = tuple(interval_edges(target[:, 0], target[:, 1], intervals))
            return cls(kind, tuple(f"by_{edge:g}h" for edge in edges), edges)
        given = tuple(names)
        if kind == "binary":
            return cls(kind, given or UNNAMED)
        count = target.shape[1] if kind == "multilabel" else max(len(given), int(target.max()) + 1)
        if kind == "multiclass" and count < 2:
            raise ValueError("target: expected at least two classes, got one")
        return cls(kind, given or tuple(str(k) for k in range(count)))

    @property
    def outputs(self) -> int:
        """How many logits."""
        return len(self.names)

    def adapt(self, target: np.ndarray, kind: Kind, names: Sequence[str] = ()) -> np.ndarray:
        """A target in this outcome's order: classes and labels go by their names.

        A label that is not there is unknown, NaN. A target without names goes by number, if the outcome does.

        Args:
            target: Of any samples.
            kind: Which kind it is.
            names: Of its classes (binary: of class 1 alone) or labels; may be empty.

        Shapes:
            target: (N,) or (N, K); answer: (N,) or (N, outputs); the same array where nothing changes

        Raises:
            ValueError: It is of another kind, or has a class or label whose name is not known here.
        """
        if kind != self.kind:
            raise ValueError(f"kind: expected a {self.kind} outcome, as the model predicts, got {kind} in the data")
        theirs = list(names)
        if kind == "time_to_event" or tuple(theirs) == self.names:
            return target
        if kind == "binary":
            if theirs and self.names != UNNAMED and not np.isnan(target).all():
                raise ValueError(
                    f"{self._strange(theirs[0])}; if it is the same outcome, call it so in the labels, too"
                )
            return target
        label = kind == "multilabel"
        known = ~np.isnan(target)
        used = np.flatnonzero(known.any(0)) if label else np.unique(target[known]).astype(np.int64)
        count = max(len(theirs), target.shape[1] if label else int(used.max(initial=-1)) + 1)
        theirs += [str(k) for k in range(len(theirs), count)]
        place = {name: k for k, name in enumerate(self.names)}
        for k in used:
            if theirs[k] not in place:
                raise self._strange(theirs[k])
        if label:
            ours = np.full((len(target), self.outputs), np.nan, dtype=np.float32)
            for k in used:
                ours[:, place[theirs[k]]] = target[:, k]
            return ours
        table = np.array([*(place.get(name, -1) for name in theirs), np.nan], dtype=np.float32)
        return table[np.where(known, target, -1).astype(np.int64)]

    def _strange(self, name: str) -> ValueError:
        known = ", ".join(self.names)
        return ValueError(f"target_names: expected targets that the model knows ({known}), got {name!r} in the data")

    def has_contrast(self, target: Tensor) -> bool:
        """Whether two classes occur, some label is both 0 and 1, or there are both an event and time without one."""
        if self.kind == "time_to_event":
            at_risk, within = exposure(target, torch.tensor(self.edges, device=target.device))
            return bool(within.any() and (at_risk & ~within).any())
        if self.kind == "multilabel":
            return bool(((target == 1).any(0) & (target == 0).any(0)).any())
        return len(target.unique()) > 1

    def balance(self, target: np.ndarray) -> list[float]:
        """Weights with which every class counts alike: of class 1 against 0, or of each class."""
        if self.kind == "binary":
            positive = float((target == 1).mean())
            return [(1 - positive) / positive] if 0 < positive < 1 else [1.0]
        if self.kind == "multiclass":
            counts = np.bincount(target.astype(np.int64), minlength=self.outputs)
            return [float(len(target) / (max((counts > 0).sum(), 1) * n)) if n else 0.0 for n in counts]
        if self.kind == "multilabel":
            positive, negative = (target == 1).sum(0), (target == 0).sum(0)
            return [float(n / p) if p and n else 1.0 for p, n in zip(positive, negative, strict=True)]
        raise ValueError(
            "class_weight: expected null for a time to event, whose intervals balance the events, got 'balanced'"
        )

    def loss(self, logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Mean over the samples (multilabel: over the labels that are known).

        Shapes:
            logits: (N, K); target: as above; weight: (1,) binary, (K,) else; answer: ().
        """
        if self.kind == "binary":
            return F.binary_cross_entropy_with_logits(logits[:, 0], target, pos_weight=weight)
        if self.kind == "multiclass":
            each = F.cross_entropy(logits, target.long(), weight=weight, reduction="none")
            return each.mean()
        if self.kind == "multilabel":
            known = ~target.isnan()
            each = F.binary_cross_entropy_with_logits(logits, target.nan_to_num(), pos_weight=weight, reduction="none")
            return (each * known).sum() / known.sum().clamp(min=1)
        return hazard_loss(logits, target, torch.tensor(self.edges, device=logits.device)).mean()

    def probabilities(self, logits: Tensor) -> Tensor:
        """As the table above has them."""
        logits = logits.float()
        if self.kind == "binary":
            return logits[:, 0].sigmoid()
        if self.kind == "multiclass":
            return logits.softmax(1)
        return logits.sigmoid() if self.kind == "multilabel" else 1 - survival(logits)

    def metrics(self) -> tuple[MetricCollection, str]:
        """What is measured in training, and the main one; NaN where the samples do not define it."""
        if self.kind == "binary":
            return classification_metrics(2), "auroc"
        if self.kind == "multiclass":
            metrics = classification_metrics(max(self.outputs, 2))
            return metrics, "auroc"
        if self.kind == "multilabel":
            return MetricCollection({"auroc": Ranking("auroc"), "auprc": Ranking("auprc")}), "auroc"
        return MetricCollection({"concordance": Concordance()}), "concordance"

    def metric_inputs(self, probabilities: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Predictions and targets as the metrics take them, of any method's probabilities.

        Shapes:
            probabilities: as the table above has them; target: as above.
        """
        if self.kind == "time_to_event":
            return probabilities.sum(1), target  # sooner, more risk
        if self.kind == "multilabel":
            return probabilities, target.nan_to_num(nan=-1.0).long()
        if self.kind == "multiclass" and self.outputs == 2:
            return probabilities[:, 1], target.long()
        return probabilities, target.long()


class Concordance(Metric):
    """Harrell's C: of the pairs whose order is known, the share in which the earlier event had the higher risk.

        C = sum_{i, j: d_i = 1, t_i < t_j} (1[r_i > r_j] + 1/2 1[r_i = r_j]) / number of those pairs

    NaN where no pair's order is known.

    References:
        Harrell et al.: Evaluating the yield of medical tests, JAMA 1982.
    """

    needs = "a sample with an event, and one that was observed for longer"
    risk: list[Tensor]
    target: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("risk", default=[], dist_reduce_fx="cat")
        self.add_state("target", default=[], dist_reduce_fx="cat")

    def update(self, risk: Tensor, target: Tensor) -> None:
        """Add samples: risk (N,), target (N, 2) = (duration, event)."""
        self.risk.append(risk.detach())
        self.target.append(target.detach())

    def compute(self) -> Tensor:
        """C of all samples."""
        risk, target = _joined(self.risk), _joined(self.target)
        right = pairs = torch.zeros((), dtype=torch.float64, device=risk.device)
        for rows in target[:, 1].nonzero()[:, 0].split(1024):  # the samples with an event, against all
            later = target[rows, :1] < target[:, 0]
            above = (risk[rows, None] > risk).double() + 0.5 * (risk[rows, None] == risk)
            right, pairs = right + (above * later).sum(), pairs + later.sum()
        return (right / pairs).float()


def _joined(parts: Sequence[Tensor] | Tensor) -> Tensor:
    return parts if isinstance(parts, Tensor) else torch.cat(list(parts))
