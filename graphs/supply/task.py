r"""Learn how shocks travel through supply chains: what each sector answers, D hops deep.

.. math:: x = \sum_{k=0}^{D} A^k f \text{ (requirement)}, \quad p = \sum_{k=0}^{D} (A')^k v \text{ (price)}, \quad
    f = (I - A)\, x \text{ (demand)}

The model (`graphs.supply.model`) is given the coefficients on the edges and a shock; it has to learn that coefficients
multiply along a path and paths add up. Answers span decades, so requirement and price are compared on a log scale,
where every pair of sectors counts the same:

.. math:: L = \operatorname{mean} (\ln \hat x_i - \ln x_i)^2 \text{ over sectors within reach}
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torchmetrics import MaxMetric

from core.training import StepOutput, Task, by_name, checked_names, regression_metrics

from .baselines import CHANGES, ROUNDS, output_itself, rounds_of_suppliers, series_against_inverse
from .data.flows import FlowData, ShockBatch, join
from .economy import Flow, FlowEdges
from .model import Propagation
from .scores import ExpR2
from .shocks import Band, respond, sample_band, step

TARGETS = ("requirement", "price", "demand")
TRUTHS = ("series", "inverse")


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
        baselines: Simpler methods to measure on the same pairs: "one_round" and "two_rounds" of suppliers, and
            "series_against_inverse", what cutting the series leaves out; with target "demand" "output_itself" alone.
            None for all, [] for none.
        options: Of the optimisation, see `core.training.Task`.

    Raises:
        ValueError: An option is out of range, or the data are of another kind.
    """

    data_type = FlowData
    batch_type = ShockBatch
    batches_from = "graphs.supply.data.join"

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
        baselines: list[str] | None = None,
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
        self.baseline_names = checked_names(baselines, ROUNDS if self.is_log else CHANGES)
        self.sizes: dict[str, Any] = {"heads": heads, "channels": channels, "hidden": hidden, "shared": shared}
        self.beyond = MaxMetric()
        self.build({})

    def build(self, known: Mapping[str, Any]) -> None:
        """Make the model and its metrics."""
        self.model = Propagation(self.hops, positive=self.is_log, **self.sizes)
        metrics = regression_metrics()
        if self.is_log:
            metrics.add_metrics({"r2_linear": ExpR2()})
        self.use_metrics(metrics, main="r2", mode="max")

    @property
    def is_log(self) -> bool:
        """Whether answers are compared on a log scale."""
        return self.target != "demand"

    @property
    def flow(self) -> Flow:
        """Which way shocks travel."""
        return "cost" if self.target == "price" else "demand"

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
        columns = ["id", "economy", "shock", "sector", "prediction", "truth", *(["low", "high"] if band else [])]
        table: dict[str, list[Any]] = {name: [] for name in columns}
        for place, number in enumerate(batch.number.tolist()):
            rows = (batch.graph == place).nonzero()[:, 0]
            names, labels = self._names(batch, number, rows)
            for column, label in enumerate(labels):
                table["id"] += [f"{number}:{label}:{name}" for name in names]
                table["economy"] += [number] * len(names)
                table["shock"] += [label] * len(names)
                table["sector"] += names
                table["prediction"] += found[rows, column].tolist()
                table["truth"] += truth[rows, column].tolist()
                if band is not None:
                    table["low"] += band.low[rows, column].tolist()
                    table["high"] += band.high[rows, column].tolist()
        return table

    def _names(self, batch: ShockBatch, number: int, rows: Tensor) -> tuple[list[str], list[str]]:
        """Names of an economy's sectors and of its shocks; their numbers where the data are not ours."""
        data = self.data_module
        if not isinstance(data, FlowData):
            known = (batch.observed[rows] | (batch.shock[rows] != 0)).any(dim=0).nonzero()[:, 0].tolist()
            return [str(k) for k in range(len(rows))], [str(k) for k in range(max(known, default=-1) + 1)]
        item = next(item for item in data.items("test") if item.number == number)
        return list(item.economy.names), list(item.labels)

    def baselines(self, stage: str) -> Mapping[str, Mapping[str, float]]:
        """The simpler methods that were asked for, on the same pairs (see `graphs.supply.baselines`)."""
        data = self.data_module
        if not isinstance(data, FlowData) or not data.items(stage):
            return {}
        batch = join(data.items(stage))
        edges, truth = batch.edges(self.flow), self.answer(batch)
        scored = self.scored(batch, truth)
        methods = {
            "output_itself": lambda: output_itself(batch, truth, scored),
            "one_round": lambda: rounds_of_suppliers(edges, batch, truth, scored, 1),
            "two_rounds": lambda: rounds_of_suppliers(edges, batch, truth, scored, 2),
            "series_against_inverse": lambda: series_against_inverse(edges, batch, self.hops),
        }
        return by_name((methods[name]() for name in self.baseline_names), stage)
