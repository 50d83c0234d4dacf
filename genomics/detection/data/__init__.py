"""Data modules of labelled sequences."""

from .base import SequenceDataModule
from .batch import SequenceBatch, SequenceDataset, collate
from .classification import SequenceClassification
from .planted import PlantedMotifs
from .planting import background, transition_matrix

__all__ = [
    "PlantedMotifs",
    "SequenceBatch",
    "SequenceClassification",
    "SequenceDataModule",
    "SequenceDataset",
    "background",
    "collate",
    "transition_matrix",
]
