"""Image files in folders: one folder per class, or for prediction just files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from core.training import Split, hash_files

from ...images.base import ImageDataModule, LabelledImages
from ...images.datasets import FileImages, ImageDataset
from ...images.decode import EXTENSIONS
from ...images.splits import stratified_split

PARTS = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}
"""Names of folders that hold a split of the authors."""


class ImageFolderData(ImageDataModule):
    """Any image files: `root/<class>/**/*.png`, or split already: `root/train/<class>`, `root/val`, `root/test`.

    Classes are the folders' names in sorted order. Files count by their ending (`decode.EXTENSIONS`), others and hidden
    ones are left out. With a folder `train`, the test part is `test` (or none) and the validation part is `val` (or
    drawn from `train`); without it, the split is drawn (see `ImageDataModule`). How each kind of file becomes numbers:
    see `decode`.

    Args:
        root: The folder; not needed to predict with a trained model.
        predict_root: A folder of images, at any depth, or one file, to predict; None predicts the test part.
        image_size: Side in pixels to which every image is brought. None takes the median shorter side of the training
            images, rounded to a multiple of 4 (above 32, of 8), at least 8 and at most 64.
        channels: 1 (grey) or 3 (RGB).
        resize: "crop" (shorter side, then the middle), "squash" or "pad".
        background: Grey in [0, 1] that shows through transparent pixels.
        smallest: Least side in pixels that a file may have; None takes an eighth of image_size.
        memory: Gibibytes up to which decoded images are kept in memory.
        options: See `ImageDataModule`.

    Raises:
        FileNotFoundError: There is no such folder.
        ValueError: A class folder is empty, there are fewer than two, or a file does not decode; the message names it.
    """

    licence = "as the folder's owner says"
    source = "image files in a local folder"

    def __init__(
        self,
        root: str | None = None,
        predict_root: str | None = None,
        image_size: int | None = None,
        channels: int = 3,
        resize: str = "crop",
        background: float = 1.0,
        smallest: int | None = None,
        memory: float = 1.0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.root = None if root is None else Path(root).expanduser()
        self.predict_root = None if predict_root is None else Path(predict_root).expanduser()
        self.size, self.channels, self.resize, self.background = image_size, channels, resize, background
        self.smallest, self.memory = smallest, memory
        self.predict_names: list[str] | None = None

    def load(self) -> LabelledImages:
        """List the folder, settle the size, decode what fits in memory."""
        if self.root is None:
            raise ValueError("root: expected a folder with one folder of images per class, got None")
        if not self.root.is_dir():
            raise FileNotFoundError(f"root: expected a folder with one folder of images per class, got {self.root}")
        given = (self.root / "train").is_dir()
        parts = {name: _part(self.root, names) for name, names in PARTS.items()} if given else {"train": self.root}
        classes = _class_folders(self.root / "train" if given else self.root)
        files: list[Path] = []
        labels: list[int] = []
        ends = []
        for name in ("train", "val", "test"):
            folder = parts.get(name)
            if folder is not None:
                found = _files_by_class(folder, classes)
                files += [path for paths in found for path in paths]
                labels += [k for k, paths in enumerate(found) for _ in paths]
            ends.append(len(files))
        targets = np.asarray(labels, dtype=np.int64)
        split = self._given_split(targets, ends) if given else None
        if self.size is None:
            self.size = typical_size(files[: ends[0]])
        names = [path.relative_to(self.root).as_posix() for path in files]
        return LabelledImages(self._images(files), targets, classes, split, names)

    def _given_split(self, labels: np.ndarray, ends: list[int]) -> Split:
        train, val, test = np.arange(ends[0]), np.arange(ends[0], ends[1]), np.arange(ends[1], ends[2])
        if self.fold is not None:
            raise ValueError(f"fold: {self.root} comes split into train and test, so expected none, got {self.fold}")
        if len(val) == 0 and self.val_fraction > 0:
            drawn = stratified_split(labels[train], val=self.val_fraction, test=0, seed=self.split_seed)
            train, val = train[drawn.train], train[drawn.val]
        return Split(train, val, test)

    def _images(self, files: Sequence[Path]) -> FileImages:
        assert self.size is not None
        return FileImages(
            files,
            channels=self.channels,
            size=self.size,
            resize=self.resize,
            background=self.background,
            memory=self.memory * 2.0**30,
            smallest=max(2, self.size // 8) if self.smallest is None else self.smallest,
        )

    def setup(self, stage: str | None = None) -> None:
        """Read the training folder, or only what is to be predicted."""
        if stage != "predict" or self.predict_root is None:
            super().setup(stage)
            return
        if self.size is None:
            self.size = self.option_of_model("image_size")
        if self.size is None:
            super().setup(stage)
        files = list_images(self.predict_root)
        base = self.predict_root if self.predict_root.is_dir() else self.predict_root.parent
        self.predict_names = [path.relative_to(base).as_posix() for path in files]
        nothing = np.full(len(files), -1)
        self.predict_set = ImageDataset(self._images(files), nothing, np.arange(len(files)))

    def names_of(self, index: Any) -> list[str]:
        """Paths of items, relative to the folder."""
        if self.predict_names is not None and self.trainer is not None and self.trainer.predicting:
            return [self.predict_names[int(item)] for item in index]
        return super().names_of(index)

    def fingerprint(self) -> str:
        """A hash of the names and contents of all labelled files (of what is predicted, where there are no others)."""
        if self.whole is not None:
            assert isinstance(self.whole.images, FileImages)
            return hash_files(self.whole.images.paths, self.root)
        if self.predict_root is None:
            raise RuntimeError("ImageFolderData: expected setup() to have been called, got no data yet")
        return hash_files(list_images(self.predict_root))


def _part(root: Path, names: Sequence[str]) -> Path | None:
    found = [root / name for name in names if (root / name).is_dir()]
    if len(found) > 1:
        raise ValueError(
            f"{root}: expected one of the folders {', '.join(names)}, got {', '.join(p.name for p in found)}"
        )
    return found[0] if found else None


def _class_folders(root: Path) -> tuple[str, ...]:
    folders = sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    if len(folders) < 2:
        raise ValueError(
            f"{root}: expected at least two folders, one per class with its images, "
            f"got {len(folders)}{': ' + folders[0] if folders else ''}"
        )
    return tuple(folders)


def _files_by_class(root: Path, classes: Sequence[str]) -> list[list[Path]]:
    others = set(_class_folders(root)) - set(classes)
    if others:
        raise ValueError(f"{root}: expected the classes {', '.join(classes)}, got also {', '.join(sorted(others))}")
    found: list[list[Path]] = []
    for name in classes:
        if not (root / name).is_dir():
            found.append([])  # a test part need not have every class
            continue
        files = list_images(root / name)
        found.append(files)
    return found


def list_images(folder: Path) -> list[Path]:
    """All image files in a folder, at any depth, sorted by their path; a file is itself.

    Args:
        folder: A folder or a file.

    Raises:
        FileNotFoundError: There is neither.
        ValueError: The folder holds no image.
    """
    if folder.is_file():
        return [folder]
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: expected a folder of images or an image, but there is none")
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in EXTENSIONS
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    if not files:
        raise ValueError(f"{folder}: expected image files ({', '.join(EXTENSIONS)}), got none")
    return files


def typical_size(files: Sequence[Path], most: int = 200) -> int:
    """The median shorter side over evenly spaced files, rounded and bounded as `ImageFolderData` says.

    Args:
        files: Image files.
        most: How many of them to open, at most.

    Raises:
        ValueError: A file is no image; the message names it.
    """
    sides = []
    for position in np.unique(np.linspace(0, len(files) - 1, min(most, len(files))).round().astype(int)):
        try:
            with Image.open(files[position]) as image:
                sides.append(min(image.size))
        except OSError as error:
            raise ValueError(f"{files[position]}: expected an image that decodes, got: {error}") from error
    median = float(np.median(sides))
    step = 4 if median <= 32 else 8
    return int(np.clip(step * round(median / step), 8, 64))
