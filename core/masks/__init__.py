"""Who may attend to whom: symbolic boolean masks, True where attention is allowed, combined with & | ~.

The polarity is that of torch.nn.functional.scaled_dot_product_attention; torch.nn.MultiheadAttention's is the opposite.

Where there are fewer (or more) queries than keys, index-based masks align the last query with the last key: query i
stands at position i + Lk - Lq. That is decoding with a cache; torch's `is_causal` aligns the first ones instead.
"""

from .base import And, Extent, Mask, Not, Or, split
from .dense import Dense
from .index import Causal, Dilated, Global, Window
from .padding import Padding
from .pairs import Edges, Neighbours, PairMask
from .segments import Segments
from .time import NotAfter

__all__ = [
    "And",
    "Causal",
    "Dense",
    "Dilated",
    "Edges",
    "Extent",
    "Global",
    "Mask",
    "Neighbours",
    "Not",
    "NotAfter",
    "Or",
    "Padding",
    "PairMask",
    "Segments",
    "Window",
    "split",
]
