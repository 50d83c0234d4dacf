r"""Probabilities that say how often: temperature or isotonic, fitted on validation data.

.. math:: p = \sigma(z / T), \quad T = \arg\min_T L(z / T, y)

for "temperature", with L the outcome's own loss; for "isotonic" p is the increasing function of z with the least
squared error.

References:
    Guo et al.: On calibration of modern neural networks, ICML 2017, section 4.2 (temperature).
    Zadrozny and Elkan: Transforming classifier scores into accurate multiclass probability estimates, KDD 2002.
"""

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from sklearn.isotonic import IsotonicRegression
from torch import Tensor

from .evaluation import logit
from .outcomes import Outcome

Method = Literal["temperature", "isotonic"]
BOUND = math.log(20)  # temperatures are searched from 1/20 to 20
AT_BOUND = "temperature: the loss is least at the end of what is searched, which calibrates nothing:"


@dataclass(frozen=True)
class Recalibration:
    """A map from logits to probabilities; the default leaves them as they are.

    Args:
        temperature: T, 1 for none.
        logits: Where the isotonic function bends, ascending; empty for none.
        values: Its values there; it is linear between and constant beyond them.
    """

    temperature: float = 1.0
    logits: tuple[float, ...] = ()
    values: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.temperature < math.inf:
            raise ValueError(f"temperature: expected a positive number, got {self.temperature}")
        if len(self.logits) != len(self.values):
            raise ValueError(f"values: expected one for each of {len(self.logits)} logits, got {len(self.values)}")

    @classmethod
    def fit(
        cls,
        method: Method,
        outcome: Outcome,
        logits: Tensor,
        target: Tensor,
        given: "Recalibration | None" = None,
    ) -> "Recalibration":
        """Fit on data that were not trained on.

        Args:
            method: "temperature" for every outcome, "isotonic" for binary ones.
            outcome: What is predicted.
            logits: Of the model.
            target: See `Outcome`.
            given: The answer where the targets have nothing to fit on, see `Outcome.has_contrast`; the default leaves
                logits as they are.

        Shapes:
            logits: (N, K); target: (N,) or (N, K)

        Raises:
            ValueError: An unknown method, or isotonic for another outcome.
        """
        cls.check(method, outcome)
        if not outcome.has_contrast(target):
            return given or cls()
        if method == "temperature":
            return cls(fit_temperature(outcome, logits, target))
        z = logits[:, 0].double().cpu().numpy()
        fitted = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(z, target.cpu().numpy())
        x, y = fitted.X_thresholds_, fitted.y_thresholds_
        return cls(1.0, tuple(map(float, x)), tuple(map(float, y)))

    @staticmethod
    def check(method: str, outcome: Outcome) -> None:
        """Whether a method can be fitted for an outcome.

        Raises:
            ValueError: It is unknown, or isotonic and the outcome not binary.
        """
        if method not in get_args(Method):
            raise ValueError(f"recalibrate: expected one of {', '.join(get_args(Method))}, got {method!r}")
        if method == "isotonic" and outcome.kind != "binary":
            raise ValueError(f"recalibrate: expected 'temperature' for a {outcome.kind} outcome, got 'isotonic'")

    def calibrated(self, logits: Tensor) -> Tensor:
        """The logits of the calibrated probabilities, of isotonic ones clipped to [1e-7, 1 - 1e-7]."""
        if not self.logits:
            return logits / self.temperature
        z = logit(np.interp(logits[:, :1].double().cpu().numpy(), self.logits, self.values))
        return torch.from_numpy(z).to(logits.device, torch.float32)

    def probabilities(self, outcome: Outcome, logits: Tensor) -> Tensor:
        """Calibrated probabilities, as `Outcome.probabilities` has them."""
        if self.logits:
            z = logits[:, 0].double().cpu().numpy()
            return torch.from_numpy(np.interp(z, self.logits, self.values)).to(logits.device, torch.float32)
        return outcome.probabilities(logits.float() / self.temperature)

    @property
    def at_bound(self) -> bool:
        """Whether the temperature is at an end of what `fit_temperature` searches."""
        return abs(math.log(self.temperature)) > BOUND - 1e-6

    def state(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        return {"temperature": self.temperature, "logits": list(self.logits), "values": list(self.values)}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "Recalibration":
        """The inverse of `state`."""
        return cls(float(state["temperature"]), tuple(state["logits"]), tuple(state["values"]))

    def __str__(self) -> str:
        if self.logits:
            return f"isotonic, {len(self.logits)} points"
        return f"temperature {self.temperature:.3f}"


def fit_temperature(outcome: Outcome, logits: Tensor, target: Tensor, steps: int = 60) -> float:
    """The temperature of the least loss between 1/20 and 20, by golden-section search on its logarithm.

    Warns where the least loss is at one of these bounds, as it is for logits that order the samples without an error,
    or no better than chance.

    Args:
        outcome: What is predicted.
        logits: Of the model.
        target: See `Outcome`.
        steps: Of the search; each shortens the interval by 0.618.
    """
    z, ratio = logits.double(), (math.sqrt(5) - 1) / 2
    target = target.double()

    def loss(log_temperature: float) -> float:
        return float(outcome.loss(z / math.exp(log_temperature), target))

    low, high = -BOUND, BOUND
    a, b = high - ratio * (high - low), low + ratio * (high - low)
    at_a, at_b = loss(a), loss(b)
    for _ in range(steps):
        if at_a <= at_b:
            high, b, at_b = b, a, at_a
            a = high - ratio * (high - low)
            at_a = loss(a)
        else:
            low, a, at_a = a, b, at_b
            b = low + ratio * (high - low)
            at_b = loss(b)
    found = math.exp((low + high) / 2)
    if Recalibration(found).at_bound:
        warnings.warn(f"{AT_BOUND} {found:.2f}", stacklevel=2)
    return found
