r"""Time to an event with censoring: one hazard for each interval of time.

.. math:: h_k = \sigma(z_k) = P(t_{k-1} \le T < t_k \mid T \ge t_{k-1}), \qquad S_k = \prod_{j \le k} (1 - h_j)

.. math:: -\log L = -\sum_{k < K} \log (1 - h_k) - d \log h_K - (1 - d) m \log (1 - h_K)

for an event (d = 1) or a censoring (d = 0) in interval K; the interval of a censoring counts as survived (m = 1) where
it was observed to its middle or longer.

References:
    Gensheimer and Narasimhan: A scalable discrete-time survival model for neural networks, PeerJ 2019, eq. 2 to 4.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


def interval_edges(duration: np.ndarray, event: np.ndarray, intervals: int) -> list[float]:
    """Ends of intervals with about as many training events each; the last event lies inside the last interval.

    Args:
        duration: Hours until the event or the end of observation.
        event: 1 for an event, 0 for the end of observation.
        intervals: How many are wanted; fewer where many events share their times.

    Shapes:
        duration, event: (N,); answer: at most `intervals` numbers, ascending.

    Raises:
        ValueError: There is no event, or intervals < 1.
    """
    if intervals < 1:
        raise ValueError(f"intervals: expected at least 1, got {intervals}")
    times = np.asarray(duration, dtype=np.float64)[np.asarray(event) == 1]
    if len(times) == 0:
        raise ValueError("target: expected at least one event to place the intervals by, got none")
    edges = np.unique(np.quantile(times, np.linspace(0, 1, intervals + 1)[1:]))
    edges[-1] = np.nextafter(np.float32(edges[-1]), np.float32(np.inf))  # an interval does not hold its end
    return [float(edge) for edge in edges if edge > 0]


def exposure(target: Tensor, edges: Tensor) -> tuple[Tensor, Tensor]:
    """The intervals in which each sample was at risk, and among them the one that held its event.

    Args:
        target: Duration in hours, and 1 for an event or 0 for a censoring.
        edges: Ends of the intervals, ascending, in hours.

    Shapes:
        target: (N, 2); edges: (K,); answers: (N, K) bool, (N, K) bool.
    """
    duration, event = target[:, :1], target[:, 1:] > 0
    starts = torch.cat([edges.new_zeros(1), edges[:-1]])
    survived = duration >= torch.where(event, edges, (starts + edges) / 2)
    within = (duration >= starts) & (duration < edges) & event
    return survived | within, within


def hazard_loss(logits: Tensor, target: Tensor, edges: Tensor) -> Tensor:
    """The negative log-likelihood of each sample.

    Args:
        logits: z.
        target: Duration in hours, and 1 for an event or 0 for a censoring.
        edges: Ends of the intervals, ascending, in hours.

    Shapes:
        logits: (N, K); target: (N, 2); edges: (K,); answer: (N,).
    """
    at_risk, within = exposure(target, edges)
    loss = F.binary_cross_entropy_with_logits(logits, within.to(logits), reduction="none")
    return (loss * at_risk).sum(1)


def survival(logits: Tensor) -> Tensor:
    """Probability of no event by the end of each interval, (N, K)."""
    return F.logsigmoid(-logits).cumsum(1).exp()


def event_by(logits: Tensor, edges: Sequence[float] | Tensor, hours: float) -> Tensor:
    """Probability of the event within the first hours, hazards constant within an interval: (N,).

    Args:
        logits: z.
        edges: Ends of the intervals.
        hours: From the prediction time on; beyond the last edge it counts as the last edge.
    """
    ends = torch.as_tensor(edges, dtype=logits.dtype, device=logits.device)
    starts = torch.cat([ends.new_zeros(1), ends[:-1]])
    share = ((hours - starts) / (ends - starts)).clamp(0, 1)
    return 1 - (F.logsigmoid(-logits) * share).sum(1).exp()


def observed_by(target: np.ndarray, hours: float) -> tuple[np.ndarray, np.ndarray]:
    """Whether it is known who had the event within the first hours, and who had.

    Args:
        target: Duration and event.
        hours: From the prediction time on.

    Shapes:
        target: (N, 2); answers: (N,) bool, (N,) bool.
    """
    duration, event = target[:, 0], target[:, 1] == 1
    happened = event & (duration < hours)
    return happened | (duration >= hours), happened
