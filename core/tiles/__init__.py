"""What the tiled and the banded backend share: tiles of queries and keys, and passes over them."""

from .tiles import Cut, Grid, TileSize
from .tiling import attend_by_tiles, expect_by_tiles

__all__ = ["Cut", "Grid", "TileSize", "attend_by_tiles", "expect_by_tiles"]
