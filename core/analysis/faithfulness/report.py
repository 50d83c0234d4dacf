"""What `faithfulness` answers: numbers, findings, a verdict in words, a picture and a sentence for a model card."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .attributions import REFERENCE
from .measured import Measured
from .picture import faithfulness_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class FaithfulnessReport(Measured):
    """How far attention explains what a model answered; printing it shows the tables and the verdict.

    Its attributes are those of `Measured`.
    """

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
