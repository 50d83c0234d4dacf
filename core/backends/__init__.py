"""The ways to compute attention, each in a folder of its own. All of them equal `Reference`; none imports another.

A backend is an instance of a class on `Backend`, which says what it must have. `BACKENDS` holds those there are, by
name; entering one there (`BACKENDS["mine"] = Mine()`) is all that `attend` and `plan` need to know it.
"""

from ..engine import Backend, Backends
from .banded import Banded
from .flex import Flex
from .fused import Fused
from .gathered import Gathered
from .reference import Reference
from .tiled import Tiled

BACKENDS = Backends((Fused(), Flex(), Gathered(), Reference(), Banded(), Tiled()))
"""The backends in the order of preference, which decides where several cost the same."""

__all__ = ["BACKENDS", "Backend", "Banded", "Flex", "Fused", "Gathered", "Reference", "Tiled"]
