"""Image classification with a class token (V1): task, data, baselines."""

from .baselines import ranking_scores, support_vector_machine
from .task import ImageClassificationTask, attention_maps

__all__ = [
    "ImageClassificationTask",
    "attention_maps",
    "ranking_scores",
    "support_vector_machine",
]
