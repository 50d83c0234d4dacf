r"""Learn how shocks travel through supply chains: what each sector answers, D hops deep.

.. math:: x = \sum_{k=0}^{D} A^k f \text{ (requirement)}, \quad p = \sum_{k=0}^{D} (A')^k v \text{ (price)}, \quad
    f = (I - A)\, x \text{ (demand)}

The model (`graphs.propagation`) is given the coefficients on the edges and a shock; it has to learn that coefficients
multiply along a path and paths add up. Answers span decades, so requirement and price are compared on a log scale,
where every pair of sectors counts the same:

.. math:: L = \operatorname{mean} (\ln \hat x_i - \ln x_i)^2 \text{ over sectors within reach}
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torchmetrics import MaxMetric, R2Score

from core.training import StepOutput, Task, regression_metrics

from .data.flows import FlowDataModule, ShockBatch, ShockItem, join
from .economy import Flow, FlowEdges
from .model import Propagation
from .scores import log_scores, r_squared
from .shocks import Band, respond, sample_band, step

TARGETS = ("requirement", "price", "demand")
TRUTHS = ("series", "inverse")


class ExpR2(R2Score):
    """R^2 of what the given logarithms are logarithms of."""

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add logarithms."""
        super().update(preds.exp(), target.exp())


class SupplyChainTask(Task):
    """The answer of every sector to demand or cost shocks, from the coefficients on the edges of the supply chain.

    Scored are, on the log scale, the sectors that a shock reaches within D hops and does not hit itself; `r2_linear` is
    the same without the logarithm. `beyond` is the greatest answer of a sector that no shock reaches: it is 0, by the
    build of the model. With target "demand" numbers have signs, all sectors are scored and nothing is a logarithm.

    Args:
        target: "requirement": output that meets a final demand. "price": prices after a change of value added.
            "demand": the final demand that an output leaves.
        hops: D, layers of the model.
        truth: "series": the sum up to D hops; "inverse": all of (I - A)^-1, of which D layers see a part.
        heads: Attention heads.
        channels: Numbers that a node holds for each shock.
        hidden: Units of the networks of logits and gates.
        shared: One layer used D times.
        scenarios: Perturbed copies of the table whose 5 % and 95 % quantiles `predict` adds; 0 for none.
        spread: Log standard deviation of the perturbation of each coefficient.
        options: Of the optimisation, see `core.training.Task`.

    Raises:
        ValueError: An option is out of range, or the data are of another kind.
    """

    def __init__(
        self,
        target: str = "requirement",
        hops: int = 5,
        truth: str = "series",
        heads: int = 2,
        channels: int = 4,
        hidden: int = 16,
        shared: bool = False,
        scenarios: int = 0,
        spread: float = 0.1,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if target not in TARGETS:
            raise ValueError(f"target: expected one of {', '.join(TARGETS)}, got {target!r}")
        if truth not in TRUTHS:
            raise ValueError(f"truth: expected one of {', '.join(TRUTHS)}, got {truth!r}")
        if scenarios == 1 or scenarios < 0 or spread < 0:
            raise ValueError(
                f"scenarios, spread: expected 0 or at least 2, and at least 0, got {scenarios} and {spread}"
            )
        self.target, self.hops, self.truth = target, hops, truth
        self.scenarios, self.spread = scenarios, spread
        self.model = Propagation(hops, heads, channels, hidden, positive=self.is_log, shared=shared)
        metrics = regression_metrics()
        if self.is_log:
            metrics.add_metrics({"r2_linear": ExpR2()})
        self.use_metrics(metrics, main="r2", mode="max")
        self.beyond = MaxMetric()

    @property
    def is_log(self) -> bool:
        """Whether answers are compared on a log scale."""
        return self.target != "demand"

    @property
    def flow(self) -> Flow:
        """Which way shocks travel."""
        return "cost" if self.target == "price" else "demand"

    def adapt_to(self, data: Any) -> None:
        """Refuse data that hold no shocks to economies."""
        if not isinstance(data, FlowDataModule):
            raise ValueError(
                f"data: expected economies, such as SyntheticEconomy or InputOutputData, got {type(data).__name__}"
            )

    def forward(self, edges: FlowEdges, shock: Tensor) -> Tensor:
        """Answers (n, m) to shocks (n, m)."""
        return self.model(edges, shock.to(next(self.parameters()).dtype))

    def answer(self, batch: ShockBatch) -> Tensor:
        """The truth, (N, m) in float64."""
        edges = batch.edges(self.flow)
        if self.target == "demand":
            return batch.shock - step(edges, batch.shock)
        return respond(edges, batch.shock, self.hops if self.truth == "series" else None)

    def scored(self, batch: ShockBatch, truth: Tensor) -> Tensor:
        """Which answers the metrics compare, (N, m) bool."""
        return batch.observed & (truth > 0) & (batch.shock == 0) if self.is_log else batch.observed

    def shared_step(self, batch: ShockBatch, stage: str) -> StepOutput:
        """The loss over all known answers; predictions where they are scored."""
        truth, found = self.answer(batch), self(batch.edges(self.flow), batch.shock)
        known = batch.observed & (truth > 0) if self.is_log else batch.observed
        if self.is_log and self.truth == "inverse":
            known = known & (found > 0)  # D layers answer 0 beyond D hops, whatever is beyond
        expected = truth.to(found.dtype)
        if self.is_log:
            found_log = torch.where(known, found, 1.0).log()
            expected_log = torch.where(known, expected, 1.0).log()
            loss = (found_log - expected_log)[known].square().mean()
        else:
            found_log, expected_log = found, expected
            loss = (found - expected)[known].square().mean() / expected[known].square().mean().clamp_min(1e-12)
        if stage == "train":
            return StepOutput(loss, size=len(batch.number))
        if not self.trainer.sanity_checking:
            self.beyond.update(torch.where(truth == 0, found, 0.0).abs().max())
        chosen = self.scored(batch, truth) & known
        return StepOutput(loss, found_log[chosen], expected_log[chosen], size=len(batch.number))

    def on_validation_epoch_end(self) -> None:
        """Log the metrics and what was answered beyond reach."""
        super().on_validation_epoch_end()
        self._log_beyond("val")

    def on_test_epoch_end(self) -> None:
        """Log the metrics and what was answered beyond reach."""
        super().on_test_epoch_end()
        self._log_beyond("test")

    def _log_beyond(self, stage: str) -> None:
        if not self.trainer.sanity_checking and self.is_log:
            self.log(f"{stage}/beyond", self.beyond.compute(), sync_dist=True)
        self.beyond.reset()

    def predict_step(self, batch: ShockBatch, batch_idx: int = 0) -> Mapping[str, Any]:
        """A row for every shock and sector: the model's answer, the truth, and a band if scenarios are asked for."""
        edges = batch.edges(self.flow)
        found, truth = self(edges, batch.shock), self.answer(batch)
        band: Band | None = None
        if self.scenarios:
            generator = torch.Generator().manual_seed(batch_idx)
            band = sample_band(lambda some: self(some, batch.shock), edges, self.scenarios, self.spread, generator)
        items = {item.number: item for item in self.trainer.datamodule.items("test")}
        columns = ["id", "economy", "shock", "sector", "prediction", "truth", *(["low", "high"] if band else [])]
        table: dict[str, list[Any]] = {name: [] for name in columns}
        first = 0
        for number in batch.number.tolist():
            item: ShockItem = items[number]
            rows = slice(first, first + len(item.economy))
            for column, label in enumerate(item.labels):
                table["id"] += [f"{number}:{label}:{name}" for name in item.economy.names]
                table["economy"] += [number] * len(item.economy)
                table["shock"] += [label] * len(item.economy)
                table["sector"] += item.economy.names
                table["prediction"] += found[rows, column].tolist()
                table["truth"] += truth[rows, column].tolist()
                if band is not None:
                    table["low"] += band.low[rows, column].tolist()
                    table["high"] += band.high[rows, column].tolist()
            first = rows.stop
        return table

    def baselines(self, stage: str) -> Mapping[str, Mapping[str, float]]:
        """One and two rounds of suppliers, I + A and I + A + A^2, on the same pairs; and what D hops leave out.

        On the log scale a method that answers 0 where the truth does not is given the smallest answer that is scored,
        which flatters it; `reached` is the share that it answers, `r2_reached` is over those pairs alone.
        """
        data = getattr(self.trainer, "datamodule", None)
        if not isinstance(data, FlowDataModule) or not data.items(stage):
            return {}
        batch = join(data.items(stage))
        edges, truth = batch.edges(self.flow), self.answer(batch)
        scored = self.scored(batch, truth)
        if not self.is_log:
            return {"output itself": _named(stage, {"r2": r_squared(batch.shock[scored], truth[scored])})}
        names: dict[str, Callable[[], Tensor]] = {
            "I + A": lambda: respond(edges, batch.shock, 1),
            "I + A + A^2": lambda: respond(edges, batch.shock, 2),
        }
        found = {name: _named(stage, log_scores(method()[scored], truth[scored])) for name, method in names.items()}
        everything = respond(edges, batch.shock)
        elsewhere = batch.observed & (batch.shock == 0)
        cut = respond(edges, batch.shock, self.hops)
        within = elsewhere & (cut > 0)
        found[f"series to {self.hops} hops against the inverse"] = _named(
            stage,
            {
                "r2_linear": r_squared(cut[elsewhere], everything[elsewhere]),
                "r2_reached": r_squared(cut[within].log(), everything[within].log()),
                "reached": float((within & (everything > 0)).sum() / (elsewhere & (everything > 0)).sum()),
            },
        )
        return found


def _named(stage: str, scores: Mapping[str, float]) -> dict[str, float]:
    return {f"{stage}/{name}": value for name, value in scores.items()}
