"""The simpler method that every result stands beside: a support vector machine on raw pixels."""

from collections.abc import Callable

import numpy as np
from sklearn.metrics import accuracy_score, average_precision_score, roc_auc_score
from sklearn.svm import SVC

from core.training import BaselineResult

from ..images.base import ImageDataModule
from ..images.datasets import ImageDataset


def ranking_scores(target: np.ndarray, score: np.ndarray) -> tuple[float, float]:
    """Area under the ROC curve and average precision; for more than two classes the mean over one-against-the-rest.

    Args:
        target: Classes.
        score: Larger means more likely; of class 1, or of every class.

    Shapes:
        target: (n,)
        score: (n,) or (n, K)
    """
    if score.ndim == 1:
        return float(roc_auc_score(target, score)), float(average_precision_score(target, score))
    present = [k for k in range(score.shape[1]) if 0 < (target == k).sum() < len(target)]
    auroc = np.mean([roc_auc_score(target == k, score[:, k]) for k in present])
    auprc = np.mean([average_precision_score(target == k, score[:, k]) for k in present])
    return float(auroc), float(auprc)


def support_vector_machine(data: ImageDataModule, part: str = "test", most: int = 20_000) -> BaselineResult:
    """scikit-learn's SVC as it comes (radial kernel, C = 1, gamma = 1 / (features * variance)) on pixels in [0, 1].

    Args:
        data: A data module that is set up; training and test part are the model's.
        part: The part to score, "test" or "val".
        most: Largest training part; its time grows with the square.

    Raises:
        ValueError: The training part is larger, or there is no such part.
    """
    scored = data.test_set if part == "test" else data.val_set
    if not isinstance(scored, ImageDataset):
        raise ValueError(f"baselines: expected a {part} part, got none")
    train = data.plain_train_set
    if train is None:
        raise ValueError("baselines: expected a training part, got none")
    if len(train) > most:
        raise ValueError(
            f"baselines: expected at most {most} training images for a support vector machine, got {len(train)}; "
            "set the task's baselines to []"
        )
    machine = SVC(decision_function_shape="ovr").fit(train.pixels(), train.targets())
    pixels, target = scored.pixels(), scored.targets()
    prediction, score = machine.predict(pixels), machine.decision_function(pixels)
    auroc, auprc = ranking_scores(target, score)
    values = {"accuracy": float(accuracy_score(target, prediction)), "auroc": auroc, "auprc": auprc}
    return BaselineResult("svc_pixels", values, prediction=prediction, score=score, target=target)


BASELINES: dict[str, Callable[[ImageDataModule], BaselineResult]] = {"svc_pixels": support_vector_machine}
"""By their names: what the option `baselines` chooses from."""
