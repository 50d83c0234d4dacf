"""What the structure of a mask guarantees about j - i, where i counts over the keys (the last query = last key)."""

import math
from typing import NamedTuple, Self

from torch import Tensor


class Bounds(NamedTuple):
    """allowed(i, j) => low <= j - i <= high and j - i is a multiple of step, or i or j is a global position.

    Attributes:
        low: May be -inf; above `high` where nothing is allowed.
        high: May be inf.
        step: 0 where nothing is allowed but by global positions.
        everywhere: Tensors (n,) or (B, n) of global positions, -1 where a place is unused.
    """

    low: float = -math.inf
    high: float = math.inf
    step: int = 1
    everywhere: tuple[Tensor, ...] = ()

    def both(self, other: Self) -> Self:
        """Answer the bounds of what two masks allow."""
        low, high = max(self.low, other.low), min(self.high, other.high)
        return self._replace(
            low=low, high=high, step=math.lcm(self.step, other.step), everywhere=self.everywhere + other.everywhere
        )

    def either(self, other: Self) -> Self:
        """Answer the hull; offset 0 is a multiple of every step, so the steps have their greatest divisor in common."""
        low, high = min(self.low, other.low), max(self.high, other.high)
        return self._replace(
            low=low, high=high, step=math.gcd(self.step, other.step), everywhere=self.everywhere + other.everywhere
        )
