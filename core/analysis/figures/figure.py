"""matplotlib, imported when a picture is asked for, without its global state: no window, nothing to close."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from ...extras import MissingExtraError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def new_figure(
    width: float,
    height: float,
    *,
    part: str = "core.analysis.figures",
    layout: Literal["constrained"] | None = "constrained",
) -> Figure:
    """Answer an empty figure of this size in inches.

    Args:
        width: In inches.
        height: In inches.
        part: Who draws, for the error.
        layout: Matplotlib's layout engine; None for places set by hand.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise MissingExtraError(part, error, "viz") from error
    return Figure(figsize=(width, height), layout=layout)


def require_scipy() -> tuple[Any, Any]:
    """Answer scipy.cluster.hierarchy and scipy.spatial.distance.squareform.

    Raises:
        MissingExtraError: scipy, which comes with scikit-learn, is not installed.
    """
    try:
        hierarchy = import_module("scipy.cluster.hierarchy")
        squareform = import_module("scipy.spatial.distance").squareform
    except ModuleNotFoundError as error:
        raise MissingExtraError("core.analysis.figures.head_similarity", error, "viz") from error
    return hierarchy, squareform
