"""The vision transformer, its stems and receptive field, and backbones by name (timm)."""

from .backbones import create_backbone, pretrained_moments
from .model import VisionTransformer
from .receptive_field import effective_receptive_field, spread

__all__ = [
    "VisionTransformer",
    "create_backbone",
    "effective_receptive_field",
    "pretrained_moments",
    "spread",
]
