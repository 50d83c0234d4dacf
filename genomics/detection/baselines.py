"""The simpler methods that every result stands beside: k-mer regression and scanning with a known matrix."""

from collections.abc import Sequence

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, average_precision_score, roc_auc_score

from core.training import BaselineResult

from ..motifs.matrices import Motif
from ..motifs.scanning import best_scores
from ..sequences.kmers import kmer_counts
from .data.base import SequenceDataModule
from .data.batch import SequenceDataset, fixed_shuffles

PENALTIES = (1e-3, 1e-2, 1e-1, 1.0)
"""The values of scikit-learn's C that validation chooses among."""


BASELINES = ("logistic_4mers", "logistic_6mers", "matrix_scan")
"""What `fit_baselines` can fit."""


def fit_baselines(data: SequenceDataModule, names: Sequence[str] = BASELINES) -> list[BaselineResult]:
    """Fit simpler methods on the training part and judge them on the test part; those that the data allow.

    Regressions need a training part, and the scan needs matrices that the data name.

    Args:
        data: A data module that is set up, with a test part.
        names: Among `BASELINES`.
    """
    results = []
    if data.plain_train_set is not None:
        results += [kmer_regression(data, k) for k in (4, 6) if f"logistic_{k}mers" in names]
    motifs = data.known_motifs() if "matrix_scan" in names else []
    if motifs:
        results.append(matrix_scan(data, motifs))
    return results


def kmer_regression(data: SequenceDataModule, k: int, shuffles: int = 3) -> BaselineResult:
    """Logistic regression (scikit-learn, classes weighed alike) on log(1 + count) of the k-mers of both strands.

    Where negatives are shuffles, it trains on `shuffles` of each positive, as a model has new ones in every epoch. C is
    the best of `PENALTIES` by AUROC on the validation part; without one it is 0.01.

    Args:
        data: A data module that is set up, with a training and a test part.
        k: Letters of a k-mer.
        shuffles: Shuffles of each positive of the training part.

    Raises:
        ValueError: There is no training or no test part.
    """
    test, train = _part(data.test_set, "test"), _part(data.plain_train_set, "training")
    letters, labels = train.letters(), train.targets()
    if data.shuffled_train:
        positives = [sequence for sequence, label in zip(letters, labels, strict=True) if label == 1]
        letters = positives + fixed_shuffles(positives, shuffles, data.split_seed)
        labels = np.repeat([1, 0], [len(positives), len(positives) * shuffles])
    features = kmer_counts(letters, k).log1p()
    penalties, scores = PENALTIES if data.val_set is not None else (1e-2,), []
    machines = [
        LogisticRegression(C=C, class_weight="balanced", max_iter=1000).fit(features, labels) for C in penalties
    ]
    if data.val_set is not None:
        validation, targets = kmer_counts(data.val_set.letters(), k).log1p(), data.val_set.targets()
        scores = [roc_auc_score(targets, machine.decision_function(validation)) for machine in machines]
    best = int(np.argmax(scores)) if scores else 0
    score = machines[best].decision_function(kmer_counts(test.letters(), k).log1p())
    chosen = f"C = {penalties[best]:g}"
    validated = float(scores[best]) if scores else np.nan
    target, prediction = test.targets(), (score > 0).astype(np.int64)
    values = {**_ranking(target, score), "accuracy": float(accuracy_score(target, prediction))}
    return BaselineResult(f"logistic_{k}mers", values, chosen, validated, prediction, score, target)


def matrix_scan(data: SequenceDataModule, motifs: Sequence[Motif]) -> BaselineResult:
    """The best log-odds score of a known matrix on either strand.

    Of several matrices, it is the one with the best AUROC on the validation part, or the highest score of all of them
    if that is better there; without a validation part the latter.

    Args:
        data: A data module that is set up, with a test part.
        motifs: The matrices.

    Raises:
        ValueError: There is no test part, or no matrix.
    """
    test = _part(data.test_set, "test")
    if not motifs:
        raise ValueError("motifs: expected at least one, got none")
    candidates: list[list[Motif]] = [[motif] for motif in motifs]
    if len(motifs) > 1:
        candidates.append(list(motifs))
    best, validated = candidates[-1], np.nan
    if data.val_set is not None:
        letters, targets = data.val_set.letters(), data.val_set.targets()
        ranks = [float(roc_auc_score(targets, _highest(candidate, letters))) for candidate in candidates]
        best, validated = candidates[int(np.argmax(ranks))], max(ranks)
    chosen = f"{best[0].id} {best[0].name}".strip() if len(best) == 1 else f"the highest of {len(best)} matrices"
    score, target = _highest(best, test.letters()), test.targets()
    return BaselineResult("matrix_scan", _ranking(target, score), chosen, validated, score=score, target=target)


def _ranking(target: np.ndarray, score: np.ndarray) -> dict[str, float]:
    """AUROC and AUPRC; a larger score means more likely to hold a site."""
    return {"auroc": float(roc_auc_score(target, score)), "auprc": float(average_precision_score(target, score))}


def _highest(motifs: Sequence[Motif], letters: list[str]) -> np.ndarray:
    """The highest score of any of the motifs; a sequence that cannot be scored comes last."""
    score = np.max([best_scores(motif, letters) for motif in motifs], axis=0)
    return np.asarray(np.maximum(score, -1e6))


def _part(part: SequenceDataset | None, name: str) -> SequenceDataset:
    if part is None:
        raise ValueError(f"baseline: expected a {name} part, got none")
    return part
