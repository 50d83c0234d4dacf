r"""Forecast a product's next day from its own past and from the products that share a place or a group with it.

.. math::
    \hat y_i = w^\top u_i + g\big(\operatorname{GraphAttention}^{D}(W u)\big)_i, \quad
    u_i = (z_{i,t-1}, \dots, z_{i,t-L}, \text{weekday})

with z = (ln(1 + x) - mean) / deviation of each product and series over the training days. The linear part alone is the
ridge baseline; the graph's part starts at 0.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import Ridge
from torch import Tensor, nn

from core.training import StepOutput, Task, regression_metrics

from ..layers.attention import GraphAttention
from .data import RELATIONS, SERIES, DayBatch, SupplyGraphData

PENALTIES = (1.0, 10.0, 100.0, 1000.0, 10000.0)


class ForecastModel(nn.Module):
    """The equation above.

    Args:
        features: Of a product and day.
        dim: Width.
        depth: Layers of attention; 0 leaves each product alone.
        heads: Attention heads.
        relations: Edge types.
        dropout: Probability of dropping a feature between layers.

    Shapes:
        features: (N, features)
        answer: (N,)
    """

    def __init__(self, features: int, dim: int, depth: int, heads: int, relations: int, dropout: float) -> None:
        super().__init__()
        self.linear = nn.Linear(features, 1)
        self.enter = nn.Linear(features, dim)
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(depth))
        self.layers = nn.ModuleList(
            GraphAttention(dim, dim // heads, heads, root_weight=False, relations=relations, gate="head")
            for _ in range(depth)
        )
        self.mixes = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, dim), nn.GELU(), nn.Dropout(dropout), nn.Linear(dim, dim))
            for _ in range(max(depth, 1))
        )
        self.dropout = nn.Dropout(dropout)
        self.leave = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 1))
        nn.init.zeros_(self.leave[1].weight)
        nn.init.zeros_(self.leave[1].bias)

    def forward(self, features: Tensor, edge_index: Tensor, edge_type: Tensor, graph: Tensor) -> Tensor:
        """Forecasts in deviations."""
        x = self.dropout(self.enter(features))
        for norm, layer in zip(self.norms, self.layers, strict=True):
            x = x + self.dropout(layer(norm(x), edge_index, edge_type=edge_type, batch=graph))
        for mix in self.mixes:
            x = x + self.dropout(mix(x))
        return (self.linear(features) + self.leave(x))[:, 0]


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
        options: Of the optimisation, see `core.training.Task`.

    Raises:
        ValueError: An option is out of range or does not fit the data.
    """

    def __init__(
        self,
        dim: int = 32,
        depth: int = 1,
        heads: int = 4,
        dropout: float = 0.5,
        products: list[str] | None = None,
        series: str | None = None,
        lags: int | None = None,
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
        if products is not None and series is not None and lags is not None:
            self._build()

    def adapt_to(self, data: Any) -> None:
        """Take from the data what is not known yet, and the moments of the training days."""
        if not isinstance(data, SupplyGraphData):
            raise ValueError(f"data: expected SupplyGraphData, got {type(data).__name__}")
        known = {"products": list(data.whole.names), "series": data.series, "lags": data.lags}
        for name, value in known.items():
            given = getattr(self, name)
            if given is not None and given != value:
                raise ValueError(f"{name}: the model has {given}, the data have {value}")
            setattr(self, name, value)
            self.hparams[name] = value
        if not hasattr(self, "model"):
            self._build()
        if self.trainer.training:
            logs = data.training_values().log1p()
            self.mean.copy_(logs.mean(0))
            self.std.copy_(logs.std(0, correction=0))

    def _build(self) -> None:
        assert self.products is not None and self.lags is not None
        features = self.lags * len(SERIES) + 7
        self.model = ForecastModel(features, self.dim, self.depth, self.heads, len(RELATIONS), self.dropout)
        self.register_buffer("mean", torch.zeros(len(self.products), len(SERIES)))
        self.register_buffer("std", torch.ones(len(self.products), len(SERIES)))
        self.use_metrics(regression_metrics(), main="rmse", mode="min")

    def setup(self, stage: str) -> None:
        """Refuse to go on without a model (the data have had their chance in `adapt_to`)."""
        if not hasattr(self, "model"):
            raise ValueError("products, series, lags: expected values, or SupplyGraphData that knows them, got None")

    def features(self, batch: DayBatch) -> Tensor:
        """u: standardised history, flattened, and the weekday as an indicator, (N, lags * 4 + 7)."""
        copies = len(batch.target) // len(self.mean)
        z = (batch.history.log1p() - self.mean.repeat(copies, 1)[:, None]) / self._spread().repeat(copies, 1)[:, None]
        return torch.cat([z.flatten(1), nn.functional.one_hot(batch.weekday, 7).to(z.dtype)], dim=1)

    def standardised(self, batch: DayBatch) -> tuple[Tensor, Tensor]:
        """The target in deviations, (N,), and which products are scored."""
        which = SERIES.index(self.series or "")
        copies = len(batch.target) // len(self.mean)
        z = (batch.target.log1p() - self.mean[:, which].repeat(copies)) / self._spread()[:, which].repeat(copies)
        return z, (self.std[:, which] > 0).repeat(copies)

    def _spread(self) -> Tensor:
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
        z = self(batch) * self._spread()[:, which].repeat(copies) + self.mean[:, which].repeat(copies)
        days = self.trainer.datamodule.whole.days
        labels = [(days[day][:10], product) for day in batch.day.tolist() for product in self.products]
        return {
            "id": [f"{day}:{product}" for day, product in labels],
            "day": [day for day, _ in labels],
            "product": [product for _, product in labels],
            "prediction": z.expm1().clamp_min(0),
            "truth": batch.target,
        }

    def baselines(self, stage: str) -> Mapping[str, Mapping[str, float]]:
        """The day before, the training mean, and ridge on the same features (its penalty chosen on validation)."""
        data = getattr(self.trainer, "datamodule", None)
        if not isinstance(data, SupplyGraphData):
            return {}
        x, y = {}, {}
        for part in ("train", "val", stage):
            batch = DayBatch(*(tensor.to(self.device) for tensor in data.join(data.days(part))))
            target, scored = self.standardised(batch)
            x[part], y[part] = self.features(batch)[scored].cpu().numpy(), target[scored].cpu().numpy()
        last = x[stage].shape[1] - 7 - len(SERIES) + SERIES.index(self.series or "")
        fits = [Ridge(alpha=penalty).fit(x["train"], y["train"]) for penalty in PENALTIES]
        best = min(fits, key=lambda fit: rmse(fit.predict(x["val"]), y["val"]))
        found = {"lag 1": x[stage][:, last], "training mean": np.zeros_like(y[stage]), "ridge": best.predict(x[stage])}
        return {name: {f"{stage}/rmse": rmse(values, y[stage])} for name, values in found.items()}


def rmse(found: np.ndarray, truth: np.ndarray) -> float:
    """Root mean squared error."""
    return float(np.sqrt(np.mean((found - truth) ** 2)))
