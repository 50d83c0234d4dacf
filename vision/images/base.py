"""What all image data modules share: splits, augmentation, the numbers that a model needs to know."""

from abc import ABC
from typing import Any, NamedTuple

import numpy as np
import torch

from core.training import DrawnDataModule, Split, hash_arrays

from .augment import RandomAffine, policy_by_name
from .datasets import ArrayImages, ImageBatch, ImageDataset, Images, PolicyDataset, channel_moments, stack
from .splits import stratified_split


class LabelledImages(NamedTuple):
    """A whole data set.

    Shapes:
        images: n images of one shape (C, H, W)
        labels: (n,), 0 .. len(classes) - 1
        split: given by the data's authors, or None
        names: n identifiers, or None: the item's number
    """

    images: Images
    labels: np.ndarray
    classes: tuple[str, ...]
    split: Split | None = None
    names: list[str] | None = None


class ImageDataModule(DrawnDataModule[LabelledImages], ABC):
    """Images with class labels, split by class, augmented by batch.

    The split is stratified and depends on the labels and `split_seed` alone: with `fold` it is k-fold, without it
    hold-out (see `splits`); a data set whose authors give a split keeps it. Images come as float32 in [0, 1]; the task
    normalises them with `mean` and `std`, which are of the training part.

    Args:
        fold: Number of the test fold; None for a hold-out split.
        folds: How many folds there are.
        rotation: Augmentation: largest angle, degrees.
        scale: Augmentation: largest relative change of size.
        translation: Augmentation: largest shift, as a fraction of the side.
        shear: Augmentation: largest shear, degrees.
        horizontal_flip: Augmentation: probability of a left-right flip.
        vertical_flip: Augmentation: probability of a top-bottom flip.
        fill: What the augmentation shows outside the image: "zeros", "border" or "reflection".
        policy: Augmentation by name on each image, of timm ("rand-m7-n2-mstd0.5") or torchvision
            ("TrivialAugmentWide"); None for none.
        options: Of `core.training.DrawnDataModule`: fractions and seed of the split, batches.
    """

    val_set: ImageDataset | None
    test_set: ImageDataset | None

    def __init__(
        self,
        fold: int | None = None,
        folds: int = 5,
        rotation: float = 0.0,
        scale: float = 0.0,
        translation: float = 0.0,
        shear: float = 0.0,
        horizontal_flip: float = 0.0,
        vertical_flip: float = 0.0,
        fill: str = "zeros",
        policy: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.fold, self.folds = fold, folds
        self.affine = RandomAffine(rotation, scale, translation, shear, horizontal_flip, vertical_flip, fill)
        self.policy = policy
        self.collate = stack
        self.plain_train_set: ImageDataset | None = None
        self.mean: torch.Tensor | None = None
        self.std: torch.Tensor | None = None

    def arrange(self, loaded: LabelledImages, stage: str | None) -> None:
        """Split by class, unless the authors did, and measure the training part."""
        labels = np.asarray(loaded.labels)
        if len(labels) == 0:
            raise ValueError(f"{type(self).__name__}: expected labelled images, got none")
        if labels.min() < 0 or labels.max() >= len(loaded.classes):
            raise ValueError(
                f"{type(self).__name__}: expected labels in 0 .. {len(loaded.classes) - 1}, "
                f"got {labels.min()} .. {labels.max()}"
            )
        split = loaded.split
        if split is None:
            split = stratified_split(
                labels,
                val=self.val_fraction,
                test=self.test_fraction,
                fold=self.fold,
                folds=self.folds,
                seed=self.split_seed,
            )
        self.split = split
        train, val, test = (ImageDataset(loaded.images, labels, items) for items in split)
        self.plain_train_set, self.train_set = train, train
        self.val_set, self.test_set = val if len(val) else None, test if len(test) else None
        self.mean, self.std = channel_moments(train)
        if self.policy is not None:
            self.train_set = PolicyDataset(train, policy_by_name(self.policy, self.image_size))

    def fingerprint(self) -> str:
        """A hash of pixels and labels, where the images are in memory; others say how."""
        whole = self.ready()
        if not isinstance(whole.images, ArrayImages):
            raise NotImplementedError(f"{type(self).__name__}.fingerprint: expected a hash of the content, got none")
        return hash_arrays(whole.images.array, whole.labels.astype(np.int64))

    @property
    def whole(self) -> LabelledImages | None:
        """The whole data set; None before `setup`, and where there are only images to predict."""
        return self.loaded

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes."""
        return self.ready().classes

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of every image."""
        channels, height, width = self.ready().images[0].shape
        return channels, height, width

    @property
    def image_size(self) -> int:
        """Side of every image, in pixels."""
        _, height, width = self.shape
        if height != width:
            raise ValueError(f"{type(self).__name__}: expected square images, got {height} x {width}")
        return height

    def names_of(self, index: torch.Tensor) -> list[str]:
        """Identifiers of items, by their numbers."""
        names = self.ready().names
        return [str(int(item)) if names is None else names[int(item)] for item in index]

    def split_words(self) -> str:
        """How the parts were drawn."""
        if self.ready().split is not None:
            return "the split of the data's authors"
        how = "hold-out" if self.fold is None else f"fold {self.fold} of {self.folds}, shuffled"
        return f"stratified, {how}, seed {self.split_seed}"

    def on_after_batch_transfer(self, batch: ImageBatch, dataloader_idx: int) -> ImageBatch:
        """Augment the geometry of a training batch."""
        if self.trainer is None or not self.trainer.training:
            return batch
        image = self.affine(batch.image, batch.index, seed=self.seed, epoch=self.trainer.current_epoch)
        return batch._replace(image=image)

    def refuse_fold(self, owner: str) -> None:
        """Refuse k-fold for a data set with a split of its authors."""
        if self.fold is not None:
            raise ValueError(f"fold: {owner} is split by its authors, so expected none, got {self.fold}")
