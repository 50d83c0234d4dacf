"""The backend `banded`: windows, dilation and global positions in linear time."""

from .band import Band, BandCut, band_of, global_positions
from .banded import Banded

__all__ = ["Band", "BandCut", "Banded", "band_of", "global_positions"]
