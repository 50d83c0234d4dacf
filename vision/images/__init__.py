"""Images: decoding, augmentation, splits, and the base of their data modules."""

from core.training import Split

from .augment import RandomAffine, policy_by_name
from .base import ImageDataModule, LabelledImages
from .datasets import ArrayImages, FileImages, ImageBatch, ImageDataset
from .decode import EXTENSIONS, fit_size, read_image
from .splits import stratified_split

__all__ = [
    "EXTENSIONS",
    "ArrayImages",
    "FileImages",
    "ImageBatch",
    "ImageDataModule",
    "ImageDataset",
    "LabelledImages",
    "RandomAffine",
    "Split",
    "fit_size",
    "policy_by_name",
    "read_image",
    "stratified_split",
]
