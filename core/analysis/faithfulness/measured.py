"""The numbers that `faithfulness` answers, and the verdict that its checks give."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

from .ranks import Estimate
from .verdict import Finding


@dataclass(frozen=True)
class Agreement:
    """How a method's ranking of units agrees with leave-one-out's, both by magnitude.

    Attributes:
        method: its name.
        tau: Kendall's tau-b, mean over items.
        rho: Spearman's rho, mean over items.
        p: one-sided permutation p-value of the mean tau.
    """

    method: str
    tau: Estimate
    rho: Estimate
    p: float


@dataclass(frozen=True)
class Perturbation:
    """Deletion and insertion in a method's order; "random" is the mean over the random orders.

    Attributes:
        method: its name.
        fractions: of units removed or inserted.
        deletion: mean over items at each fraction.
        insertion: mean over items at each fraction.
        deletion_auc: area under deletion; low is good.
        insertion_auc: area under insertion; high is good.
        deletion_gain: the area under random orders less this, item by item; None for "random".
        insertion_gain: this less the area under random orders, item by item; None for "random".
    """

    method: str
    fractions: tuple[float, ...]
    deletion: tuple[float, ...]
    insertion: tuple[float, ...]
    deletion_auc: Estimate
    insertion_auc: Estimate
    deletion_gain: Estimate | None = None
    insertion_gain: Estimate | None = None


@dataclass(frozen=True)
class Accuracy:
    """Share of items whose class is right: of the model, with its weights made uniform, of one trained with uniform."""

    model: float
    uniform: float
    retrained: float | None


@dataclass(frozen=True)
class Measured:
    """How far attention explains what a model answered, in numbers, and what follows from them.

    Attributes:
        layer: the attention layer under test.
        row: the query whose weights are read.
        items: items of the batch.
        units: units of an item (the most, if they differ).
        baseline: what replaced removed units.
        seed: of every random draw.
        agreements: rank correlation with leave-one-out, by method.
        curves: deletion and insertion, by method, leave-one-out and random orders last.
        random_orders: how many.
        ranked_items: items with a defined rank correlation; in the others no unit, or every one alike, mattered.
        top_share: effect of removing the most attended unit over that of the most influential one.
        convergence: median and largest relative error of integrated gradients.
        permuted: total variation under permuted weights, median over permutations.
        uniform: total variation under uniform weights.
        adversary: divergence of the farthest attention found with the output within epsilon.
        epsilon: bound on the output's total variation there.
        seeds: divergence of attention from models of other seeds, and how many: `seed_models`.
        seed_models: models given for it.
        accuracy: where labels were given.
        needed: accuracy above the model retrained with uniform weights, where given.
        findings: every check of `core.analysis.faithfulness.verdict`.
        attributions: by method, (B, n); leave-one-out among them.
    """

    layer: str
    row: int | Literal["mean"]
    items: int
    units: int
    baseline: str
    seed: int
    agreements: tuple[Agreement, ...]
    curves: tuple[Perturbation, ...]
    random_orders: int
    ranked_items: int
    top_share: Estimate
    convergence: tuple[float, float]
    permuted: Estimate
    uniform: Estimate
    adversary: Estimate
    epsilon: float
    seeds: Estimate | None
    seed_models: int
    accuracy: Accuracy | None
    needed: Estimate | None
    findings: tuple[Finding, ...]
    attributions: Mapping[str, Tensor] = field(repr=False, compare=False)

    @property
    def faithful(self) -> bool:
        """Whether every check that was run passed."""
        return all(finding.passed is not False for finding in self.findings)

    @property
    def verdict(self) -> str:
        """The answer in words."""
        run = [finding for finding in self.findings if finding.passed is not None]
        failed = [finding.check for finding in run if not finding.passed]
        missing = [finding.check for finding in self.findings if finding.passed is None]
        rest = f" Not checked: {', '.join(missing)}." if missing else ""
        if failed:
            return (
                f"Attention must not be read as an explanation here: {len(failed)} of {len(run)} checks failed "
                f"({', '.join(failed)}).{rest}"
            )
        return (
            f"Attention may be read as an explanation here, for such items and this baseline: all {len(run)} checks "
            f"passed.{rest}"
        )

    def agreement(self, method: str) -> Agreement:
        """The entry of a method."""
        return next(a for a in self.agreements if a.method == method)

    def curve(self, method: str) -> Perturbation:
        """The entry of a method, of "leave-one-out" or of "random"."""
        return next(c for c in self.curves if c.method == method)
