"""How well answers to shocks agree with the truth, over all pairs of sectors and hop by hop."""

import torch
from torch import Tensor
from torchmetrics import R2Score


class ExpR2(R2Score):
    """R^2 of what the given logarithms are logarithms of."""

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add logarithms."""
        super().update(preds.exp(), target.exp())


def r_squared(found: Tensor, truth: Tensor) -> float:
    """1 - sum (y - f)^2 / sum (y - mean y)^2.

    Raises:
        ValueError: Fewer than two truths.
    """
    if len(truth) < 2:
        raise ValueError(f"truth: expected at least 2 numbers, got {len(truth)}")
    return float(1 - (found - truth).square().sum() / (truth - truth.mean()).square().sum())


def log_scores(found: Tensor, truth: Tensor) -> dict[str, float]:
    """r2 of logarithms (0 put at the smallest truth), r2_reached and reached (see `baselines.py`), r2_linear.

    Shapes:
        found, truth: (n,), truth > 0
    """
    reached = found > 0
    floor = truth.min()
    scores = {
        "r2": r_squared(torch.where(reached, found, floor).log(), truth.log()),
        "r2_linear": r_squared(found, truth),
        "reached": float(reached.double().mean()),
    }
    if int(reached.sum()) > 1:
        scores["r2_reached"] = r_squared(found[reached].log(), truth[reached].log())
    return scores


def r2_by_hop(found: Tensor, truth: Tensor, distance: Tensor, hops: int) -> list[float | None]:
    """R^2 of logarithms among the pairs that are exactly 1, 2, .. hops steps apart.

    None where a pair is answered 0 or less (the method does not see so far), or there are fewer than two pairs.

    Shapes:
        found, truth, distance: (n, m); distance as `graphs.layers.hop_distances` answers it
    """
    scores: list[float | None] = []
    for hop in range(1, hops + 1):
        there = (distance == hop) & (truth > 0)
        seen = int(there.sum()) > 1 and bool((found[there] > 0).all())
        scores.append(r_squared(found[there].log(), truth[there].log()) if seen else None)
    return scores


def greatest_beyond(found: Tensor, distance: Tensor, hops: int) -> float:
    """The greatest |answer| of pairs more than `hops` steps apart or without any way; 0 where there is none.

    Shapes:
        found, distance: (n, m)
    """
    beyond = (distance > hops) | (distance < 0)
    return float(found[beyond].abs().max()) if bool(beyond.any()) else 0.0
