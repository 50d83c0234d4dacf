r"""Events with planted half-lives: the target depends on decaying means of a few codes, and on nothing else.

.. math::
    m_g = \frac{\sum_j 2^{-(T - t_j) / h_g} v_j}{\sum_j 2^{-(T - t_j) / h_g}}, \qquad
    \text{logit} = \text{bias} + \sum_g w_g \frac{m_g}{\operatorname{sd}(m_g)}, \qquad y \sim \text{Bernoulli}

The sums run over the events of informative code g before the prediction time T; h_g is its half-life. A softmax over
the events of one code with an exponential decay of half-life h_g computes m_g exactly, so the half-life of a head that
attends to that code can be compared with the planted one. Codes of noise have events of the same kind that count for
nothing.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .samples import EventSamples


class Planted(NamedTuple):
    """Samples and the truth behind them.

    Shapes:
        half_lives (G,) hours; weights (G,) of the standardised means; logit (N,) without noise; means (N, G), m_g
    """

    samples: EventSamples
    informative: tuple[str, ...]
    half_lives: np.ndarray
    weights: np.ndarray
    means: np.ndarray
    logit: np.ndarray


def plant(
    count: int,
    *,
    half_lives: Sequence[float] = (2.0, 8.0, 32.0),
    weights: Sequence[float] | None = None,
    bias: float = 0.0,
    noise_codes: int = 3,
    events_per_code: float = 40.0,
    window: float = 96.0,
    seed: int = 0,
) -> Planted:
    """Draw samples: per code a Poisson process in time with values of N(0, 1), at least one event each.

    Args:
        count: N, one sample per subject.
        half_lives: In hours, of as many informative codes "signal_0", "signal_1", ...
        weights: w_g; None for 2 each.
        bias: Of the logit.
        noise_codes: How many codes "noise_0", ... there are beside.
        events_per_code: Mean number of events of a code.
        window: Hours from the first possible event to the prediction time; several times the longest half-life.
        seed: Of everything that is drawn.

    Raises:
        ValueError: A number is out of range.
    """
    half = np.asarray(half_lives, dtype=np.float64)
    weight = np.full(len(half), 2.0) if weights is None else np.asarray(weights, dtype=np.float64)
    if half.ndim != 1 or not len(half) or not (np.isfinite(half) & (half > 0)).all():
        raise ValueError(f"half_lives: expected hours above 0, got {list(half_lives)}")
    if weight.shape != half.shape or not np.isfinite(weight).all():
        raise ValueError(f"weights: expected {len(half)} finite numbers, got {weight.tolist()}")
    if count < 2 or noise_codes < 0 or not events_per_code > 0 or not window > 0:
        raise ValueError(
            "count, noise_codes, events_per_code, window: expected at least 2, at least 0, above 0, above 0, got "
            f"{count}, {noise_codes}, {events_per_code}, {window}"
        )
    rng = np.random.default_rng(seed)
    informative = tuple(f"signal_{k}" for k in range(len(half)))
    codes = (*informative, *(f"noise_{k}" for k in range(noise_codes)))
    counts = np.maximum(rng.poisson(events_per_code, (count, len(codes))), 1)
    cell = np.repeat(np.arange(counts.size), counts.ravel())
    owner, code = np.divmod(cell, len(codes))
    time = rng.uniform(0.0, window, len(cell))
    order = np.lexsort((time, owner))
    owner, code, time = owner[order], code[order].astype(np.int32), time[order]
    value = rng.standard_normal(len(cell)).astype(np.float32)
    means = decaying_means(owner, code, time, value, count, half, window)
    logit = bias + (means / means.std(axis=0)) @ weight
    target = (rng.random(count) < 1 / (1 + np.exp(-logit))).astype(np.float32)
    samples = EventSamples(
        subjects=np.array([f"s{k:06d}" for k in range(count)], dtype=np.str_),
        offsets=np.concatenate([[0], np.cumsum(counts.sum(axis=1))]).astype(np.int64),
        time=time,
        prediction_time=np.full(count, float(window)),
        code=code,
        value=value,
        codes=codes,
        static=np.zeros((count, 0), dtype=np.float32),
        static_names=(),
        target=target,
        target_names=("outcome",),
    )
    return Planted(samples, informative, half, weight, means, logit)


def decaying_means(
    owner: np.ndarray,
    code: np.ndarray,
    time: np.ndarray,
    value: np.ndarray,
    count: int,
    half_lives: np.ndarray,
    prediction_time: float,
) -> np.ndarray:
    """m_g of every sample, for the codes 0 .. G - 1.

    Shapes:
        owner, code, time, value (E,); half_lives (G,); answer (count, G)
    """
    signal = code < len(half_lives)
    size = count * len(half_lives)
    cell = owner[signal] * len(half_lives) + code[signal]
    age = prediction_time - time[signal]
    youngest = np.full(size, np.inf)
    np.minimum.at(youngest, cell, age)
    decay = np.exp2((youngest[cell] - age) / half_lives[code[signal]])  # both sums grow alike; none underflows
    total = np.bincount(cell, weights=decay * value[signal], minlength=size)
    return (total / np.bincount(cell, weights=decay, minlength=size)).reshape(count, -1)
