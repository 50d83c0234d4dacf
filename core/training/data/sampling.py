"""Which samples make which batch: a pure function of (seed, epoch, batch), whatever the workers or processes.

    order(seed, epoch) = permutation of 0..n-1
    global batch k     = order[k G : (k + 1) G],   G = batch size x processes
    process r takes      global batch k at r, r + W, r + 2 W, ...

A run that is stopped inside an epoch goes on with the next batch, and two processes see together what one process
with twice the batch size sees.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from ..rng import get_rng_state, set_rng_state


class Key(NamedTuple):
    """What the sampler asks of the data set: a sample in an epoch."""

    epoch: int
    sample: int


class BatchKeys(Sampler[list[Key]]):
    """Batches of keys for one of `world` processes.

    Training shuffles by (seed, epoch) and never gives a process an empty batch. Evaluation takes every sample exactly
    once: when the last global batch holds fewer samples than there are processes, it joins the batch before it, so
    that all processes take the same number of steps.

    Args:
        n: number of samples.
        batch_size: samples per process and step.
        seed: of the permutations.
        shuffle: training: permute in every epoch.
        drop_last: in training, leave the incomplete last global batch of an epoch out (never the only one).
        rank: of this process.
        world: number of processes.

    Raises:
        ValueError: a size is not positive, or there are fewer samples than processes.
    """

    def __init__(
        self,
        n: int,
        batch_size: int,
        *,
        seed: int = 0,
        shuffle: bool = False,
        drop_last: bool = False,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size: expected a positive number, got {batch_size}")
        if not 0 <= rank < world:
            raise ValueError(f"rank: expected 0 <= rank < world, got rank {rank} and world {world}")
        if n < world:
            raise ValueError(f"data set: expected at least one sample per process, got {n} for {world} processes")
        self.n, self.batch_size, self.seed, self.shuffle = n, batch_size, seed, shuffle
        self.rank, self.world, self.epoch = rank, world, 0
        step = batch_size * world
        full, rest = divmod(n, step)
        starts, end = [k * step for k in range(full)], full * step
        if rest >= world and not (shuffle and drop_last and full):
            starts.append(end)
        if not shuffle:
            end = n  # fewer than `world` left over join the batch before them
        elif len(starts) > full:
            end = n - n % world  # equal shares: every process weighs the same in the mean gradient
        self._spans = list(zip(starts, [*starts[1:], end], strict=True))

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration belongs to."""
        self.epoch = epoch

    def order(self) -> list[int]:
        """The epoch's order of all samples."""
        if not self.shuffle:
            return list(range(self.n))
        mixed = torch.Generator().manual_seed(mix(self.seed, self.epoch))
        return torch.randperm(self.n, generator=mixed).tolist()

    def __iter__(self) -> Iterator[list[Key]]:
        order = self.order()
        for start, end in self._spans:
            yield [Key(self.epoch, i) for i in order[start:end][self.rank :: self.world]]

    def __len__(self) -> int:
        return len(self._spans)


def mix(*numbers: int) -> int:
    """One 64-bit seed from several numbers; neighbouring numbers give unrelated seeds."""
    low, high = np.random.SeedSequence([n % 2**64 for n in numbers]).generate_state(2).tolist()
    return int(low) | int(high) << 32 & (2**63 - 1)


@contextmanager
def seeded(*numbers: int) -> Iterator[None]:
    """Seed Python's, numpy's and torch's CPU generators inside the block and put them back after it."""
    before = get_rng_state(cuda=False)
    seed = mix(*numbers)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        set_rng_state(before)


class Keyed(Dataset[list[Any]]):
    """A map-style data set asked by batches of keys; random transforms draw from (seed, epoch, index) alone.

    A data set with `__getitems__` is asked once for the whole batch, seeded by its first key.
    """

    def __init__(self, dataset: Dataset[Any], seed: int, random: bool) -> None:
        self.dataset, self.seed, self.random = dataset, seed, random

    def __getitem__(self, keys: Sequence[Key]) -> list[Any]:
        many = getattr(self.dataset, "__getitems__", None)
        if many is not None:
            indices = [key.sample for key in keys]
            return list(self._draw(keys[0], lambda: many(indices)))
        return [self._draw(key, partial(self.dataset.__getitem__, key.sample)) for key in keys]

    def _draw(self, key: Key, get: Callable[[], Any]) -> Any:
        if not self.random:
            return get()
        with seeded(self.seed, key.epoch, key.sample):
            return get()


class Loader:
    """Iterates over batches; resumable inside an epoch (`state_dict`), with any number of workers.

    Nothing is read, and no worker starts, before the first batch is asked for: the trainer creates the iterator before
    it restores the epoch.

    Args:
        dataset: map-style, with `__len__`.
        keys: which samples make which batch.
        seed: of the random transforms.
        random: the data set draws random numbers (training); else it is read as it is.
        num_workers: worker processes; 0 reads in the main process.
        collate: from a list of samples to a batch.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        keys: BatchKeys,
        *,
        seed: int = 0,
        random: bool = False,
        num_workers: int = 0,
        collate: Callable[[list[Any]], Any] | None = None,
    ) -> None:
        self.sampler, self.batch_sampler = keys, None  # the trainer asks for both
        self.delivered, self._skip = 0, 0
        self._remaining = _Remaining(keys)
        self._loader: DataLoader[Any] = DataLoader(
            Keyed(dataset, seed, random),
            sampler=self._remaining,
            batch_size=None,
            num_workers=num_workers,
            collate_fn=collate or default_collate,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=num_workers > 0,
            generator=torch.Generator().manual_seed(mix(seed)),  # the global generator is left alone
        )

    def __iter__(self) -> Iterator[Any]:
        self.delivered, self._skip = self._skip, 0
        self._remaining.skip = self.delivered
        for batch in self._loader:
            self.delivered += 1
            yield batch

    def __len__(self) -> int:
        return len(self.sampler)

    def state_dict(self) -> dict[str, int]:
        """Where in which epoch the iteration stands."""
        return {"epoch": self.sampler.epoch, "delivered": self.delivered}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Let the next iteration begin where the saved one stood."""
        self.sampler.set_epoch(state["epoch"])
        self._skip = state["delivered"]


class _Remaining(Sampler[list[Key]]):
    """The batches of an epoch that have not been delivered yet."""

    def __init__(self, keys: BatchKeys) -> None:
        self.keys, self.skip = keys, 0

    def __iter__(self) -> Iterator[list[Key]]:
        for k, batch in enumerate(self.keys):
            if k >= self.skip:
                yield batch

    def __len__(self) -> int:
        return len(self.keys) - self.skip
