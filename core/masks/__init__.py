"""Who may attend to whom: symbolic boolean masks, True where attention is allowed, combined with & | ~.

The polarity is that of torch.nn.functional.scaled_dot_product_attention; torch.nn.MultiheadAttention's is the opposite.

Where there are fewer (or more) queries than keys, index-based masks align the last query with the last key: query i
stands at position i + Lk - Lq. That is decoding with a cache; torch's `is_causal` aligns the first ones instead.
"""

from .base import And, Extent, Mask, Not, Or
from .bounds import Bounds
from .dense import Dense
from .edges import Edges
from .index import Causal, Dilated, Global, Window
from .listing import Listing, PairList
from .neighbours import Neighbours
from .padding import Padding, split
from .pairs import PairMask
from .segments import Segments
from .time import NotAfter

__all__ = [
    "And",
    "Bounds",
    "Causal",
    "Dense",
    "Dilated",
    "Edges",
    "Extent",
    "Global",
    "Listing",
    "Mask",
    "Neighbours",
    "Not",
    "NotAfter",
    "Or",
    "Padding",
    "PairList",
    "PairMask",
    "Segments",
    "Window",
    "split",
]
