"""How fast each way through a backend is: written by `python benchmarks/calibrate.py --write`; do not edit.

"flex" is not measured: it runs on CUDA alone, and its rates only put it before whatever else computes all pairs there.
"""

from __future__ import annotations

from typing import NamedTuple


class Rates(NamedTuple):
    """What one training step costs in seconds: for each call, flop of the matrix products, logit, number in a mask."""

    call: float
    flop: float
    cell: float
    entry: float = 0.0


RATES = {
    "fused": Rates(call=1.58e-04, flop=4.07e-12, cell=3.56e-09, entry=0.00e00),
    "flex": Rates(call=1.00e-04, flop=2.00e-14, cell=0.00e00, entry=0.00e00),
    "fused with a dense mask": Rates(call=2.79e-04, flop=5.23e-12, cell=4.30e-09, entry=5.51e-10),
    "fused by torch's math": Rates(call=4.74e-04, flop=7.83e-12, cell=5.69e-09, entry=0.00e00),
    "reference": Rates(call=5.53e-04, flop=8.22e-12, cell=1.23e-08, entry=0.00e00),
    "gathered": Rates(call=7.79e-04, flop=2.23e-11, cell=2.35e-08, entry=0.00e00),
    "banded": Rates(call=4.96e-04, flop=8.41e-12, cell=6.35e-09, entry=0.00e00),
    "banded by tiles": Rates(call=9.93e-04, flop=8.32e-12, cell=5.12e-09, entry=0.00e00),
    "tiled": Rates(call=7.45e-04, flop=5.96e-12, cell=3.87e-09, entry=0.00e00),
}
