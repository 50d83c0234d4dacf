"""Images that are in memory already: numpy arrays, torch tensors, lists, or a data set of Hugging Face."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from core.training import Split, hash_arrays
from core.training.data import as_array, item_names

from ...images.base import ImageDataModule, LabelledImages
from ...images.datasets import ArrayImages, ImageDataset


class ImageArrayData(ImageDataModule):
    """Images and labels from Python.

        data = ImageArrayData(images, labels)
        trainer.fit(ImageClassificationTask(), datamodule=data)

    Without labels there is nothing to train on: all images are to be predicted. Checkpoints keep the options, not the
    images. The images are not copied: what is changed in them afterwards is changed here.

    Args:
        images: All of one shape. A torch tensor is (n, H, W) or (n, C, H, W), as torch has them; anything else becomes
            a numpy array, (n, H, W) or (n, H, W, C).
        labels: A class of each image, whole numbers or texts; None where they are to be predicted.
        classes: Names of the classes in the order of their numbers; None: the texts in sorted order, or the numbers.
        names: Identifiers of the images; None: their numbers.
        split: Part -> which images: {"train": ..., "val": ..., "test": ...}, numbers or masks; what is not named is
            empty. Or a `core.training.Split`. None draws the parts as `ImageDataModule` says.
        white: The value that becomes 1; None: 255 for bytes, 1 for fractions. Others must be told.
        licence: Of the images, for environment.json.
        source: Of the images.
        options: See `ImageDataModule`.

    Shapes:
        images: as above; labels: (n,)

    Raises:
        TypeError: Images or labels are not numbers (labels: nor texts).
        ValueError: Shapes, values or parts do not fit together.
    """

    from_python = True
    not_stored = ("images", "labels", "names", "split")

    def __init__(
        self,
        images: Any,
        labels: Any = None,
        classes: Sequence[str] | None = None,
        names: Sequence[str] | None = None,
        split: Split | Mapping[str, Any] | None = None,
        white: float | None = None,
        licence: str = "as the arrays' owner says",
        source: str = "arrays from Python",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.licence, self.source = licence, source  # type: ignore[misc]  # of these images, not of all
        array = _pixels(images)
        self.images = ArrayImages(array, _white(array, white))
        count = len(array)
        self.names = None if names is None else item_names(names, count)
        self.targets: np.ndarray | None = None
        self.class_names: tuple[str, ...] = ()
        if labels is not None:
            self.targets, self.class_names = _targets(labels, classes, count)
        if split is not None and self.fold is not None:
            raise ValueError(f"fold: expected none beside a split, got {self.fold}")
        self.given = None if split is None else Split.of_parts(split, count)

    @classmethod
    def from_dataset(cls, dataset: Any, image: str = "image", label: str | None = "label", **options: Any) -> Any:
        """Take the columns of a Hugging Face `datasets.Dataset`, or of anything with such columns.

        Args:
            dataset: `dataset[column]` answers a column; class names are taken from `dataset.features[label].names`
                where it has them.
            image: The column of images.
            label: That of labels; None where they are to be predicted.
            options: Of `ImageArrayData`.
        """
        shapes = {np.asarray(one).shape for one in dataset[image]}
        if len(shapes) > 1:
            raise ValueError(f"images: expected one shape, got {', '.join(map(str, sorted(shapes)[:3]))}")
        features = getattr(dataset, "features", {}) or {}
        known = None if label is None else getattr(features.get(label), "names", None)
        options.setdefault("classes", known)
        labels = None if label is None else list(dataset[label])
        return cls(np.stack([np.asarray(one) for one in dataset[image]]), labels, **options)

    def load(self) -> LabelledImages:
        """Answer what the constructor was given."""
        if self.targets is None:
            raise ValueError("labels: expected a class of each image to train, validate or test, got None")
        return LabelledImages(self.images, self.targets, self.class_names, self.given, self.names)

    def setup(self, stage: str | None = None) -> None:
        """Split; or, without labels, make all images ready to be predicted."""
        if self.targets is not None:
            super().setup(stage)
            return
        if stage not in ("predict", None):
            self.load()
        every = np.arange(len(self.images))
        self.predict_set = ImageDataset(self.images, np.full(len(every), -1), every)

    def names_of(self, index: torch.Tensor) -> list[str]:
        """Identifiers of images, by their numbers."""
        return [str(int(item)) if self.names is None else self.names[int(item)] for item in index]

    def split_words(self) -> str:
        """How the parts were drawn."""
        return "given" if self.given is not None else super().split_words()

    def fingerprint(self) -> str:
        """A hash of pixels and labels."""
        return hash_arrays(self.images.array, *([] if self.targets is None else [self.targets]))


def _pixels(images: Any) -> np.ndarray:
    array = as_array("images", images)
    if isinstance(images, torch.Tensor) and array.ndim == 4:
        array = array.transpose(0, 2, 3, 1)
    if array.dtype.kind not in "uif":
        raise TypeError(f"images: expected numbers, got {array.dtype} (are all images of one shape?)")
    if array.ndim not in (3, 4) or 0 in array.shape:
        raise ValueError(f"images: expected (n, H, W) or (n, H, W, C), torch tensors (n, C, H, W), got {array.shape}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        item = int(np.flatnonzero(~np.isfinite(array).reshape(len(array), -1).all(1))[0])
        raise ValueError(f"images: expected finite values, got NaN or infinity in image {item}")
    return array


def _white(array: np.ndarray, white: float | None) -> float:
    if white is None:
        if array.dtype != np.uint8 and array.dtype.kind != "f":
            raise ValueError(f"white: expected the value that becomes 1 for images of {array.dtype}, got None")
        white = 255.0 if array.dtype == np.uint8 else 1.0
    least, most = float(array.min()), float(array.max())
    if not 0 < white < np.inf or least < 0 or most > white:
        raise ValueError(f"images: expected values in 0 .. {white:g} (white), got {least:g} .. {most:g}")
    return float(white)


def _targets(labels: Any, classes: Sequence[str] | None, count: int) -> tuple[np.ndarray, tuple[str, ...]]:
    found = as_array("labels", labels)
    if found.shape != (count,):
        raise ValueError(f"labels: expected ({count},), one of each image, got {found.shape}")
    if classes is not None and len({str(name) for name in classes}) < len(classes):
        raise ValueError(f"classes: expected different names, got {', '.join(map(str, classes))}")
    if found.dtype.kind == "S" or (found.dtype.kind == "O" and all(isinstance(one, str) for one in found)):
        found = found.astype(str)  # columns of pandas hold texts as objects
    if found.dtype.kind == "U":
        known = sorted(set(found.tolist())) if classes is None else [str(name) for name in classes]
        strange = sorted(set(found.tolist()) - set(known))
        if strange:
            raise ValueError(f"labels: expected {', '.join(known)}, got {strange[0]!r}")
        place = {name: k for k, name in enumerate(known)}
        return np.array([place[name] for name in found.tolist()], dtype=np.int64), tuple(known)
    if found.dtype.kind not in "iu":
        raise TypeError(f"labels: expected whole numbers or texts, got {found.dtype}")
    most = int(found.max()) + 1 if classes is None else len(classes)
    if int(found.min()) < 0 or int(found.max()) >= most:
        raise ValueError(f"labels: expected 0 .. {most - 1}, got {int(found.min())} .. {int(found.max())}")
    if most > count:
        raise ValueError(f"labels: expected at most {count} classes for {count} images, got numbers up to {most - 1}")
    return found.astype(np.int64), tuple(map(str, range(most) if classes is None else classes))
