"""What masks and biases are made of: frozen nodes, and the parts and pairs that they are evaluated on.

Whoever writes a mask or a bias finds all that it needs here: `node`, `Part` and `Pairs`, the checks with the wording of
every error, and what makes an elementwise form.
"""

from .checks import (
    check_broadcast,
    check_constant,
    check_edge_range,
    check_edges,
    check_per_head,
    check_range,
    check_times,
    expect_shape,
    expect_tensor,
    values_are_visible,
)
from .edges import edge_places, look_up, within
from .elementwise import Mod, Sizes, by_row, combine, of_one_dtype, own, read
from .numbers import at_least_float32, per_head
from .part import Pairs, Part
from .symbolic import Symbolic, node

__all__ = [
    "Mod",
    "Pairs",
    "Part",
    "Sizes",
    "Symbolic",
    "at_least_float32",
    "by_row",
    "check_broadcast",
    "check_constant",
    "check_edge_range",
    "check_edges",
    "check_per_head",
    "check_range",
    "check_times",
    "combine",
    "edge_places",
    "expect_shape",
    "expect_tensor",
    "look_up",
    "node",
    "of_one_dtype",
    "own",
    "per_head",
    "read",
    "values_are_visible",
    "within",
]
