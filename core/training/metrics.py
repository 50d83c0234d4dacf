"""The metrics of each kind of problem, by torchmetrics, under the names that all tasks share."""

from torchmetrics import MeanAbsoluteError, MeanSquaredError, MetricCollection, R2Score
from torchmetrics.classification import (
    BinaryAccuracy,
    BinaryAUROC,
    BinaryAveragePrecision,
    MulticlassAccuracy,
    MulticlassAUROC,
    MulticlassAveragePrecision,
)


def classification_metrics(classes: int) -> MetricCollection:
    """accuracy, auroc and auprc (average precision).

    Two classes: predictions are the probability of class 1 (N,), compared with .5. More: probabilities (N, classes);
    accuracy is over all samples (micro), auroc and auprc are one class against the rest, averaged (macro).

    Args:
        classes: number of classes.

    Raises:
        ValueError: fewer than two classes.
    """
    if classes < 2:
        raise ValueError(f"classes: expected at least 2, got {classes}")
    if classes == 2:
        return MetricCollection(
            {"accuracy": BinaryAccuracy(), "auroc": BinaryAUROC(), "auprc": BinaryAveragePrecision()}
        )
    return MetricCollection(
        {
            "accuracy": MulticlassAccuracy(classes, average="micro"),
            "auroc": MulticlassAUROC(classes, average="macro"),
            "auprc": MulticlassAveragePrecision(classes, average="macro"),
        }
    )


def regression_metrics() -> MetricCollection:
    """r2, mae and rmse of predictions (N,) against targets (N,), in the target's unit."""
    return MetricCollection({"r2": R2Score(), "mae": MeanAbsoluteError(), "rmse": MeanSquaredError(squared=False)})
