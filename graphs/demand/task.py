r"""Forecast a product's next day from its own past and from the products that share a place or a group with it.

.. math::
    \hat y_i = w^\top u_i + g\big(\operatorname{GraphAttention}^{D}(W u)\big)_i, \quad
    u_i = (z_{i,t-1}, \dots, z_{i,t-L}, \text{weekday})

with z = (ln(1 + x) - mean) / deviation of each product and series over the training days. The linear part alone is the
ridge baseline; the graph's part starts at 0.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from core.training import StepOutput, Task, by_name, checked_names, regression_metrics

from .baselines import NAMES, Standardised, measure
from .data import RELATIONS, SERIES, DayBatch, SupplyGraphData
from .model import ForecastModel


class DemandForecastTask(Task):
    """The next day of one series for every product: metrics in deviations of each product's training days (z).

    Products whose series does not vary in the training days are not scored.

    Args:
        dim: Width of the model.
        depth: Layers of attention over the edges; 0 leaves each product alone.
        heads: Attention heads.
        dropout: Probability of dropping a feature between layers.
        products: Names of the products; None takes them from the data.
        series: The series to forecast; None takes it from the data.
        lags: Days of history; None takes them from the data.
        baselines: Simpler methods to measure on the same days: "lag_1" (the day before), "training_mean" and "ridge"
            (on the same features, its penalty chosen on the validation part). None for all, [] for none.
        options: Of the optimisation, see `core.training.Task`.

    Raises:
        ValueError: An option is out of range or does not fit the data.
    """

    data_type = SupplyGraphData
    batch_type = DayBatch
    known_by_data = ("products", "series", "lags")
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        dim: int = 32,
        depth: int = 1,
        heads: int = 4,
        dropout: float = 0.5,
        products: list[str] | None = None,
        series: str | None = None,
        lags: int | None = None,
        baselines: list[str] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if depth < 0 or heads < 1 or dim < heads or dim % heads or not 0 <= dropout < 1:
            raise ValueError(
                "dim, depth, heads, dropout: expected dim a multiple of heads, depth at least 0, 0 <= dropout < 1, "
                f"got {dim}, {depth}, {heads}, {dropout}"
            )
        self.dim, self.depth, self.heads, self.dropout = dim, depth, heads, dropout
        self.products, self.series, self.lags = products, series, lags
        self.baseline_names = checked_names(baselines, NAMES)
        self.begin()

    def adapt_to(self, data: SupplyGraphData) -> None:
        """Take from the data what is not known yet, and the moments of the training days."""
        self.know(products=list(data.whole.names), series=data.series, lags=data.lags)
        if self.trainer.training:
            logs = data.training_values().log1p()
            self.mean.copy_(logs.mean(0))
            self.std.copy_(logs.std(0, correction=0))

    def build(self, known: Mapping[str, Any]) -> None:
        """Make the model, the moments and the metrics."""
        features, products = known["lags"] * len(SERIES) + 7, len(known["products"])
        self.model = ForecastModel(features, self.dim, self.depth, self.heads, len(RELATIONS), self.dropout)
        self.register_buffer("mean", torch.zeros(products, len(SERIES)))
        self.register_buffer("std", torch.ones(products, len(SERIES)))
        self.use_metrics(regression_metrics(), main="rmse", mode="min")

    def features(self, batch: DayBatch) -> Tensor:
        """u: standardised history, flattened, and the weekday as an indicator, (N, lags * 4 + 7)."""
        copies = len(batch.target) // len(self.mean)
        z = (batch.history.log1p() - self.mean.repeat(copies, 1)[:, None]) / self.spread().repeat(copies, 1)[:, None]
        return torch.cat([z.flatten(1), nn.functional.one_hot(batch.weekday, 7).to(z.dtype)], dim=1)

    def standardised(self, batch: DayBatch) -> tuple[Tensor, Tensor]:
        """The target in deviations, (N,), and which products are scored."""
        which = SERIES.index(self.series or "")
        copies = len(batch.target) // len(self.mean)
        z = (batch.target.log1p() - self.mean[:, which].repeat(copies)) / self.spread()[:, which].repeat(copies)
        return z, (self.std[:, which] > 0).repeat(copies)

    def spread(self) -> Tensor:
        """Deviations to divide by, (P, 4): 1 where a series does not vary."""
        return torch.where(self.std > 0, self.std, 1.0)

    def forward(self, batch: DayBatch) -> Tensor:
        """Forecasts in deviations, (N,)."""
        return self.model(self.features(batch), batch.edge_index, batch.edge_type, batch.graph)

    def shared_step(self, batch: DayBatch, stage: str) -> StepOutput:
        """Mean squared error in deviations."""
        target, scored = self.standardised(batch)
        found = self(batch)[scored]
        loss = nn.functional.mse_loss(found, target[scored])
        return StepOutput(loss, found.detach(), target[scored])

    def predict_step(self, batch: DayBatch, batch_idx: int = 0) -> Mapping[str, Any]:
        """Day, product, forecast and truth in the data's unit."""
        assert self.products is not None
        which = SERIES.index(self.series or "")
        copies = len(batch.day)
        z = self(batch) * self.spread()[:, which].repeat(copies) + self.mean[:, which].repeat(copies)
        labels = [(day, product) for day in self.names_of(batch.day) for product in self.products]
        return {
            "id": [f"{day}:{product}" for day, product in labels],
            "day": [day for day, _ in labels],
            "product": [product for _, product in labels],
            "prediction": z.expm1().clamp_min(0),
            "truth": batch.target,
        }

    def baselines(self, stage: str) -> Mapping[str, Mapping[str, float]]:
        """The simpler methods that were asked for, on the same days (see `graphs.demand.baselines`)."""
        data = self.data_module
        if not isinstance(data, SupplyGraphData):
            return {}
        parts: dict[str, Standardised] = {}
        for part in ("train", "val", stage):
            batch = DayBatch(*(tensor.to(self.device) for tensor in data.join(data.days(part))))
            target, scored = self.standardised(batch)
            parts[part] = Standardised(self.features(batch)[scored].cpu().numpy(), target[scored].cpu().numpy())
        last = parts[stage].features.shape[1] - 7 - len(SERIES) + SERIES.index(self.series or "")
        results = measure(self.baseline_names, parts["train"], parts["val"], parts[stage], last)
        return by_name(results, stage)
