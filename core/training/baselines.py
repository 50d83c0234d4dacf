"""Simpler methods beside a model: what each of them answers, and which of them are asked for."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True, eq=False)
class BaselineResult:
    """What a simpler method reaches on a part.

    Args:
        name: Of the method, in snake_case: its key in baselines.json.
        values: Metric -> value, under the same names and definitions as the model's.
        chosen: What validation chose, in words.
        validation: The value of the metric that chose, on the validation part; NaN where nothing was chosen.
        prediction: What it predicts for each item, if it is of use.
        score: What the metrics were computed from.
        target: The truth.

    Shapes:
        prediction (n,); score (n,) or (n, K); target (n,)
    """

    name: str
    values: Mapping[str, float]
    chosen: str = ""
    validation: float = math.nan
    prediction: np.ndarray | None = field(default=None, repr=False)
    score: np.ndarray | None = field(default=None, repr=False)
    target: np.ndarray | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not self.name.isidentifier() or self.name != self.name.lower():
            raise ValueError(f"name: expected a name in snake_case, got {self.name!r}")

    def metrics(self, stage: str = "test") -> dict[str, float]:
        """The values under the keys of a stage, "<stage>/<metric>"."""
        return {f"{stage}/{name}": value for name, value in self.values.items()}


def by_name(results: Iterable[BaselineResult], stage: str) -> dict[str, dict[str, float]]:
    """What `Task.baselines` answers: name -> {"<stage>/<metric>": value}."""
    return {result.name: result.metrics(stage) for result in results}


def checked_names(names: Sequence[str] | None, known: Collection[str]) -> list[str]:
    """The methods that are asked for: None asks for all that are known, [] for none.

    Raises:
        ValueError: A name is not known.
    """
    if names is None:
        return list(known)
    strange = [name for name in names if name not in known]
    if strange:
        raise ValueError(f"baselines: expected names among {', '.join(known)}, or [] for none, got {strange[0]!r}")
    return list(names)
