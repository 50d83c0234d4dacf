"""Data modules of sequences."""

from .base import SequenceDataModule
from .batch import SequenceBatch
from .classification import SequenceClassification
from .planted import PlantedMotifs

__all__ = ["PlantedMotifs", "SequenceBatch", "SequenceClassification", "SequenceDataModule"]
