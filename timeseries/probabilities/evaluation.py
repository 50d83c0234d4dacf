r"""How good probabilities are: ranking, calibration, net benefit, with intervals over patients and in subgroups.

.. math:: \text{net benefit}(t) = \frac{TP(t)}{N} - \frac{FP(t)}{N} \frac{t}{1 - t}

for a threshold probability t: the true positives per patient, less the false ones weighed as one who acts at t weighs
them.

References:
    Vickers and Elkin: Decision curve analysis, Medical Decision Making 2006.
    Van Calster et al.: Calibration, the Achilles heel of predictive analytics, BMC Medicine 2019 (slope, intercept).
    Guo et al.: On calibration of modern neural networks, ICML 2017, eq. 3 (ECE; here with bins of equal counts).
"""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

CLIP = 1e-7  # probabilities of 0 and 1 have no logit


class Interval(NamedTuple):
    """A number and the bounds of its interval; NaN where it is not defined."""

    value: float
    low: float = math.nan
    high: float = math.nan

    def __str__(self) -> str:
        if math.isnan(self.value):
            return "-"
        bounds = "" if math.isnan(self.low) else f" [{self.low:.3f}, {self.high:.3f}]"
        return f"{self.value:.3f}{bounds}"


class BinaryScores(NamedTuple):
    """What one set of probabilities is worth.

    Args:
        n: Samples.
        prevalence: Share of class 1, which is also the AUPRC of guessing.
        auroc: Area under the ROC curve.
        auprc: Average precision.
        brier: Mean squared error of the probabilities.
        ece: Expected calibration error, 10 bins of equal counts.
        slope: Of the logistic regression of the target on the logit; 1 is calibrated, below 1 is overconfident.
        intercept: Calibration in the large: of that regression with the slope held at 1; 0 is calibrated.
    """

    n: int
    prevalence: float
    auroc: float
    auprc: float
    brier: float
    ece: float
    slope: float
    intercept: float


def logit(probability: np.ndarray) -> np.ndarray:
    """The log odds log p / (1 - p), probabilities clipped to [1e-7, 1 - 1e-7]."""
    p = np.clip(np.asarray(probability, dtype=np.float64), CLIP, 1 - CLIP)
    return np.log(p) - np.log1p(-p)


def binary_scores(target: np.ndarray, probability: np.ndarray) -> BinaryScores:
    """All scores of probabilities (N,) for targets (N,) of 0 and 1; NaN where one class is missing.

    Raises:
        ValueError: The shapes differ, or a target or probability is out of range.
    """
    target, probability = _checked(target, probability)
    n, prevalence = len(target), float(target.mean()) if len(target) else math.nan
    if not 0 < prevalence < 1:
        missing = math.nan
        brier = float(brier_score_loss(target, probability, pos_label=1)) if n else missing
        return BinaryScores(n, prevalence, missing, missing, brier, missing, missing, missing)
    slope, intercept = calibration_line(target, probability)
    return BinaryScores(
        n,
        prevalence,
        float(roc_auc_score(target, probability)),
        float(average_precision_score(target, probability)),
        float(brier_score_loss(target, probability)),
        expected_calibration_error(target, probability),
        slope,
        intercept,
    )


class ReliabilityBins(NamedTuple):
    """Samples grouped by predicted probability.

    Shapes:
        predicted, observed, count: (bins,): mean probability, share of class 1, samples
    """

    predicted: np.ndarray
    observed: np.ndarray
    count: np.ndarray  # type: ignore[assignment]  # tuple has a method of this name


def reliability(target: np.ndarray, probability: np.ndarray, bins: int = 10) -> ReliabilityBins:
    """Bins of equal counts, by ascending probability; equal probabilities stay together."""
    target, probability = _checked(target, probability)
    edges = np.quantile(probability, np.linspace(0, 1, bins + 1)[1:-1]) if len(target) else np.zeros(0)
    place = np.searchsorted(edges, probability, side="right")
    count = np.bincount(place, minlength=bins)
    there = count > 0
    mean = [np.bincount(place, weights=w, minlength=bins)[there] / count[there] for w in (probability, target)]
    return ReliabilityBins(mean[0], mean[1], count[there])


def expected_calibration_error(target: np.ndarray, probability: np.ndarray, bins: int = 10) -> float:
    """Mean over the samples of |observed - predicted| of their bin, see `reliability`."""
    groups = reliability(target, probability, bins)
    return float((np.abs(groups.observed - groups.predicted) * groups.count).sum() / groups.count.sum())


def calibration_line(target: np.ndarray, probability: np.ndarray) -> tuple[float, float]:
    """Calibration slope, and intercept with the slope held at 1 (NaN where one class is missing).

    slope b of   logit P(y = 1) = a + b logit(p);   intercept a of   logit P(y = 1) = a + logit(p)
    """
    target, probability = _checked(target, probability)
    if len(np.unique(target)) < 2:
        return math.nan, math.nan
    z = logit(probability)
    slope = math.nan
    if z.std() > 0:
        scale = z.std()
        line = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # perfect separation has no finite slope
            line.fit((z / scale)[:, None], target)
        slope = float(line.coef_[0, 0]) / scale
    low, high = -40.0, 40.0  # sum (y - sigmoid(a + z)) falls in a
    for _ in range(100):
        middle = (low + high) / 2
        expected = 1 / (1 + np.exp(-np.clip(z + middle, -700, 700)))
        low, high = (middle, high) if target.sum() > expected.sum() else (low, middle)
    return slope, (low + high) / 2


class DecisionCurve(NamedTuple):
    """Net benefit by threshold.

    Shapes:
        threshold, model, treat_all: (T,)
    """

    threshold: np.ndarray
    model: np.ndarray
    treat_all: np.ndarray


def net_benefit(
    target: np.ndarray, probability: np.ndarray, thresholds: Sequence[float] | np.ndarray | None = None
) -> DecisionCurve:
    """Net benefit of acting where p >= t, and of acting always; that of never acting is 0.

    Args:
        target: 0 or 1.
        probability: Of class 1.
        thresholds: t in (0, 1). Default: .01 to .60 in steps of .01.

    Raises:
        ValueError: A threshold outside (0, 1).
    """
    target, probability = _checked(target, probability)
    t = np.arange(0.01, 0.605, 0.01) if thresholds is None else np.asarray(thresholds, dtype=np.float64)
    if not ((t > 0) & (t < 1)).all():
        raise ValueError(f"thresholds: expected numbers in (0, 1), got {t}")
    act = probability >= t[:, None]
    right, wrong = (act & (target == 1)).mean(1), (act & (target == 0)).mean(1)
    odds, prevalence = t / (1 - t), target.mean()
    return DecisionCurve(t, right - wrong * odds, prevalence - (1 - prevalence) * odds)


def bootstrap(
    statistic: Callable[[np.ndarray], Mapping[str, float]],
    subjects: np.ndarray,
    *,
    repeats: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Interval]:
    """Percentile intervals over patients: whole subjects are drawn with replacement, with all their samples.

    Args:
        statistic: Rows -> named numbers; asked once with all rows, then with those of each draw.
        subjects: Of every sample.
        repeats: Draws.
        level: Share of the draws inside the interval.
        seed: Of the draws.

    Shapes:
        subjects: (N,)
    """
    if repeats < 1 or not 0 < level < 1:
        raise ValueError(f"repeats, level: expected at least 1 and 0 < level < 1, got {repeats} and {level}")
    _, people = np.unique(subjects, return_inverse=True)
    order = np.argsort(people, kind="stable")
    counts = np.bincount(people)
    ends = np.cumsum(counts)
    rng = np.random.default_rng(seed)
    whole = statistic(np.arange(len(people)))
    drawn: dict[str, list[float]] = {name: [] for name in whole}
    for _ in range(repeats):
        chosen = rng.integers(0, len(counts), len(counts))
        sizes = counts[chosen]
        shift = np.repeat((ends - counts)[chosen] - (np.cumsum(sizes) - sizes), sizes)
        for name, value in statistic(order[np.arange(sizes.sum()) + shift]).items():
            drawn[name].append(value)
    answer = {}
    for name, value in whole.items():
        known = np.array(drawn[name])[~np.isnan(drawn[name])]
        bounds = np.quantile(known, [(1 - level) / 2, (1 + level) / 2]) if len(known) else (math.nan, math.nan)
        answer[name] = Interval(float(value), float(bounds[0]), float(bounds[1]))
    return answer


def score_intervals(
    target: np.ndarray, probability: np.ndarray, subjects: np.ndarray, *, repeats: int = 1000, seed: int = 0
) -> dict[str, Interval]:
    """`binary_scores` with 95% intervals over patients.

    Raises:
        ValueError: The lengths differ, or a target or probability is out of range.
    """
    target, probability = _checked(target, probability)
    subjects = _for_each("subjects", subjects, target)
    return bootstrap(
        lambda rows: binary_scores(target[rows], probability[rows])._asdict(), subjects, repeats=repeats, seed=seed
    )


def difference_intervals(
    target: np.ndarray,
    probability: np.ndarray,
    other: np.ndarray,
    subjects: np.ndarray,
    *,
    repeats: int = 1000,
    seed: int = 0,
) -> dict[str, Interval]:
    """AUROC, AUPRC and Brier score of one model less those of another on the same patients, paired."""
    (target, probability), (_, other) = _checked(target, probability), _checked(target, other)
    subjects = _for_each("subjects", subjects, target)

    def statistic(rows: np.ndarray) -> dict[str, float]:
        y = target[rows]
        if len(np.unique(y)) < 2:
            return dict.fromkeys(("auroc", "auprc", "brier"), math.nan)
        scores = (roc_auc_score, average_precision_score, brier_score_loss)
        names = ("auroc", "auprc", "brier")
        return {n: float(f(y, probability[rows]) - f(y, other[rows])) for n, f in zip(names, scores, strict=True)}

    return bootstrap(statistic, subjects, repeats=repeats, seed=seed)


class Subgroup(NamedTuple):
    """The scores of a part of the patients; AUROC and AUPRC with intervals over them."""

    name: str
    scores: BinaryScores
    auroc: Interval
    auprc: Interval


def subgroup_table(
    target: np.ndarray,
    probability: np.ndarray,
    subjects: np.ndarray,
    groups: Mapping[str, np.ndarray],
    *,
    fewest: int = 20,
    repeats: int = 200,
    seed: int = 0,
) -> list[Subgroup]:
    """Scores within each group.

    Args:
        target: 0 or 1.
        probability: Of class 1.
        subjects: Of every sample.
        groups: Name -> which samples belong to it; groups may overlap, and a sample need not have one.
        fewest: Below so many samples of either class, a group has no AUROC, AUPRC, calibration: only their number.
        repeats: Draws of the intervals.
        seed: Of the draws.

    Shapes:
        target, probability, subjects: (N,); groups: (N,) bool each

    Raises:
        ValueError: The lengths differ, or a group is not of True and False.
    """
    target, probability = _checked(target, probability)
    subjects, rows = _for_each("subjects", subjects, target), []
    for name, member in groups.items():
        member = _for_each(f"groups[{name!r}]", member, target)
        if member.dtype != bool:
            raise ValueError(f"groups[{name!r}]: expected True or False for each sample, got {member.dtype}")
        y, p = target[member], probability[member]
        scores = binary_scores(y, p)
        if min((y == 1).sum(), (y == 0).sum()) < fewest:
            none: dict[str, Any] = dict.fromkeys(("auroc", "auprc", "ece", "slope", "intercept"), math.nan)
            rows.append(Subgroup(name, scores._replace(**none), Interval(math.nan), Interval(math.nan)))
            continue

        def ranking(chosen: np.ndarray, y: np.ndarray = y, p: np.ndarray = p) -> dict[str, float]:
            if len(np.unique(y[chosen])) < 2:
                return {"auroc": math.nan, "auprc": math.nan}
            return {
                "auroc": float(roc_auc_score(y[chosen], p[chosen])),
                "auprc": float(average_precision_score(y[chosen], p[chosen])),
            }

        found = bootstrap(ranking, subjects[member], repeats=repeats, seed=seed)
        rows.append(Subgroup(name, scores, found["auroc"], found["auprc"]))
    return rows


def cross_entropy(target: np.ndarray, probability: np.ndarray) -> float:
    """Mean -log of the probability of what happened."""
    target, probability = _checked(target, probability)
    return float(log_loss(target, np.clip(probability, CLIP, 1 - CLIP), labels=[0, 1]))


def _for_each(name: str, values: np.ndarray, target: np.ndarray) -> np.ndarray:
    """One value for each sample."""
    values = np.asarray(values)
    if values.shape != target.shape:
        raise ValueError(f"{name}: expected one for each of {len(target)} samples, got {values.shape}")
    return values


def _checked(target: np.ndarray, probability: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    target, probability = np.asarray(target), np.asarray(probability, dtype=np.float64)
    if target.shape != probability.shape or target.ndim != 1:
        raise ValueError(f"probability: expected (N,) as the target, got {probability.shape} and {target.shape}")
    if not np.isin(target, (0, 1)).all():
        raise ValueError("target: expected 0 or 1, got others")
    if not ((probability >= 0) & (probability <= 1)).all():
        raise ValueError("probability: expected numbers from 0 to 1, got others")
    return target.astype(np.int64), probability
