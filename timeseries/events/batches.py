"""Batches: items padded to the longest of the batch, and drawn so that their lengths are alike."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from core.training.data import BatchKeys, mix

from .samples import EventItem, EventSamples


class EventBatch(NamedTuple):
    """B items, padded behind their last event to the longest length L of the batch (at least 1).

    Shapes:
        time (B, L) float32, hours before the item's prediction time, 0 or less (0 in the padding); code (B, L) int64 (0
        in the padding); value (B, L) float32, NaN where there is none (and in the padding); length (B,) int64; static
        (B, S) float32, NaN where missing; prediction_time (B,) float64, hours since the item's origin; target (B,) or
        (B, K) float32; index (B,) int64.
    """

    time: Tensor
    code: Tensor
    value: Tensor
    length: Tensor
    static: Tensor
    prediction_time: Tensor
    target: Tensor
    index: Tensor


def pad(items: Sequence[EventItem]) -> EventBatch:
    """Join items. Times count from the prediction time, so that float32 keeps seconds close to it."""
    lengths = torch.tensor([len(item.time) for item in items])
    longest = max(int(lengths.max()), 1)
    time = torch.zeros(len(items), longest)
    code = torch.zeros(len(items), longest, dtype=torch.int64)
    value = torch.full((len(items), longest), float("nan"))
    for k, item in enumerate(items):
        n = len(item.time)
        time[k, :n] = torch.from_numpy(item.time - item.prediction_time).float()
        code[k, :n] = torch.from_numpy(item.code)
        value[k, :n] = torch.from_numpy(item.value)
    return EventBatch(
        time,
        code,
        value,
        lengths,
        torch.from_numpy(np.stack([item.static for item in items])),
        torch.tensor([item.prediction_time for item in items], dtype=torch.float64),
        torch.from_numpy(np.stack([np.asarray(item.target, dtype=np.float32) for item in items])),
        torch.tensor([item.index for item in items]),
    )


class EventDataset(Dataset[EventItem]):
    """Samples one by one.

    Args:
        samples: Of one part.
        index: The row of each sample in the data module's `whole`; `EventItem.index` is that.

    Shapes:
        index (N,)
    """

    def __init__(self, samples: EventSamples, index: np.ndarray | None = None) -> None:
        self.samples = samples
        self.index = np.arange(len(samples)) if index is None else index
        if len(self.index) != len(samples):
            raise ValueError(f"index: expected one number for each of {len(samples)} samples, got {len(self.index)}")

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, n: int) -> EventItem:
        return self.samples[n]._replace(index=int(self.index[n]))

    def __getitems__(self, index: Sequence[int]) -> list[EventItem]:
        """Several samples: nothing is random in them, so the generators are set once a batch, not once a sample."""
        return [self[n] for n in index]


class LengthKeys(BatchKeys):
    """Batches of items of similar lengths, a pure function of (seed, epoch) as every order of `BatchKeys` is.

    The epoch's random order is cut into buckets of `bucket` global batches; each is sorted by length, cut into batches,
    and all batches are shuffled. A bucket of 1 changes nothing but the order inside a batch.

    Args:
        lengths: Of every item, (n,).
        batch_size: Items per process and step.
        bucket: Global batches to a bucket: more make batches more alike and their make-up less random.
        options: Of `BatchKeys`.
    """

    def __init__(self, lengths: np.ndarray, batch_size: int, *, bucket: int = 16, **options: int | bool) -> None:
        super().__init__(len(lengths), batch_size, **options)  # type: ignore[arg-type]
        if bucket < 1:
            raise ValueError(f"bucket: expected at least 1 batch, got {bucket}")
        self.lengths, self.bucket = np.asarray(lengths), bucket

    def order(self) -> list[int]:
        """The epoch's order; the incomplete last batch, if any, is left at the end."""
        order = super().order()
        if not self.shuffle:
            return order
        step = self.batch_size * self.world
        full = len(order) - len(order) % step
        batches: list[list[int]] = []
        for start in range(0, full, step * self.bucket):
            bucket = sorted(order[start : min(start + step * self.bucket, full)], key=lambda k: int(self.lengths[k]))
            batches += [bucket[k : k + step] for k in range(0, len(bucket), step)]
        mixed = torch.Generator().manual_seed(mix(self.seed, self.epoch, 1))
        shuffled = [batches[k] for k in torch.randperm(len(batches), generator=mixed).tolist()]
        return [*(k for batch in shuffled for k in batch), *order[full:]]
