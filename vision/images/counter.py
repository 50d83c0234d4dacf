r"""Random numbers by what they are for; the mixer is not `core.engine.dropout`'s, as no stream may change.

They depend on seed, epoch and item, not on when they are drawn:

.. math:: u_{b,k} = 2^{-24} \lfloor 2^{-40}\, h(h(h(\text{seed}) + \text{epoch}) + \text{index}_b + k) \rfloor

with h the SplitMix64 finaliser (nested additions are of multiples of its odd constant). An augmentation drawn this way
is the same for any number of workers, any batch composition and after a resume in the middle of an epoch. Core's mixer
makes 32-bit words in torch, cheap enough for every weight on every device; this one 64-bit words in numpy, for a few
numbers an item. Published numbers rest on both.

References:
    Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014, figure 15.
"""

import numpy as np
import torch

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _mix(z: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser: a bijection of the 64-bit integers."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def counter_bits(seed: int, epoch: int, index: torch.Tensor, draws: int) -> np.ndarray:
    """64 random bits for each item and draw, a pure function of the arguments.

    Args:
        seed: Seed of the run.
        epoch: Epoch number.
        index: Item numbers in the data set, int64.
        draws: How many numbers per item.

    Shapes:
        index: (B,)
        answer: (B, draws), uint64
    """
    items = index.detach().cpu().numpy().astype(np.uint64)
    with np.errstate(over="ignore"):
        state = np.asarray([seed % 2**64], dtype=np.uint64)
        for part in (np.asarray([epoch], dtype=np.uint64), items):
            state = _mix(state + _GOLDEN) + part * _GOLDEN
        steps = (np.arange(draws, dtype=np.uint64) + np.uint64(1)) * _GOLDEN
        return _mix(_mix(state)[:, None] + steps[None, :])


def counter_uniform(seed: int, epoch: int, index: torch.Tensor, draws: int) -> torch.Tensor:
    """Uniform numbers in [0, 1) for each item and draw: the upper 24 of `counter_bits`, as float32.

    Args:
        seed: Seed of the run.
        epoch: Epoch number.
        index: Item numbers in the data set, int64.
        draws: How many numbers per item.

    Shapes:
        index: (B,)
        answer: (B, draws)
    """
    bits = counter_bits(seed, epoch, index, draws) >> np.uint64(40)
    return torch.from_numpy(bits.astype(np.float32) * np.float32(2.0**-24)).to(index.device)
