"""The backend `tiled`: tiles of queries and keys, recomputed in backward."""

from .tiled import NAME, cost, not_supported_reasons, run

__all__ = ["NAME", "cost", "not_supported_reasons", "run"]
