"""What was captured: one record per call of attention."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import torch
from torch import Tensor

from ...engine.problem import Problem
from .cut import cut, solve


@dataclass(frozen=True, eq=False)
class Record:
    """One call of attention; a quantity that was not asked for is None.

    Attributes:
        layer: Name of the module that attended.
        forward: Which call of the whole model this belongs to, from 0; None if only parts of it were called.
        sizes: (B, H, Lq, Lk) of the call.
        heads: The heads recorded; None for all.
        rows: The queries recorded; None for all.
        entropy: Entropy of the weights in nats, (B, heads, rows); 0 in a dead row.
        lse: Log-sum-exp of the logits, (B, heads, rows); -inf in a dead row.
        weights: The weights, before dropout, (B, heads, rows, Lk).
        statistics: The named linear statistics, (B, heads, rows) each.
        inputs: Queries, keys, values and structure, in memory linear in length: all that the weights follow from.
    """

    layer: str
    forward: int | None
    sizes: tuple[int, int, int, int]
    heads: tuple[int, ...] | None = None
    rows: tuple[int, ...] | None = None
    entropy: Tensor | None = None
    lse: Tensor | None = None
    weights: Tensor | None = None
    statistics: Mapping[str, Tensor] = field(default_factory=lambda: MappingProxyType({}))
    inputs: Problem | None = None

    @property
    def has_all_weights(self) -> bool:
        """Whether the weights of all heads and queries are held."""
        return self.weights is not None and self.heads is None and self.rows is None

    def require_weights(self) -> None:
        """Raise unless the weights are held or can be computed.

        Raises:
            ValueError: Neither the weights of all heads and queries nor the inputs were captured.
        """
        if self.inputs is None and not self.has_all_weights:
            raise ValueError(
                "quantities: expected a capture of 'inputs' or of the 'weights' of all heads and rows, got "
                f"{self.layer or 'the model itself'} without both"
            )

    def weights_of(self, rows: range) -> Tensor:
        """Answer the weights of some queries, (B, H, rows, Lk): those held, or computed from the inputs.

        Raises:
            ValueError: Neither the weights of all heads and queries nor the inputs were captured.
        """
        self.require_weights()
        if self.has_all_weights and self.weights is not None:
            return self.weights[:, :, rows.start : rows.stop]
        assert self.inputs is not None
        with torch.no_grad():
            found = solve(cut(self.inputs, rows=rows), ("weights",)).weights
        assert found is not None
        return found

    def __str__(self) -> str:
        held = {
            **{name: getattr(self, name) for name in ("entropy", "lse", "weights")},
            **self.statistics,
            "inputs": None if self.inputs is None else self.inputs.q,
        }
        shown = ", ".join(f"{name} {tuple(x.shape)}" for name, x in held.items() if x is not None)
        return f"{self.layer or '(the model itself)'}: B, H, Lq, Lk = {self.sizes}: {shown}"


class Capture:
    """What a capture has recorded so far.

    Attributes:
        quantities: What was asked for.
    """

    def __init__(self, quantities: tuple[str, ...]) -> None:
        self.quantities = quantities
        self._records: list[Record] = []
        self._nbytes = 0

    def add(self, record: Record) -> None:
        """Append a record."""
        self._records.append(record)
        self._nbytes += _bytes(record)

    @property
    def layers(self) -> Mapping[str, tuple[Record, ...]]:
        """The records by module name, in the order of the first calls; a module has one for each call."""
        found: dict[str, list[Record]] = {}
        for record in self._records:
            found.setdefault(record.layer, []).append(record)
        return MappingProxyType({name: tuple(records) for name, records in found.items()})

    @property
    def records(self) -> tuple[Record, ...]:
        """All records in the order of the calls."""
        return tuple(self._records)

    @property
    def passes(self) -> tuple[tuple[Record, ...], ...]:
        """The records of each forward pass of the model.

        Where only parts of the model were called, a pass begins when the module that attended first attends again.
        """
        found: list[list[Record]] = []
        for record in self._records:
            first = found[-1][0] if found else None
            if (
                first is None
                or record.forward != first.forward
                or (first.forward is None and record.layer == first.layer)
            ):
                found.append([])
            found[-1].append(record)
        return tuple(tuple(records) for records in found)

    @property
    def nbytes(self) -> int:
        """Bytes of what is held."""
        return self._nbytes

    def __getitem__(self, layer: str) -> Record:
        """Answer the last record of a module.

        Raises:
            KeyError: The module was not recorded; the message lists those that were.
        """
        records = self.layers.get(layer)
        if not records:
            raise KeyError(
                f"layer: expected one of {', '.join(map(repr, self.layers)) or 'none: nothing ran'}, got {layer!r}"
            )
        return records[-1]

    def __iter__(self) -> Iterator[Record]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)

    def __str__(self) -> str:
        lines = [f"{len(self._records)} calls, {self.nbytes / 1e6:.3g} MB", *map(str, self._records)]
        return "\n".join(lines)


def _bytes(record: Record) -> int:
    held = [record.entropy, record.lse, record.weights, *record.statistics.values()]
    if record.inputs is not None:
        held += [record.inputs.q, record.inputs.k, record.inputs.v]
    return sum(x.numel() * x.element_size() for x in held if x is not None)
