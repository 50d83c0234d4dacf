"""What a data module of events answers when it has read its files, and what is said about its split."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from core.training import Split

from ...events.samples import EventSamples


class LoadedEvents(NamedTuple):
    """All samples of a data set, in the codes of its files.

    Args:
        samples: All of them.
        split: Given by the data, or None: drawn by the module.
        reports: What was met on the way, printable.
    """

    samples: EventSamples
    split: Split | None = None
    reports: tuple[Any, ...] = ()


@dataclass(frozen=True)
class SplitReport:
    """How the samples were split, and the codes that the vocabulary does not have.

    Args:
        split: In words.
        outside: Samples in no part: their subjects are not in the split that came with the data.
        unseen: part -> code -> events with a code outside the vocabulary: first seen there, or too rare.
        unknown: What became of those events.
    """

    split: str
    outside: int = 0
    unseen: dict[str, dict[str, int]] = field(default_factory=dict)
    unknown: str = "ignore"

    def __str__(self) -> str:
        lines = [self.split + (f"; {self.outside:,} samples in no part" if self.outside else "")]
        for part, codes in self.unseen.items():
            if codes:
                shown = ", ".join(f"{code} ({n})" for code, n in list(codes.items())[:5])
                more = f" and {len(codes) - 5} others" if len(codes) > 5 else ""
                lines.append(f"  outside the vocabulary in {part}, taken as {self.unknown!r}: {shown}{more}")
        return "\n".join(lines)


def strata(samples: EventSamples) -> np.ndarray:
    """A class per sample to stratify by: the target, whether the event occurred, or the number of labels."""
    if samples.kind == "time_to_event":
        return samples.target[:, 1].astype(np.int64)
    if samples.kind == "multilabel":
        return np.nansum(samples.target, axis=1).astype(np.int64)
    return samples.target.astype(np.int64)
