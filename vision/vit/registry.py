"""Our vision transformers in timm's registry: `timm.create_model("vit_suite_small_patch16_224", num_classes=10)`.

Importing this module registers them. None comes with pretrained weights; every size of image works, and timm's usual
arguments (num_classes, in_chans, img_size, global_pool, drop_path_rate, features_only, ...) are taken.
"""

from typing import Any

from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import nn

from .model import VisionTransformer
from .stems import STEMS

MEAN = STD = (0.5, 0.5, 0.5)
"""What images are normalised with, as is usual for vision transformers."""

SIZES = {
    "tiny": {"embed_dim": 192, "depth": 12, "num_heads": 3},
    "small": {"embed_dim": 384, "depth": 12, "num_heads": 6},
    "base": {"embed_dim": 768, "depth": 12, "num_heads": 12},
}
"""Features, blocks and heads of the named sizes (Touvron et al., ICML 2021, table 1)."""


def _cfg(img_size: int, stem: str = "patch") -> dict[str, Any]:
    return {
        "num_classes": 1000,
        "input_size": (3, img_size, img_size),
        "pool_size": None,
        "crop_pct": 0.9,
        "interpolation": "bicubic",
        "mean": MEAN,
        "std": STD,
        "first_conv": f"patch_embed.{STEMS[stem].first_conv()}",
        "classifier": "head",
        "license": "mit",
    }


default_cfgs = generate_default_cfgs(
    {
        "vit_suite_tiny_patch16_224": _cfg(224),
        "vit_suite_small_patch16_224": _cfg(224),
        "vit_suite_base_patch16_224": _cfg(224),
        "vit_suite_small_patch8_224": _cfg(224),
        "vit_suite_micro_patch2_8": _cfg(8, "overlap"),
        "vit_suite_micro_patch4_32": _cfg(32, "convolution"),
    }
)


def _create(variant: str, pretrained: bool, img_size: int, options: dict[str, Any], given: dict[str, Any]) -> nn.Module:
    arguments = {"img_size": img_size, **options, **given}
    return build_model_with_cfg(
        VisionTransformer,
        variant,
        pretrained,
        feature_cfg={"out_indices": arguments.pop("out_indices", 3), "feature_cls": "getter"},
        **arguments,
    )


@register_model
def vit_suite_tiny_patch16_224(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ViT-Ti/16: 192 features, 12 blocks, 3 heads."""
    return _create("vit_suite_tiny_patch16_224", pretrained, 224, {"patch_size": 16, **SIZES["tiny"]}, kwargs)


@register_model
def vit_suite_small_patch16_224(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ViT-S/16: 384 features, 12 blocks, 6 heads."""
    return _create("vit_suite_small_patch16_224", pretrained, 224, {"patch_size": 16, **SIZES["small"]}, kwargs)


@register_model
def vit_suite_base_patch16_224(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ViT-B/16: 768 features, 12 blocks, 12 heads."""
    return _create("vit_suite_base_patch16_224", pretrained, 224, {"patch_size": 16, **SIZES["base"]}, kwargs)


@register_model
def vit_suite_small_patch8_224(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ViT-S/8: 384 features, 12 blocks, 6 heads, 784 patches."""
    return _create("vit_suite_small_patch8_224", pretrained, 224, {"patch_size": 8, **SIZES["small"]}, kwargs)


@register_model
def vit_suite_micro_patch2_8(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """For 8 x 8 images: overlapping 4 x 4 windows every 2 pixels, 64 features, 4 blocks, 4 heads."""
    options = {"patch_size": 2, "stem": "overlap", "embed_dim": 64, "depth": 4, "num_heads": 4, "mlp_ratio": 2.0}
    return _create("vit_suite_micro_patch2_8", pretrained, 8, options, kwargs)


@register_model
def vit_suite_micro_patch4_32(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """For images of about 32 x 32: two convolutions of stride 2, 64 features, 4 blocks, 4 heads."""
    options = {"patch_size": 4, "stem": "convolution", "embed_dim": 64, "depth": 4, "num_heads": 4, "mlp_ratio": 2.0}
    return _create("vit_suite_micro_patch4_32", pretrained, 32, options, kwargs)
