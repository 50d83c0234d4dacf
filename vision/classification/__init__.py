"""Image classification with a class token (V1): task, data, baselines."""

from .baselines import ranking_scores, support_vector_machine
from .explain import ImageExplains
from .task import ImageClassificationTask, attention_maps

__all__ = [
    "ImageClassificationTask",
    "ImageExplains",
    "attention_maps",
    "ranking_scores",
    "support_vector_machine",
]
