"""Images: data modules, decoding, splits and augmentation."""

from .augment import RandomAffine, policy_by_name
from .base import ImageDataModule, LabelledImages
from .cifar import CifarData
from .decode import fit_size, read_image
from .digits import DigitsData, Mnist5kData
from .folder import ImageFolderData
from .images import ArrayImages, FileImages, ImageBatch, ImageDataset
from .medmnist import MedMnistData
from .splits import Split, stratified_split

__all__ = [
    "ArrayImages",
    "CifarData",
    "DigitsData",
    "FileImages",
    "ImageBatch",
    "ImageDataModule",
    "ImageDataset",
    "ImageFolderData",
    "LabelledImages",
    "MedMnistData",
    "Mnist5kData",
    "RandomAffine",
    "Split",
    "fit_size",
    "policy_by_name",
    "read_image",
    "stratified_split",
]
