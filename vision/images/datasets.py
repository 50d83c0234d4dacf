"""Images with labels, wherever they are stored: one item at a time, float32 in [0, 1]."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch.utils.data import Dataset

from .decode import fit_size, read_image


class ImageBatch(NamedTuple):
    """Some images; without labels (prediction) every label is -1.

    Shapes:
        image: (B, C, H, W), float32 in [0, 1]
        label: (B,), int64
        index: (B,), int64, the item's number in the whole data set
    """

    image: torch.Tensor
    label: torch.Tensor
    index: torch.Tensor  # type: ignore[assignment]  # a tuple's method of this name is not of use here


class Images(Protocol):
    """A sequence of images of one shape (C, H, W)."""

    def __len__(self) -> int:
        """How many there are."""

    def __getitem__(self, item: int) -> torch.Tensor:
        """One image, float32 in [0, 1]."""


class ArrayImages:
    """Images in memory, in the type they came in; an item is value / white.

    Args:
        array: All images.
        white: The value that becomes 1.

    Shapes:
        array: (n, H, W) for grey, (n, H, W, C) for colour
    """

    def __init__(self, array: np.ndarray, white: float = 255.0) -> None:
        if array.ndim not in (3, 4):
            raise ValueError(f"array: expected shape (n, H, W) or (n, H, W, C), got {array.shape}")
        self.array = array if array.ndim == 4 else array[..., None]
        self.white = white

    def __len__(self) -> int:
        """How many there are."""
        return len(self.array)

    def __getitem__(self, item: int) -> torch.Tensor:
        """One image, float32 in [0, 1]."""
        pixels = np.ascontiguousarray(self.array[item].transpose(2, 0, 1), dtype=np.float32)
        return torch.from_numpy(pixels / np.float32(self.white))


class FileImages:
    """Image files brought to one size; decoded once and kept in memory if they fit.

    Args:
        paths: The files.
        channels: 1 or 3.
        size: Side in pixels of every item.
        resize: "crop", "squash" or "pad", see `fit_size`.
        background: Grey that shows through transparent pixels.
        memory: Decoded images are kept if all of them take at most so many bytes.
        smallest: Least side, in pixels, that a file may have.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        channels: int,
        size: int,
        resize: str = "crop",
        background: float = 1.0,
        memory: float = 2.0**30,
        smallest: int = 1,
    ) -> None:
        self.paths = list(paths)
        self.channels, self.size, self.resize, self.background = channels, size, resize, background
        self.smallest = smallest
        self._kept: torch.Tensor | None = None
        if len(self.paths) * 4 * channels * size * size <= memory and self.paths:
            self._kept = torch.stack([self._read(path) for path in self.paths])

    def _read(self, path: Path) -> torch.Tensor:
        pixels = read_image(path, channels=self.channels, background=self.background)
        if min(pixels.shape[-2:]) < self.smallest:
            raise ValueError(
                f"{path}: expected an image of at least {self.smallest} x {self.smallest} pixels, "
                f"got {pixels.shape[-1]} x {pixels.shape[-2]} (width x height)"
            )
        return fit_size(pixels, self.size, self.resize)

    def __len__(self) -> int:
        """How many there are."""
        return len(self.paths)

    def __getitem__(self, item: int) -> torch.Tensor:
        """One image, float32 in [0, 1]."""
        return self._kept[item] if self._kept is not None else self._read(self.paths[item])


class ImageDataset(Dataset[ImageBatch]):
    """Some items of a data set, each as a batch-less `ImageBatch`.

    Args:
        images: All images.
        labels: All labels.
        items: Which of them belong here.

    Shapes:
        labels: (n,)
        items: (m,)
    """

    def __init__(self, images: Images, labels: np.ndarray, items: np.ndarray) -> None:
        if len(images) != len(labels):
            raise ValueError(f"labels: expected one for each of {len(images)} images, got {len(labels)}")
        self.images, self.labels, self.items = images, np.asarray(labels, dtype=np.int64), np.asarray(items)

    def __len__(self) -> int:
        """How many items belong here."""
        return len(self.items)

    def __getitem__(self, position: int) -> ImageBatch:
        """The item at this position."""
        item = int(self.items[position])
        return ImageBatch(self.images[item], torch.tensor(self.labels[item]), torch.tensor(item))

    def __getitems__(self, positions: Sequence[int]) -> list[ImageBatch]:
        """The items at these positions."""
        return [self[position] for position in positions]

    def pixels(self) -> np.ndarray:
        """Every image here as one row of numbers, (m, C * H * W), for baselines."""
        return np.stack([self.images[int(item)].numpy().ravel() for item in self.items])

    def targets(self) -> np.ndarray:
        """The labels of the items here, (m,)."""
        return self.labels[self.items]


class PolicyDataset(Dataset[ImageBatch]):
    """The items of another data set with their images changed by an augmentation policy.

    It has no `__getitems__`, so that the training loader asks, and seeds the generators, for each item alone.
    """

    def __init__(self, dataset: ImageDataset, policy: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self.dataset, self.policy = dataset, policy

    def __len__(self) -> int:
        """How many items there are."""
        return len(self.dataset)

    def __getitem__(self, position: int) -> ImageBatch:
        """The item at this position."""
        item = self.dataset[position]
        return item._replace(image=self.policy(item.image))


def stack(items: Sequence[ImageBatch]) -> ImageBatch:
    """Make one batch of single items."""
    return ImageBatch(*(torch.stack(parts) for parts in zip(*items, strict=True)))


def channel_moments(dataset: ImageDataset, most: int = 5000) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of each channel over evenly spaced items.

    Args:
        dataset: The items (the training part: nothing of the others may enter).
        most: How many items to look at, at most.

    Shapes:
        answer: two of (C,)
    """
    chosen = np.unique(np.linspace(0, len(dataset) - 1, min(most, len(dataset))).round().astype(int))
    total = squares = torch.zeros(())
    count = 0
    for position in chosen:
        image = dataset.images[int(dataset.items[position])].to(torch.float64)
        total = total + image.sum((-2, -1))
        squares = squares + image.square().sum((-2, -1))
        count += image.shape[-1] * image.shape[-2]
    mean = total / count
    deviation = (squares / count - mean.square()).clamp_min(0).sqrt()
    return mean.float(), deviation.clamp_min(1e-3).float()
