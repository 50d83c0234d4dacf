"""When attention may be read as an explanation: the rules, with their reasons. The default is no.

Every rule must hold at the unfavourable end of a 95% bootstrap interval over items.

- enough items: at least 20 with a defined rank correlation. With fewer the bootstrap interval is too narrow.
- rank agreement: Kendall's tau with leave-one-out at least .5, permutation p below .05. tau = 2 P - 1, so at least
  three in four pairs of units stand in the same order.
- top unit: removing the most attended unit has at least half the effect that removing the most influential one has. It
  is the unit that a reader sees first.
- deletion, insertion: both areas better than under random orders. A ranking no better than chance explains nothing.
- permuted weights: total variation of the output at least .05. The output must depend on which unit has which weight
  (Jain and Wallace).
- uniform weights: the same. It must depend on the weights being unequal (Wiegreffe and Pinter).
- other attention: Jensen-Shannon divergence of the adversary at most 1/8 nat. JS >= TV^2 / 2, so no attention was found
  that moves more than half of the weight and leaves the output in place (Jain and Wallace).
- other seeds: divergence between models of other seeds at most 1/8 nat, the same bound. Otherwise the weights tell of
  the seed (Wiegreffe and Pinter).
- attention needed: accuracy above that of a model trained with uniform weights. Otherwise the task does not need this
  attention (Wiegreffe and Pinter).

The last two are left out where their models are not given; the verdict says so. A yes holds for these items, this
baseline, this layer and row; the search for other attention answers a lower bound, so a yes means that none was found.
"""

from __future__ import annotations

from dataclasses import dataclass

from .ranks import Estimate

ENOUGH_ITEMS = 20
AGREEMENT = 0.5
SIGNIFICANCE = 0.05
TOP_SHARE = 0.5
OUTPUT_CHANGE = 0.05
FREE_DIVERGENCE = 1 / 8


@dataclass(frozen=True)
class Finding:
    """One check: its name, what was measured against which rule, and whether it passed (None: not run)."""

    check: str
    measured: str
    rule: str
    passed: bool | None

    def __str__(self) -> str:
        answer = {True: "pass", False: "FAIL", None: "not run"}[self.passed]
        return f"{answer:8s}{self.check:22s}{self.measured:42s}{self.rule}"


def judge(
    *,
    items: int,
    tau: Estimate,
    p: float,
    top_share: Estimate,
    deletion_gain: Estimate,
    insertion_gain: Estimate,
    permuted: Estimate,
    uniform: Estimate,
    adversary: Estimate,
    seeds: Estimate | None,
    needed: Estimate | None,
) -> tuple[Finding, ...]:
    """Hold every number against its rule; NaN passes none.

    Args:
        items: items with a defined rank correlation.
        tau: Kendall's tau of attention with leave-one-out.
        p: its permutation p-value.
        top_share: effect of the most attended unit over that of the most influential.
        deletion_gain: area under deletion of random orders less that of attention's order.
        insertion_gain: area under insertion of attention's order less that of random orders.
        permuted: total variation of the output under permuted weights.
        uniform: the same under uniform weights.
        adversary: divergence of the farthest attention found with the same output.
        seeds: divergence between models of other seeds; None if there are none.
        needed: accuracy above a model trained with uniform weights; None if there is none.
    """
    return (
        Finding("enough items", f"{items}", f">= {ENOUGH_ITEMS}", items >= ENOUGH_ITEMS),
        Finding(
            "rank agreement",
            f"tau {tau}, p = {p:.3g}",
            f"tau >= {AGREEMENT}, p < {SIGNIFICANCE}",
            tau.low >= AGREEMENT and p < SIGNIFICANCE,
        ),
        Finding("top unit", f"share {top_share}", f">= {TOP_SHARE}", top_share.low >= TOP_SHARE),
        Finding("deletion", f"gain {deletion_gain}", "> 0", deletion_gain.low > 0),
        Finding("insertion", f"gain {insertion_gain}", "> 0", insertion_gain.low > 0),
        Finding("permuted weights", f"TV {permuted}", f">= {OUTPUT_CHANGE}", permuted.low >= OUTPUT_CHANGE),
        Finding("uniform weights", f"TV {uniform}", f">= {OUTPUT_CHANGE}", uniform.low >= OUTPUT_CHANGE),
        Finding("other attention", f"JS {adversary}", f"<= {FREE_DIVERGENCE}", adversary.high <= FREE_DIVERGENCE),
        Finding(
            "other seeds",
            "no other models" if seeds is None else f"JS {seeds}",
            f"<= {FREE_DIVERGENCE}",
            None if seeds is None else seeds.high <= FREE_DIVERGENCE,
        ),
        Finding(
            "attention needed",
            "no retrained model" if needed is None else f"accuracy gain {needed}",
            "> 0",
            None if needed is None else needed.low > 0,
        ),
    )
