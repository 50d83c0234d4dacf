"""How fast each way through a backend is: written by `python benchmarks/calibrate.py --write`; do not edit."""

from __future__ import annotations

from typing import NamedTuple


class Rates(NamedTuple):
    """What one training step costs: seconds for each call, for each flop of its matrix products, for each logit."""

    call: float
    flop: float
    cell: float


RATES = {
    "fused": Rates(call=2e-04, flop=1.3e-11, cell=0e00),
    "fused with a dense mask": Rates(call=3e-04, flop=1.5e-11, cell=1e-09),
    "fused by torch's math": Rates(call=4e-04, flop=1.5e-11, cell=1e-08),
    "reference": Rates(call=6e-04, flop=1.5e-11, cell=1.5e-08),
    "gathered": Rates(call=2e-03, flop=1e-10, cell=2e-08),
    "banded": Rates(call=2e-03, flop=1.6e-11, cell=1e-09),
    "banded by tiles": Rates(call=3e-03, flop=1.6e-11, cell=1.5e-09),
    "tiled": Rates(call=3e-03, flop=1.5e-11, cell=1.5e-09),
}
