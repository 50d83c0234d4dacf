"""Data modules of labelled nodes."""

from .arrays import GraphArrayData
from .base import LabelledGraph, NodeBatch, NodeData
from .planetoid import PlanetoidData
from .saved import SavedGraphData

__all__ = [
    "GraphArrayData",
    "LabelledGraph",
    "NodeBatch",
    "NodeData",
    "PlanetoidData",
    "SavedGraphData",
]
