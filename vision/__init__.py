"""Attention on images: a vision transformer, image data modules and classification.

    attention-suite fit --config configs/vision/digits.yaml

Needs the extra `vision`. Importing it registers the models with timm and the task and data modules with the command
line.
"""

from attention_suite import check_core

check_core(__name__)

from core.extras import MissingExtraError, former_modules  # noqa: E402

try:
    from .classification.data import CifarData, DigitsData, ImageArrayData, ImageFolderData, MedMnistData, Mnist5kData
    from .classification.task import ImageClassificationTask, attention_maps
    from .images import ImageBatch, ImageDataModule, read_image
    from .vit.backbones import create_backbone
    from .vit.model import VisionTransformer
except ModuleNotFoundError as error:
    raise MissingExtraError("vision", error, "vision") from error

FORMER_MODULES = {"data": "vision.images"}
"""Former name -> module that is reached by it, as `vision.data.decode`."""

__getattr__ = former_modules(__name__, FORMER_MODULES)

__all__ = [
    "CifarData",
    "DigitsData",
    "ImageArrayData",
    "ImageBatch",
    "ImageClassificationTask",
    "ImageDataModule",
    "ImageFolderData",
    "MedMnistData",
    "Mnist5kData",
    "VisionTransformer",
    "attention_maps",
    "create_backbone",
    "read_image",
]
