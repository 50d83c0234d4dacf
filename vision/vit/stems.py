"""Stems: from pixels to one token per patch.

All three have stride p (the patch size) in total, so an H x W image becomes H/p x W/p tokens, row by row:

* `PatchStem`: one p x p convolution of stride p; patches do not overlap (Dosovitskiy et al.).
* `OverlapStem`: one 2p x 2p convolution of stride p, padded by p/2; every pixel is in four patches.
* `ConvolutionStem`: log2(p) 3 x 3 convolutions of stride 2 (p = 4: two), GELU between (Xiao et al.).

References:
    Dosovitskiy et al.: An image is worth 16x16 words, ICLR 2021, section 3.1.
    Xiao et al.: Early convolutions help transformers see better, NeurIPS 2021, section 4.
"""

import math

import torch
from torch import nn

__all__ = ["STEMS", "ConvolutionStem", "OverlapStem", "PatchStem", "Stem"]


class Stem(nn.Module):
    """What every stem shares: the check of its input and the order of the tokens.

    Args:
        patch_size: Total stride p, in pixels.
        in_chans: Channels of the images.

    Shapes:
        input: (B, in_chans, H, W), H and W multiples of p
        output: (B, H/p * W/p, embed_dim)

    Raises:
        ValueError: Another number of channels, or a side that is not a positive multiple of p.
    """

    def __init__(self, patch_size: int, in_chans: int) -> None:
        super().__init__()
        if patch_size < 1:
            raise ValueError(f"patch_size: expected at least 1 pixel, got {patch_size}")
        self.patch_size = patch_size
        self.in_chans = in_chans
        self.proj: nn.Module = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Tokens of the images."""
        check_images(x, self.in_chans, self.patch_size)
        return self.proj(x).flatten(2).transpose(1, 2)

    @staticmethod
    def first_conv() -> str:
        """Name of the convolution that sees the image."""
        raise NotImplementedError("first_conv: expected a stem's own, got none")


class PatchStem(Stem):
    """One linear map of each p x p patch: out = W unfold(x) + b."""

    def __init__(self, patch_size: int, in_chans: int, embed_dim: int) -> None:
        super().__init__(patch_size, in_chans)
        self.proj = nn.Conv2d(in_chans, embed_dim, patch_size, stride=patch_size)

    @staticmethod
    def first_conv() -> str:
        """Name of the convolution that sees the image."""
        return "proj"


class OverlapStem(Stem):
    """One linear map of each 2p x 2p window around a patch; p = 2 is the "patch 4, stride 2" for tiny images."""

    def __init__(self, patch_size: int, in_chans: int, embed_dim: int) -> None:
        super().__init__(patch_size, in_chans)
        if patch_size % 2:
            raise ValueError(f"patch_size: expected an even number for the overlapping stem, got {patch_size}")
        self.proj = nn.Conv2d(in_chans, embed_dim, 2 * patch_size, stride=patch_size, padding=patch_size // 2)

    @staticmethod
    def first_conv() -> str:
        """Name of the convolution that sees the image."""
        return "proj"


class ConvolutionStem(Stem):
    """Stacked 3 x 3 convolutions of stride 2 whose widths double up to embed_dim, GELU between them."""

    def __init__(self, patch_size: int, in_chans: int, embed_dim: int) -> None:
        super().__init__(patch_size, in_chans)
        count = round(math.log2(patch_size))
        if count < 1 or 2**count != patch_size:
            raise ValueError(f"patch_size: expected a power of 2 for the convolutional stem, got {patch_size}")
        widths = [in_chans, *(max(8, embed_dim // 2 ** (count - 1 - k)) for k in range(count - 1)), embed_dim]
        layers: list[nn.Module] = []
        for k in range(count):
            layers.append(nn.Conv2d(widths[k], widths[k + 1], 3, stride=2, padding=1))
            if k < count - 1:
                layers.append(nn.GELU())
        self.proj = nn.Sequential(*layers)

    @staticmethod
    def first_conv() -> str:
        """Name of the convolution that sees the image."""
        return "proj.0"


STEMS = {"patch": PatchStem, "overlap": OverlapStem, "convolution": ConvolutionStem}
"""The stems by the name that `VisionTransformer(stem=...)` takes."""


def check_images(x: torch.Tensor, in_chans: int, patch_size: int) -> None:
    """Refuse images that the stem cannot cut into whole patches."""
    if x.dim() != 4 or x.shape[1] != in_chans:
        raise ValueError(f"images: expected shape (B, {in_chans}, H, W), got {list(x.shape)}")
    height, width = x.shape[2], x.shape[3]
    if height < patch_size or width < patch_size or height % patch_size != 0 or width % patch_size != 0:
        raise ValueError(
            f"images: expected height and width to be positive multiples of the patch size {patch_size}, "
            f"got {height} x {width}"
        )
