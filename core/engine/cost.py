"""What a backend would spend on one training step, forward and backward."""

from __future__ import annotations

from typing import NamedTuple

from .rates import RATES

DEFAULT = RATES["reference"]  # what a route costs that nobody has measured


class Cost(NamedTuple):
    """An estimate for one training step.

    Attributes:
        flops: Floating-point operations of the matrix products, forward and backward.
        peak_bytes: Memory at its peak beyond q, k and v: the output, what is saved, temporaries and gradients.
        memory: "O(L d)", or "O(L^2)" with what costs it.
        cells: Logits that are computed, over items, heads, queries and keys; those that a mask then hides count.
        route: The way through the backend, a key of `core.engine.RATES`; one that was not measured counts as fast as
            the reference.
        entries: Numbers in a dense mask that is made for a kernel.
    """

    flops: int
    peak_bytes: int
    memory: str
    cells: int
    route: str
    entries: int = 0

    @property
    def is_linear(self) -> bool:
        """Whether memory grows with the length, not with its square."""
        return self.memory == "O(L d)"

    @property
    def is_measured(self) -> bool:
        """Whether the rates of the route were measured."""
        return self.route in RATES

    @property
    def seconds(self) -> float:
        """Time of the step on the machine that the rates were measured on; only the order of two such times counts.

        seconds = call + flops * flop + cells * cell + entries * entry
        """
        rates = RATES.get(self.route, DEFAULT)
        return rates.call + self.flops * rates.flop + self.cells * rates.cell + self.entries * rates.entry
