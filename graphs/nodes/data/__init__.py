"""Data modules of labelled nodes."""

from .base import NodeBatch, NodeData
from .planetoid import PlanetoidData
from .saved import SavedGraphData

__all__ = [
    "NodeBatch",
    "NodeData",
    "PlanetoidData",
    "SavedGraphData",
]
