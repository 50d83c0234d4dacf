r"""A small convolutional network of the vision transformer's outline, to compare with.

.. math:: z_0 = \text{stem}(x), \qquad z_l = z_{l-1} + W_2\, \text{GELU}(W_1 * \text{norm}(z_{l-1})), \qquad
          y = W\, \text{mean}(\text{norm}(z_L)) + b

with W_1 a 3 x 3 convolution, W_2 a 1 x 1 convolution: the same stem, width and depth, but a block sees one step around.
"""

from typing import Any

import torch
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import nn

from .stems import STEMS

__all__ = ["ConvolutionalNetwork"]


class ConvolutionBlock(nn.Module):
    """One residual step: norm over channels, 3 x 3 convolution, GELU, 1 x 1 convolution.

    Shapes:
        x: (B, D, h, w); answer: the same
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, features)
        self.spatial = nn.Conv2d(features, features, 3, padding=1)
        self.activation = nn.GELU()
        self.point = nn.Conv2d(features, features, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the block."""
        return x + self.point(self.activation(self.spatial(self.norm(x))))


class ConvolutionalNetwork(nn.Module):
    """A stem, `depth` residual blocks of one width, the mean over positions, a linear head.

    Args:
        img_size: Unused: any size whose sides are multiples of the stem's stride.
        patch_size: Total stride of the stem.
        in_chans: Channels.
        num_classes: Classes.
        embed_dim: Features.
        depth: Blocks.
        stem: As in `VisionTransformer`.

    Shapes:
        images: (B, in_chans, H, W)
        answer: (B, num_classes)
    """

    def __init__(
        self,
        img_size: int = 32,
        patch_size: int = 4,
        in_chans: int = 3,
        num_classes: int = 1000,
        embed_dim: int = 64,
        depth: int = 4,
        stem: str = "convolution",
    ) -> None:
        super().__init__()
        self.num_classes, self.in_chans, self.num_features, self.patch_size = (
            num_classes,
            in_chans,
            embed_dim,
            patch_size,
        )
        self.patch_embed = STEMS[stem](patch_size, in_chans, embed_dim)
        self.blocks = nn.Sequential(*(ConvolutionBlock(embed_dim) for _ in range(depth)))
        self.norm = nn.GroupNorm(1, embed_dim)
        self.head = nn.Linear(embed_dim, num_classes) if num_classes > 0 else nn.Identity()

    def forward_intermediates(self, x: torch.Tensor, **_: Any) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """The normalised last map, and the maps after each block, (B, D, h, w)."""
        grid = x.shape[-2] // self.patch_size, x.shape[-1] // self.patch_size
        x = self.patch_embed(x).transpose(1, 2).unflatten(2, grid)
        maps = []
        for block in self.blocks:
            x = block(x)
            maps.append(x)
        return self.norm(x), maps

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        """The normalised last map, (B, D, h, w)."""
        return self.forward_intermediates(x)[0]

    def forward_head(self, x: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        """Logits of the last map; with `pre_logits` what the head would see."""
        x = x.mean((-2, -1))
        return x if pre_logits else self.head(x)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of the images."""
        return self.forward_head(self.forward_features(x))


default_cfgs = generate_default_cfgs(
    {
        "cnn_suite_micro": {
            "input_size": (3, 32, 32),
            "mean": (0.5, 0.5, 0.5),
            "std": (0.5, 0.5, 0.5),
            "first_conv": "patch_embed.proj.0",
            "classifier": "head",
        }
    }
)


@register_model
def cnn_suite_micro(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """64 features, 4 blocks; the outline of vit_suite_micro."""
    return build_model_with_cfg(ConvolutionalNetwork, "cnn_suite_micro", pretrained, **kwargs)
