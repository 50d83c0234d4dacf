"""Augmentation: mild geometry on whole batches, and timm's and torchvision's policies by name.

The geometry is a pure function of (seed, epoch, item), see `counter.py`. A policy draws from the global generators,
which the training loader seeds by (seed, epoch, item) around each sample.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from .counter import counter_uniform


@dataclass(frozen=True)
class RandomAffine:
    r"""A random rotation, scaling, shear, shift and flip of each image, with one bilinear interpolation.

    .. math:: x_\text{in} = F\, R(\theta)\, S(\phi)\, x_\text{out} / s + t

    with every parameter uniform within plus or minus its bound, F the flips, coordinates relative to the centre.

    Args:
        rotation: Largest angle, degrees.
        scale: Largest relative change of size: s in [1 - scale, 1 + scale].
        translation: Largest shift, as a fraction of the image's side.
        shear: Largest shear angle, degrees.
        horizontal_flip: Probability of a left-right flip.
        vertical_flip: Probability of a top-bottom flip.
        fill: What lies outside: "zeros" (black), "border" (the nearest pixel) or "reflection".
    """

    rotation: float = 0.0
    scale: float = 0.0
    translation: float = 0.0
    shear: float = 0.0
    horizontal_flip: float = 0.0
    vertical_flip: float = 0.0
    fill: str = "zeros"

    def __post_init__(self) -> None:
        """Check the bounds."""
        if not 0 <= self.scale < 1:
            raise ValueError(f"scale: expected a bound in [0, 1), got {self.scale}")
        for name in ("rotation", "translation", "shear"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: expected a bound of at least 0, got {getattr(self, name)}")
        for name in ("horizontal_flip", "vertical_flip"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: expected a probability, got {getattr(self, name)}")
        if self.fill not in ("zeros", "border", "reflection"):
            raise ValueError(f"fill: expected 'zeros', 'border' or 'reflection', got {self.fill!r}")

    @property
    def is_identity(self) -> bool:
        """Whether no parameter can change an image."""
        bounds = (self.rotation, self.scale, self.translation, self.shear, self.horizontal_flip, self.vertical_flip)
        return not any(bounds)

    def __call__(self, images: torch.Tensor, index: torch.Tensor, *, seed: int, epoch: int) -> torch.Tensor:
        """Transform a batch.

        Args:
            images: The batch.
            index: Item numbers in the data set.
            seed: Seed of the run.
            epoch: Epoch number.

        Shapes:
            images: (B, C, H, W)
            index: (B,)
            answer: (B, C, H, W)
        """
        if self.is_identity or len(images) == 0:
            return images
        theta = self.matrices(index, seed=seed, epoch=epoch, aspect=images.shape[-2] / images.shape[-1])
        grid = F.affine_grid(theta.to(images), list(images.shape), align_corners=False)
        return F.grid_sample(images, grid, mode="bilinear", padding_mode=self.fill, align_corners=False)

    def matrices(self, index: torch.Tensor, *, seed: int, epoch: int, aspect: float = 1.0) -> torch.Tensor:
        """The maps from output to input coordinates that `affine_grid` takes, (B, 2, 3)."""
        u = counter_uniform(seed, epoch, index, 7)
        signed = 2 * u - 1
        angle = signed[:, 0] * math.radians(self.rotation)
        inverse_scale = 1 / (1 + signed[:, 1] * self.scale)
        shift_x, shift_y = (2 * self.translation * signed[:, k] for k in (2, 3))
        shear = torch.tan(signed[:, 4] * math.radians(self.shear))
        flip_x = torch.where(u[:, 5] < self.horizontal_flip, -1.0, 1.0)
        flip_y = torch.where(u[:, 6] < self.vertical_flip, -1.0, 1.0)
        cos, sin = torch.cos(angle) * inverse_scale, torch.sin(angle) * inverse_scale
        # Coordinates run from -1 to 1 along both sides: a rotation of a H x W picture needs the aspect H / W.
        top = torch.stack([flip_x * cos, flip_x * (shear * cos - sin) * aspect, shift_x], dim=1)
        bottom = torch.stack([flip_y * sin / aspect, flip_y * (shear * sin + cos), shift_y], dim=1)
        return torch.stack([top, bottom], dim=1)


def policy_by_name(name: str, image_size: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """An augmentation policy of timm or torchvision, on float images (C, H, W) in [0, 1].

    Args:
        name: timm's configuration string ("rand-m7-n2-mstd0.5", "augmix-m3-w3", "original", "3a", ...) or the name of a
            class of `torchvision.transforms.v2` that needs no arguments ("RandAugment", "TrivialAugmentWide",
            "AutoAugment", "AugMix", ...).
        image_size: Side of the images in pixels (timm scales its shifts by it).

    Returns:
        The policy; it draws from Python's, numpy's and torch's global generators. Images pass through 8 bits, as both
        libraries demand.

    Raises:
        ValueError: Neither library knows the name.
    """
    from timm.data.auto_augment import augment_and_mix_transform, auto_augment_transform, rand_augment_transform
    from torchvision.transforms import functional as tvf
    from torchvision.transforms import v2

    hints = {"translate_const": int(image_size * 0.45), "img_mean": (128, 128, 128)}
    if name.startswith("rand-"):
        policy = rand_augment_transform(name, hints)
    elif name.startswith("augmix-"):
        policy = augment_and_mix_transform(name, hints)
    elif name.split("-")[0] in ("original", "originalr", "v0", "v0r", "3a"):
        policy = auto_augment_transform(name, hints)
    elif isinstance(getattr(v2, name, None), type):
        try:
            policy = getattr(v2, name)()
        except TypeError as error:
            raise ValueError(f"policy: expected one without arguments, got torchvision's {name}: {error}") from error
    else:
        raise ValueError(
            f"policy: expected a timm string such as 'rand-m7-n2-mstd0.5' or a class of torchvision.transforms.v2 such "
            f"as 'TrivialAugmentWide', got {name!r}"
        )

    def apply(image: torch.Tensor) -> torch.Tensor:
        grey = image.shape[0] == 1
        picture = tvf.to_pil_image((image.expand(3, -1, -1) if grey else image).mul(255).round().to(torch.uint8))
        answer = tvf.pil_to_tensor(policy(picture)).to(torch.float32) / 255
        return answer.mean(0, keepdim=True) if grey else answer

    return apply
