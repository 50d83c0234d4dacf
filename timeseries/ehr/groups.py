"""Groups of patients that an evaluation looks at one by one: bands of a number, values of a category."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from ..events.samples import EventSamples


def bands(name: str, values: np.ndarray, edges: Sequence[float], unit: str = "") -> dict[str, np.ndarray]:
    """Bands [edge, next edge), one below the first and one from the last on, and one of the unknown.

    Args:
        name: Of the number, such as "age".
        values: One per sample, NaN where unknown.
        edges: Ascending.
        unit: Put behind the bounds, such as "years".

    Shapes:
        values: (N,); answer: name of the band -> (N,) bool; empty bands are left out.
    """
    if not edges or any(b <= a for a, b in pairwise(edges)):
        raise ValueError(f"edges: expected numbers in ascending order, got {list(edges)}")
    unit = f" {unit}" if unit else ""
    found = {f"{name} < {edges[0]:g}{unit}": values < edges[0]}
    for low, high in pairwise(edges):
        found[f"{name} {low:g} to < {high:g}{unit}"] = (values >= low) & (values < high)
    found[f"{name} >= {edges[-1]:g}{unit}"] = values >= edges[-1]
    found[f"{name} unknown"] = np.isnan(values)
    return {band: member for band, member in found.items() if member.any()}


def categories(name: str, values: np.ndarray, labels: Mapping[float, str]) -> dict[str, np.ndarray]:
    """One group per value that has a label, and one of all that have none.

    Args:
        name: Of the category, such as "sex".
        values: One per sample, NaN where unknown.
        labels: Value -> its name.

    Shapes:
        values: (N,); answer: "name: label" -> (N,) bool; empty groups are left out.
    """
    found = {f"{name}: {label}": values == value for value, label in labels.items()}
    found[f"{name}: other or unknown"] = ~np.isin(values, list(labels))
    return {group: member for group, member in found.items() if member.any()}


def static_column(samples: EventSamples, name: str) -> np.ndarray:
    """A static column by its name, (N,).

    Raises:
        ValueError: There is no such column.
    """
    if name not in samples.static_names:
        raise ValueError(f"static_names: expected {name!r} among them, got {', '.join(samples.static_names) or 'none'}")
    return samples.static[:, samples.static_names.index(name)]


def physionet_groups(samples: EventSamples) -> dict[str, np.ndarray]:
    """Sex, age and unit of PhysioNet-2012's stays."""
    units = ("coronary care", "cardiac surgery recovery", "medical ICU", "surgical ICU")
    found = categories("sex", static_column(samples, "Gender"), {0.0: "female", 1.0: "male"})
    found |= bands("age", static_column(samples, "Age"), (50, 65, 80), "years")
    for k, unit in enumerate(units, 1):
        if f"ICUType={k}" in samples.static_names:
            found[f"unit: {unit}"] = static_column(samples, f"ICUType={k}") == 1
    return found


def nafld_groups(samples: EventSamples) -> dict[str, np.ndarray]:
    """Sex and age of the NAFLD study's people."""
    found = categories("sex", static_column(samples, "male"), {0.0: "female", 1.0: "male"})
    return found | bands("age", static_column(samples, "age"), (45, 60, 75), "years")
