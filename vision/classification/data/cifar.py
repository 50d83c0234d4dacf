"""CIFAR-10 and CIFAR-100, downloaded by torchvision."""

from pathlib import Path
from typing import Any

import numpy as np

from core.training import Split

from ...images.base import ImageDataModule, LabelledImages
from ...images.datasets import ArrayImages
from ...images.splits import stratified_split


class CifarData(ImageDataModule):
    """60,000 colour photos of 32 x 32 pixels in 10 or 100 classes: 50,000 to train, 10,000 to test.

    torchvision downloads the archive and compares every file with its published MD5 checksum before it reads it, each
    time. The test part is the authors'; the validation part is drawn from their training part.

    Args:
        name: "cifar10" or "cifar100".
        root: Folder for the download.
        download: Download what is missing; without it, missing files are an error.
        options: See `ImageDataModule`; options that choose a test part are refused.

    References:
        Krizhevsky: Learning multiple layers of features from tiny images, 2009.
    """

    licence = "no licence stated by its authors; for research"
    source = "https://www.cs.toronto.edu/~kriz/cifar.html, through torchvision"

    def __init__(
        self, name: str = "cifar10", root: str = "~/.cache/attention-suite", download: bool = True, **options: Any
    ) -> None:
        super().__init__(**options)
        self.refuse_fold("CIFAR")
        if name not in ("cifar10", "cifar100"):
            raise ValueError(f"name: expected 'cifar10' or 'cifar100', got {name!r}")
        self.name, self.root, self.download = name, Path(root).expanduser(), download

    def prepare_data(self) -> None:
        """Download, on one process."""
        for train in (True, False):
            self._dataset(train, self.download)

    def _dataset(self, train: bool, download: bool) -> Any:
        from torchvision import datasets

        kind = datasets.CIFAR10 if self.name == "cifar10" else datasets.CIFAR100
        try:
            return kind(str(self.root), train=train, download=download)
        except OSError as error:  # no network, or no right to write
            raise FileNotFoundError(
                f"root: expected {kind.base_folder} in {self.root} or a network to download it to there, got: {error}"
            ) from error
        except RuntimeError as error:  # missing, or a checksum differs
            raise FileNotFoundError(f"root: expected {kind.base_folder} in {self.root}, got: {error}") from error

    def load(self) -> LabelledImages:
        """Read the files."""
        train, test = self._dataset(True, False), self._dataset(False, False)
        labels = np.asarray([*train.targets, *test.targets], dtype=np.int64)
        count = len(train.targets)
        drawn = stratified_split(labels[:count], val=self.val_fraction, test=0, seed=self.split_seed)
        split = Split(drawn.train, drawn.val, np.arange(count, len(labels)))
        images = ArrayImages(np.concatenate([train.data, test.data]))
        return LabelledImages(images, labels, tuple(train.classes), split)
