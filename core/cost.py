"""What a backend would spend on one training step, forward and backward."""

from __future__ import annotations

from typing import NamedTuple


class Cost(NamedTuple):
    """An estimate for one training step.

    Attributes:
        flops: Floating-point operations of the matrix products, forward and backward.
        peak_bytes: Memory at its peak beyond q, k and v: the output, what is saved, temporaries and gradients.
        memory: "O(L d)", or "O(L^2)" with what costs it.
    """

    flops: int
    peak_bytes: int
    memory: str

    @property
    def is_linear(self) -> bool:
        """Whether memory grows with the length, not with its square."""
        return self.memory == "O(L d)"
