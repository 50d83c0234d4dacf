"""The backend `gathered`: neighbours and edges at the cost of their pairs."""

from .gathered import Gathered

__all__ = ["Gathered"]
