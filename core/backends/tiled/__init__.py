"""The backend `tiled`: tiles of queries and keys, recomputed in backward."""

from .tiled import Tiled

__all__ = ["Tiled"]
