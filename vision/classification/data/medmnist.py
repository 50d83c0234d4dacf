"""A MedMNIST file by its path."""

import zipfile
import zlib
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from core.training import Split

from ...images.base import ImageDataModule, LabelledImages
from ...images.datasets import ArrayImages

PARTS = ("train", "val", "test")


class MedMnistData(ImageDataModule):
    """A 2-D MedMNIST data set, `<name>.npz` with train_images, train_labels, val_..., test_..., split by its authors.

    Args:
        path: The file.
        class_names: Names of the classes, in the order of their labels; None names them by number, or, for a file
            called after a data set that this module knows, by its own names.
        options: See `ImageDataModule`; options that choose a split are refused.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no npz file, or an array is missing, has another shape or type, or a label is out of range.

    References:
        Yang et al.: MedMNIST v2, Scientific Data 10, 2023.
    """

    licence = "CC BY 4.0 (DermaMNIST: CC BY-NC 4.0)"
    source = "MedMNIST v2, https://medmnist.com, by a local path"
    known: ClassVar[dict[str, tuple[str, ...]]] = {
        "pneumoniamnist": ("normal", "pneumonia"),
        "breastmnist": ("malignant", "normal or benign"),
    }

    def __init__(self, path: str | None = None, class_names: list[str] | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.refuse_fold("a MedMNIST file")
        if path is None:
            raise ValueError("path: expected a MedMNIST npz file (--data.path FILE.npz), got None")
        self.path = Path(path).expanduser()
        self.class_names = class_names

    def load(self) -> LabelledImages:
        """Read and check the file."""
        arrays = _read_npz(self.path)
        images, labels = [], []
        for part in PARTS:
            pixels, targets = arrays[f"{part}_images"], arrays[f"{part}_labels"]
            images.append(_checked_images(self.path, part, pixels))
            labels.append(_checked_labels(self.path, part, targets, len(pixels)))
            if images[-1].shape[1:] != images[0].shape[1:]:
                raise ValueError(
                    f"{self.path}: {part}_images: expected images of shape {images[0].shape[1:]} as in train_images, "
                    f"got {images[-1].shape[1:]}"
                )
        classes = self._classes(labels)
        ends = np.cumsum([len(part) for part in labels])
        train, val, test = (np.arange(end - len(part), end) for end, part in zip(ends, labels, strict=True))
        split = Split(train, val, test)
        names = [f"{part}/{k}" for part, targets in zip(PARTS, labels, strict=True) for k in range(len(targets))]
        return LabelledImages(ArrayImages(np.concatenate(images)), np.concatenate(labels), classes, split, names)

    def _classes(self, labels: list[np.ndarray]) -> tuple[str, ...]:
        """Names of the classes; the training part says how many there are, and has all of them."""
        present = np.unique(labels[0])
        count = int(labels[0].max()) + 1
        if len(present) != count or count < 2:
            raise ValueError(
                f"{self.path}: train_labels: expected every label of 0 .. k - 1 for k >= 2 classes, "
                f"got {present.tolist()}"
            )
        for part, targets in zip(PARTS, labels, strict=True):
            if len(targets) and targets.max() >= count:
                raise ValueError(
                    f"{self.path}: {part}_labels: expected labels 0 .. {count - 1} as in train_labels, "
                    f"got {targets.max()}"
                )
        names = self.class_names or self.known.get(self.path.stem.split("_")[0])
        if names is None:
            return tuple(str(k) for k in range(count))
        if len(names) != count:
            raise ValueError(f"class_names: expected {count} names for {self.path}, got {len(names)}")
        return tuple(names)


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    wanted = [f"{part}_{what}" for part in PARTS for what in ("images", "labels")]
    if not path.is_file():
        raise FileNotFoundError(f"path: expected a MedMNIST npz file, got {path}, which does not exist")
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path}: expected a MedMNIST npz file (an archive of arrays), which this is not")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            missing = [name for name in wanted if name not in archive.files]
            if missing:
                raise KeyError(
                    f"{path}: expected the arrays {', '.join(wanted)}, got {', '.join(archive.files) or 'none'} "
                    f"(missing: {', '.join(missing)})"
                )
            return {name: archive[name] for name in wanted}
    except KeyError as error:
        raise ValueError(error.args[0]) from None
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError) as error:
        raise ValueError(f"{path}: expected an npz file of plain arrays, got: {error}") from error


def _checked_images(path: Path, part: str, pixels: np.ndarray) -> np.ndarray:
    ok = pixels.dtype == np.uint8 and (pixels.ndim == 3 or (pixels.ndim == 4 and pixels.shape[-1] in (1, 3)))
    if not ok:
        raise ValueError(
            f"{path}: {part}_images: expected uint8 of shape (n, H, W) or (n, H, W, 3), "
            f"got {pixels.dtype} {pixels.shape}"
        )
    return pixels if pixels.ndim == 4 else pixels[..., None]


def _checked_labels(path: Path, part: str, targets: np.ndarray, count: int) -> np.ndarray:
    if targets.shape not in ((count, 1), (count,)) or not np.issubdtype(targets.dtype, np.integer):
        raise ValueError(
            f"{path}: {part}_labels: expected integers of shape ({count}, 1), one class of each image, "
            f"got {targets.dtype} {targets.shape} (multi-label and 3-D sets are not supported)"
        )
    targets = targets.reshape(-1).astype(np.int64)
    if count and targets.min() < 0:
        raise ValueError(f"{path}: {part}_labels: expected labels of at least 0, got {targets.min()}")
    return targets
