r"""Summary features: per code a few numbers about its events, the table that tabular methods take.

Of the events (t_1, v_1), ..., (t_n, v_n) of one code in one sample with prediction time T, in order of time:

.. math:: \text{last} = v_n, \quad \text{since last} = T - t_n, \quad
   \text{slope} = \frac{\sum_k (t_k - \bar t)(v_k - \bar v)}{\sum_k (t_k - \bar t)^2}

Nothing is fitted but the names of codes and static columns; what is not there is NaN, a count is 0.
"""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from .samples import EventSamples
from .vocabulary import Vocabulary


class SummaryFeatures:
    """A row of numbers per sample: the statistics of each code, then the static values.

    Values of one code at one time keep the order of the file, so that "last" is the later row. Only events with a value
    count for the statistics of values; all events count for "count" and "since_last".

    Args:
        codes: Whose events are summarised; others are left out.
        static_names: Static columns that are appended.
        statistics: Of "last", "first", "mean", "min", "max", "sd", "sum" (in the unit of the code), "count", "slope"
            (unit per hour; needs two different times) and "since_last" (hours).
        static_flags: Those of the static columns that are flags, see `Vocabulary`.

    Raises:
        ValueError: A statistic is not known, or a name is there twice.
    """

    STATISTICS: ClassVar[tuple[str, ...]] = (
        "last", "first", "mean", "min", "max", "sd", "sum", "count", "slope", "since_last",
    )  # fmt: skip
    DEFAULT: ClassVar[tuple[str, ...]] = ("last", "mean", "min", "max", "count", "slope", "since_last")

    def __init__(
        self,
        codes: Sequence[str],
        static_names: Sequence[str] = (),
        statistics: Sequence[str] = DEFAULT,
        static_flags: Sequence[str] | None = None,
    ) -> None:
        strange = [name for name in statistics if name not in self.STATISTICS]
        if strange or not statistics:
            raise ValueError(f"statistics: expected some of {', '.join(self.STATISTICS)}, got {list(statistics)}")
        if len(set(statistics)) != len(statistics):
            raise ValueError(f"statistics: expected every name once, got {list(statistics)}")
        flags = None if static_flags is None else tuple(static_flags)
        self.vocabulary = Vocabulary(tuple(codes), tuple(static_names), flags)
        self.statistics = tuple(statistics)

    @classmethod
    def of(cls, train: EventSamples, statistics: Sequence[str] = DEFAULT) -> "SummaryFeatures":
        """Features of the codes and static columns that occur in the training part."""
        vocabulary = Vocabulary.fit(train)
        return cls(vocabulary.codes, vocabulary.static_names, statistics, vocabulary.static_flags)

    @property
    def names(self) -> tuple[str, ...]:
        """One name per column: "<code>:<statistic>", then the static columns."""
        codes, static = self.vocabulary.codes, self.vocabulary.static_names
        return (*(f"{code}:{statistic}" for code in codes for statistic in self.statistics), *static)

    def __call__(self, samples: EventSamples) -> np.ndarray:
        """The table of the samples.

        Shapes:
            answer: (N, F) float32, NaN where there is nothing to summarise
        """
        samples, _ = self.vocabulary.encode(samples, "ignore")
        n, codes = len(samples), len(self.vocabulary.codes)
        table = np.full((n * codes, len(self.statistics)), np.nan, dtype=np.float32)
        owner = samples.owners()
        cell = owner * codes + samples.code
        since = (samples.prediction_time[owner] - samples.time)[:, None]
        has = ~np.isnan(samples.value)
        cells = _Cells(cell)
        valued = _Cells(cell[has])
        time, value = -since[has, 0][valued.order], samples.value[has][valued.order].astype(np.float64)
        for k, statistic in enumerate(self.statistics):
            if statistic == "count":
                table[:, k] = np.bincount(cell, minlength=n * codes)
            elif statistic == "since_last":
                table[cells.which, k] = since[cells.order, 0][cells.ends - 1]
            else:
                table[valued.which, k] = valued.reduce(statistic, time, value)
        return np.concatenate([table.reshape(n, codes * len(self.statistics)), samples.static], axis=1)


class _Cells:
    """Events grouped by a cell number: each group's events in their order, one behind the other.

    Args:
        cell: (E,) numbers of 0 or more.
    """

    def __init__(self, cell: np.ndarray) -> None:
        self.order = np.argsort(cell, kind="stable")
        self.which, self.starts, self.counts = np.unique(cell[self.order], return_index=True, return_counts=True)
        self.ends = self.starts + self.counts

    def reduce(self, statistic: str, time: np.ndarray, value: np.ndarray) -> np.ndarray:
        """One number per group; time and value (E,) are in the groups' order."""
        if len(value) == 0:
            return np.zeros(0)
        if statistic in ("last", "first"):
            return value[self.ends - 1 if statistic == "last" else self.starts]
        if statistic in ("min", "max"):
            return (np.minimum if statistic == "min" else np.maximum).reduceat(value, self.starts)
        total = np.add.reduceat(value, self.starts)
        if statistic == "sum":
            return total
        if statistic == "mean":
            return total / self.counts
        v = value - np.repeat(total / self.counts, self.counts)
        if statistic == "sd":
            return np.sqrt(np.add.reduceat(v * v, self.starts) / self.counts)
        t = time - np.repeat(np.add.reduceat(time, self.starts) / self.counts, self.counts)
        several = np.maximum.reduceat(time, self.starts) > np.minimum.reduceat(time, self.starts)
        spread = np.where(several, np.add.reduceat(t * t, self.starts), 1.0)
        return np.where(several, np.add.reduceat(t * v, self.starts) / spread, np.nan)
