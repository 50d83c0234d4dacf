"""The backend `gathered`: neighbours and edges at the cost of their pairs."""

from .gathered import NAME, cost, not_supported_reasons, run

__all__ = ["NAME", "cost", "not_supported_reasons", "run"]
