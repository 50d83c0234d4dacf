"""The motif detector and the convolutional network beside it."""

from .cnn import MotifCNN
from .model import Look, MotifDetector, top_site

__all__ = [
    "Look",
    "MotifCNN",
    "MotifDetector",
    "top_site",
]
