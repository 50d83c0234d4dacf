"""The metrics of each kind of problem, by torchmetrics, under the names that all tasks share."""

from typing import Literal

import torch
from torch import Tensor
from torchmetrics import MeanAbsoluteError, MeanSquaredError, Metric, MetricCollection, R2Score
from torchmetrics.classification import BinaryAccuracy, MulticlassAccuracy
from torchmetrics.functional.classification import binary_auroc, binary_average_precision
from torchmetrics.utilities.data import dim_zero_cat


def classification_metrics(classes: int) -> MetricCollection:
    """accuracy, auroc and auprc (average precision).

    Two classes: predictions are the probability of class 1 (N,), compared with .5. More: probabilities (N, classes);
    accuracy is over all samples (micro), auroc and auprc are one class against the rest, averaged, see `Ranking`.

    Args:
        classes: number of classes.

    Raises:
        ValueError: fewer than two classes.
    """
    if classes < 2:
        raise ValueError(f"classes: expected at least 2, got {classes}")
    if classes == 2:
        accuracy: Metric = BinaryAccuracy()
    else:
        accuracy = MulticlassAccuracy(classes, average="micro")
    return MetricCollection({"accuracy": accuracy, "auroc": Ranking("auroc"), "auprc": Ranking("auprc")})


class Ranking(Metric):
    """AUROC or average precision, over classes and labels the mean of those that are defined.

        score = mean_{k in D} s(p_k, y_k),   D = {k: y_k is both 0 and 1 somewhere}

    NaN where D is empty, or a prediction is NaN: a class that no sample or every sample has cannot be ranked, and
    counts neither for nor against.

    Args:
        score: s, "auroc" or "auprc" (average precision), as torchmetrics counts it.
    """

    needs = "samples of two classes, or of a label both 0 and 1"
    full_state_update = False
    higher_is_better = True
    probability: list[Tensor]
    target: list[Tensor]

    def __init__(self, score: Literal["auroc", "auprc"]) -> None:
        super().__init__()
        if score not in ("auroc", "auprc"):
            raise ValueError(f"score: expected 'auroc' or 'auprc', got {score!r}")
        self.score = score
        self.add_state("probability", default=[], dist_reduce_fx="cat")
        self.add_state("target", default=[], dist_reduce_fx="cat")

    def update(self, probability: Tensor, target: Tensor) -> None:
        """Add samples.

        Args:
            probability: of class 1, of every class, or of every label.
            target: 0 or 1; the class number; or 0, 1 and -1 (unknown) per label.

        Shapes:
            probability: (N,) or (N, K); target: (N,), or (N, K) for labels

        Raises:
            ValueError: the shapes do not fit.
        """
        fits = target.ndim in (1, 2) and target.shape == probability.shape[: target.ndim] and probability.ndim <= 2
        if not fits:
            raise ValueError(
                f"target: expected (N,) or (N, K) beside probabilities (N,) or (N, K), got {tuple(target.shape)} and "
                f"{tuple(probability.shape)}"
            )
        self.probability.append(probability.detach())
        self.target.append(target.detach())

    def compute(self) -> Tensor:
        """The mean over what is defined."""
        p, y = dim_zero_cat(self.probability), dim_zero_cat(self.target)
        columns = p[:, None].unbind(1) if p.ndim == 1 else p.unbind(1)
        if y.ndim == 2:
            truth = list(y.unbind(1))
        else:
            truth = [y] if p.ndim == 1 else [(y == k).long() for k in range(p.shape[1])]
        score = binary_auroc if self.score == "auroc" else binary_average_precision
        found = []
        for column, one in zip(columns, truth, strict=True):
            if y.ndim == 2:
                column, one = column[one != -1], one[one != -1]
            if (one == 1).any() and (one == 0).any():
                found.append(score(column, one, validate_args=False))
        if not found or p.isnan().any():
            return torch.tensor(torch.nan, device=p.device)
        return torch.stack(found).mean()


def regression_metrics() -> MetricCollection:
    """r2, mae and rmse of predictions (N,) against targets (N,), in the target's unit."""
    return MetricCollection({"r2": R2Score(), "mae": MeanAbsoluteError(), "rmse": MeanSquaredError(squared=False)})
