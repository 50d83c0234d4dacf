"""The backend `banded`: windows, dilation and global positions in linear time."""

from .band import TILE, Band, BandCut, band_of, global_positions
from .banded import Banded
from .blocks import ROWS

__all__ = ["ROWS", "TILE", "Band", "BandCut", "Banded", "band_of", "global_positions"]
