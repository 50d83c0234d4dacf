"""The printable report of an evaluation, and the model card."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from .evaluation import (
    DecisionCurve,
    Interval,
    Subgroup,
    difference_intervals,
    net_benefit,
    score_intervals,
    subgroup_table,
)

COLUMNS = ("auroc", "auprc", "brier", "ece", "slope", "intercept")
HEADINGS = ("AUROC", "AUPRC", "Brier", "ECE", "slope", "intercept")
LIMITS = (
    "Not for clinical use: no prospective, external or regulatory validation has been done.",
    "Trained on records of the past at the sites named under Data; other hospitals, other times, other ways of "
    "measuring and coding change what the inputs mean.",
    "What is measured and how often follows from decisions of clinicians; the model uses that, and it need not hold "
    "after the model is used.",
    "Attention weights and half-lives describe the model, not causes of disease.",
)


@dataclass(frozen=True)
class EvaluationReport:
    """Several models on the same patients.

    Args:
        title: What was evaluated.
        samples: How many.
        patients: How many.
        prevalence: Of class 1.
        models: Name -> its scores with 95% intervals over patients.
        differences: Name -> the first model's scores less this one's, paired.
        groups: Subgroups of the first model.
        curves: Name -> its net benefit.
        notes: Sentences that stand below the tables.
    """

    title: str
    samples: int
    patients: int
    prevalence: float
    models: Mapping[str, Mapping[str, Interval]]
    differences: Mapping[str, Mapping[str, Interval]]
    groups: Sequence[Subgroup]
    curves: Mapping[str, DecisionCurve]
    notes: Sequence[str] = field(default=())

    @classmethod
    def of(
        cls,
        title: str,
        target: np.ndarray,
        probabilities: Mapping[str, np.ndarray],
        subjects: np.ndarray,
        *,
        groups: Mapping[str, np.ndarray] | None = None,
        repeats: int = 500,
        seed: int = 0,
        notes: Sequence[str] = (),
    ) -> "EvaluationReport":
        """Evaluate.

        Args:
            title: What is evaluated.
            target: 0 or 1.
            probabilities: Name of a model -> its probabilities; the first is the one that the groups are of.
            subjects: Whose each sample is.
            groups: Name -> the samples that belong to it.
            repeats: Draws of the intervals.
            seed: Of the draws.
            notes: Sentences that stand below the tables.

        Shapes:
            target, subjects, each of probabilities and groups: (N,)

        Raises:
            ValueError: There is no model, lengths differ, or a group is not of True and False.
        """
        if not probabilities:
            raise ValueError("probabilities: expected at least one model, got none")
        options = {"repeats": repeats, "seed": seed}
        names = list(probabilities)
        first = probabilities[names[0]]
        return cls(
            title,
            len(target),
            len(np.unique(subjects)),
            float(np.mean(target)),
            {name: score_intervals(target, p, subjects, **options) for name, p in probabilities.items()},
            {n: difference_intervals(target, first, probabilities[n], subjects, **options) for n in names[1:]},
            subgroup_table(target, first, subjects, groups or {}, repeats=min(repeats, 200), seed=seed),
            {name: net_benefit(target, p) for name, p in probabilities.items()},
            tuple(notes),
        )

    def model_table(self) -> str:
        """Every model's scores, as a table in markdown."""
        rows = [[name, *(str(scores[column]) for column in COLUMNS)] for name, scores in self.models.items()]
        return markdown(["model", *HEADINGS], rows)

    def difference_table(self) -> str:
        """What the first model has over each other one, paired."""
        names = ("auroc", "auprc", "brier")
        rows = [[f"less {name}", *(_signed(found[n]) for n in names)] for name, found in self.differences.items()]
        return markdown([next(iter(self.models)), *HEADINGS[:3]], rows)

    def group_table(self) -> str:
        """The first model's scores within each group."""
        rows = [
            [
                group.name,
                f"{group.scores.n:,}",
                _number(group.scores.prevalence),
                str(group.auroc),
                str(group.auprc),
                *(_number(getattr(group.scores, name)) for name in ("brier", "ece", "slope", "intercept")),
            ]
            for group in self.groups
        ]
        return markdown(["group", "samples", "prevalence", *HEADINGS], rows)

    def benefit_table(self, thresholds: Sequence[float] = (0.05, 0.1, 0.2, 0.3)) -> str:
        """Net benefit per 1,000 patients at some thresholds."""
        first = next(iter(self.curves.values()))
        at = [int(np.abs(first.threshold - t).argmin()) for t in thresholds]
        rows = [[name, *(f"{1000 * curve.model[k]:.1f}" for k in at)] for name, curve in self.curves.items()]
        rows.append(["treat all", *(f"{1000 * first.treat_all[k]:.1f}" for k in at)])
        return markdown(["net benefit per 1,000", *(f"at {first.threshold[k]:.2f}" for k in at)], rows)

    def __str__(self) -> str:
        parts = [
            f"{self.title}: {self.samples:,} samples of {self.patients:,} patients, prevalence {self.prevalence:.3f} "
            "(which is the AUPRC of guessing). Brackets: 95% intervals over patients.",
            self.model_table(),
        ]
        if self.differences:
            parts.append("Paired differences on the same patients:\n\n" + self.difference_table())
        parts.append(self.benefit_table())
        if self.groups:
            parts.append(f"{next(iter(self.models))} in groups of patients:\n\n" + self.group_table())
        return "\n\n".join([*parts, *self.notes])


def model_card(
    report: EvaluationReport,
    *,
    model: str,
    purpose: str,
    data: Mapping[str, str],
    training: Sequence[str],
    faithfulness: str = "Attention was not tested as an explanation: do not read it as one.",
    limits: Sequence[str] = LIMITS,
) -> str:
    """What a model is, what it was measured on, and what it must not be used for, in markdown.

    Args:
        report: Of the evaluation.
        model: What it is, in a sentence.
        purpose: What it was made for.
        data: Such as source, licence, fingerprint, split.
        training: Sentences about the recipe and how it was chosen.
        faithfulness: The sentence of a `FaithfulnessReport`.
        limits: What must be known before anything is done with it.

    References:
        Mitchell et al.: Model cards for model reporting, FAT* 2019.
    """
    lines = [f"# Model card: {report.title}", "", "**Not for clinical use.**", "", model, "", "## Purpose", "", purpose]
    lines += ["", "## Data", "", *(f"- {name}: {value}" for name, value in data.items())]
    lines += ["", "## Training", "", *(f"- {sentence}" for sentence in training)]
    lines += ["", "## Measured", "", str(report)]
    lines += ["", "## Explanation", "", faithfulness]
    lines += ["", "## Limits", "", *(f"- {sentence}" for sentence in limits), ""]
    return "\n".join(lines)


def markdown(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table."""
    lines = [f"| {' | '.join(row)} |" for row in (heading, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(heading), *lines[1:]])


def _number(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.3f}"


def _signed(interval: Interval) -> str:
    if np.isnan(interval.value):
        return "-"
    return f"{interval.value:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]"
