"""Data modules of labelled images."""

from .arrays import ImageArrayData
from .cifar import CifarData
from .digits import DigitsData, Mnist5kData
from .folder import ImageFolderData
from .medmnist import MedMnistData

__all__ = [
    "CifarData",
    "DigitsData",
    "ImageArrayData",
    "ImageFolderData",
    "MedMnistData",
    "Mnist5kData",
]
