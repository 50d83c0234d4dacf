"""Dropout of attention weights as a pure function of seed and place.

keep(b, h, i, j) = stir(row(seed, b, h, i) XOR column(seed, j)) >= p * 2^32 - 2^31

`row` and `column` are 32-bit hashes with full avalanche, `stir` is two multiplications with a shift between them; words
are signed and wrap. So the same weights are dropped on every backend and device, for every tile size, and again in
backward and in a checkpoint's second forward.

References:
    Ettinger: Prospecting for Hash Functions (2018), for the form of the mixer.
"""

from __future__ import annotations

import torch
from torch import Tensor

_WORD = 0xFFFFFFFF
_FIRST = 0x7FEB352D
_SECOND = 0x68E31DA5
_GOLDEN = 0x1E3779B9
_STIR_1 = 0x2C1B3C6D
_STIR_2 = 0x297A2D39


def draw_seed(generator: torch.Generator | None, device: torch.device) -> Tensor:
    """Draw the seed of one call: a scalar int64 in [0, 2^31), on `device`.

    Args:
        generator: Where to draw from; None is the default generator of `device`. A generator of another device works.
        device: Where the seed is wanted.
    """
    place = device if generator is None else generator.device
    return torch.randint(2**31 - 1, (), generator=generator, device=place).to(device)


def keep(
    seed: Tensor,
    p: float,
    b: Tensor,
    h: Tensor,
    i: Tensor,
    j: Tensor,
    H: int,
    *,
    out: Tensor | None = None,
    words: Tensor | None = None,
) -> Tensor:
    """Answer which weights stay, each with probability 1 - p.

    Args:
        seed: Scalar int64 from `draw_seed`.
        p: Probability of dropping a weight.
        b: Items of the batch, int64.
        h: Query heads, int64.
        i: Queries, int64.
        j: Keys, int64.
        H: Number of query heads.
        out: Where to put the answer, as 0 and 1 if it is of another dtype: multiplying by floats is several times
            faster than filling where a bool says so.
        words: int32 memory of the answer's shape to work in.

    Shapes:
        b, h, i and j broadcast against each other; the answer is bool (or as `out`) of that shape.
    """
    row = _mix(_mix(_mix(seed ^ _GOLDEN) ^ (b * H + h)) ^ i)
    column = _mix(_mix(seed) ^ j)
    x = torch.bitwise_xor(_signed(row), _signed(column), out=words)
    x *= _STIR_1
    x ^= x >> 15
    x *= _STIR_2
    return torch.ge(x, min(round(p * 2**32) - 2**31, 2**31 - 1), out=out)


def _mix(x: Tensor) -> Tensor:
    """Hash words held in int64, exactly: the multipliers have 31 bits, so nothing overflows."""
    x = ((x ^ (x >> 16)) * _FIRST) & _WORD
    x = ((x ^ (x >> 15)) * _SECOND) & _WORD
    return x ^ (x >> 16)


def _signed(x: Tensor) -> Tensor:
    """Answer 32-bit words, held in int64, as int32 with the same bits."""
    return torch.where(x > 0x7FFFFFFF, x - 2**32, x).to(torch.int32)
