"""The ways to compute attention, one file each. All of them equal `reference`; none imports another.

A backend is a module with

- `NAME`;
- `not_supported_reasons(problem) -> list[str]`: why it cannot serve this problem, empty if it can;
- `cost(problem) -> Cost`: what a training step would cost;
- `run(problem, seed) -> AttentionOutput`.

A plan is made of shapes, dtypes and structure. None of them may look at tensor values to decide under torch.compile,
under torch.export or off the CPU; elsewhere only `fused` does, where it folds a bias.
"""

from types import ModuleType

from . import reference
from .banded import banded
from .flex import flex
from .fused import fused
from .gathered import gathered
from .tiled import tiled

# "auto" takes the one that costs the least time of those that can serve, without those that would hold much memory for
# the square of the length; the first of these where several cost the same.
_IN_ORDER = (fused, flex, gathered, reference, banded, tiled)
BACKENDS: dict[str, ModuleType] = {backend.NAME: backend for backend in _IN_ORDER}

__all__ = ["BACKENDS"]
