"""Data modules of labelled sequences."""

from .arrays import SequenceArrayData
from .base import SequenceDataModule
from .batch import SequenceBatch, SequenceDataset, Sequences, collate
from .classification import SequenceClassification, SequenceClassificationData
from .planted import PlantedMotifs, PlantedMotifsData
from .planting import background, transition_matrix

__all__ = [
    "PlantedMotifs",
    "PlantedMotifsData",
    "SequenceArrayData",
    "SequenceBatch",
    "SequenceClassification",
    "SequenceClassificationData",
    "SequenceDataModule",
    "SequenceDataset",
    "Sequences",
    "background",
    "collate",
    "transition_matrix",
]
