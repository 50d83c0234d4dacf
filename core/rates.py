"""How fast each way through a backend is: written by `python benchmarks/calibrate.py --write`; do not edit.

"flex" is not measured: it runs on CUDA alone, and its rates only put it before whatever else computes all pairs there.
"""

from __future__ import annotations

from typing import NamedTuple


class Rates(NamedTuple):
    """What one training step costs: seconds for each call, for each flop of its matrix products, for each logit."""

    call: float
    flop: float
    cell: float


RATES = {
    "fused": Rates(call=1.48e-04, flop=7.30e-12, cell=9.41e-10),
    "flex": Rates(call=1e-04, flop=2e-14, cell=0e00),
    "fused with a dense mask": Rates(call=3.45e-04, flop=8.85e-12, cell=5.11e-09),
    "fused by torch's math": Rates(call=6.72e-04, flop=1.17e-11, cell=4.12e-09),
    "reference": Rates(call=5.77e-04, flop=1.13e-11, cell=1.24e-08),
    "gathered": Rates(call=8.36e-04, flop=3.15e-11, cell=2.65e-08),
    "banded": Rates(call=5.46e-04, flop=1.15e-11, cell=4.17e-09),
    "banded by tiles": Rates(call=9.07e-04, flop=1.11e-11, cell=4.25e-09),
    "tiled": Rates(call=8.18e-04, flop=7.97e-12, cell=2.47e-09),
}
