"""What `faithfulness` answers: numbers, findings, a verdict in words, a picture and a sentence for a model card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from torch import Tensor

from .attributions import REFERENCE
from .ranks import Estimate
from .verdict import Finding

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
class FaithfulnessReport:
    """How far attention explains what a model answered; printing it shows the tables and the verdict.

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
        findings: every check of `core.analysis.verdict`.
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

    def numbers(self) -> tuple[tuple[str, float], ...]:
        """Name and value of every mean in the report, in a fixed order: for spreads over seeds."""
        rows = [(f"tau, {a.method}", a.tau.mean) for a in self.agreements]
        rows += [(f"rho, {a.method}", a.rho.mean) for a in self.agreements]
        rows += [(f"deletion AUC, {c.method}", c.deletion_auc.mean) for c in self.curves]
        rows += [(f"insertion AUC, {c.method}", c.insertion_auc.mean) for c in self.curves]
        rows += [
            ("share of the top unit", self.top_share.mean),
            ("TV, permuted weights", self.permuted.mean),
            ("TV, uniform weights", self.uniform.mean),
            ("JS, other attention", self.adversary.mean),
        ]
        if self.seeds is not None:
            rows.append(("JS, other seeds", self.seeds.mean))
        if self.accuracy is not None:
            rows += [("accuracy", self.accuracy.model), ("accuracy, uniform weights", self.accuracy.uniform)]
            if self.accuracy.retrained is not None:
                rows.append(("accuracy, trained with uniform weights", self.accuracy.retrained))
        return tuple(rows)

    def card(self) -> str:
        """One sentence for a model card."""
        tau = self.agreement("attention").tau
        word = "may, for such inputs," if self.faithful else "must not"
        failed = [finding.check for finding in self.findings if finding.passed is False]
        reason = f"; checks failed: {', '.join(failed)}" if failed else ""
        return (
            f"Attention weights of this model (layer {self.layer}, {self._row_name()}, mean of heads) {word} be read "
            f"as an explanation of its outputs: on {self.items} items of up to {self.units} units their rank "
            f"correlation with leave-one-out (baseline: {self.baseline}) was Kendall's tau = {tau.mean:.2f} "
            f"(95% CI {tau.low:.2f} to {tau.high:.2f}), and attention with a Jensen-Shannon divergence of "
            f"{self.adversary.mean:.2f} nats (of at most 0.69) was found that leaves the output within a total "
            f"variation of {self.epsilon:g}{reason}."
        )

    def plot(self) -> Figure:
        """Rank correlations, deletion and insertion curves, and the tests of the weights; needs the extra viz."""
        from ..figures.faithfulness import faithfulness_figure

        return faithfulness_figure(self)

    def __str__(self) -> str:
        lines = [
            f"faithfulness of layer {self.layer}, {self._row_name()}, mean of heads",
            f"{self.items} items, {self.units} units, baseline: {self.baseline}, seed {self.seed}; 95% bootstrap "
            "intervals over items",
            "",
            f"{'rank correlation with ' + REFERENCE:36s}{'Kendall tau':26s}{'Spearman rho':26s}p",
        ]
        lines += [f"  {a.method:34s}{a.tau!s:26s}{a.rho!s:26s}{a.p:.3g}" for a in self.agreements]
        lines.append(
            f"  ({self.ranked_items} of {self.items} items; error of integrated gradients: median "
            f"{self.convergence[0]:.2g}, largest {self.convergence[1]:.2g} of the score's change)"
        )
        lines += ["", f"{'area under the curve':36s}{'deletion (low is good)':26s}insertion (high is good)"]
        names = {"random": f"random ({self.random_orders} orders)"}
        lines += [
            f"  {names.get(c.method, c.method):34s}{c.deletion_auc!s:26s}{c.insertion_auc!s}" for c in self.curves
        ]
        if self.accuracy is not None:
            a = self.accuracy
            retrained = "" if a.retrained is None else f", trained with uniform weights {a.retrained:.3f}"
            lines += ["", f"accuracy {a.model:.3f}, with weights made uniform {a.uniform:.3f}{retrained}"]
        lines += ["", *(str(finding) for finding in self.findings), "", self.verdict]
        return "\n".join(lines)

    def _row_name(self) -> str:
        return "mean of queries" if self.row == "mean" else f"query {self.row}"
