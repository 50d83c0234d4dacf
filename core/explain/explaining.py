"""From what a task answers to an explanation: attributions by every method, and the verdict."""

from __future__ import annotations

from typing import Unpack

from ..analysis.faithfulness import FaithfulnessOptions, faithfulness
from .contract import Explains
from .items import Explanation


def explain(explains: Explains, **options: Unpack[FaithfulnessOptions]) -> Explanation:
    """Explain the predictions of some items, and say whether attention may be read as an explanation of them.

    Args:
        explains: what a task answered for the items.
        options: of `core.analysis.faithfulness`: the seed, models of other seeds, the effort.

    Raises:
        MissingExtraError: captum is not installed (extra viz).
        ValueError: the model has no attention, or the answers of `explains` do not fit each other.
    """
    q = explains.question()
    report = faithfulness(
        q.model,
        q.inputs,
        q.units,
        call=q.call,
        embedding=q.embedding,
        target=q.target,
        distribution=q.distribution,
        layer=q.layer,
        row=q.row,
        labels=q.labels,
        **options,
    )
    items = explains.items
    return Explanation(
        items=items,
        prediction=explains.prediction(),
        unit=explains.unit,
        unit_names=tuple(explains.unit_names(item) for item in range(len(items))),
        valid=q.units.validity(q.inputs).cpu(),
        attributions=report.attributions,
        faithful=report.faithful,
        verdict=report.verdict,
        report=report,
        limits=explains.limits,
    )
