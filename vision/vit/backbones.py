"""Backbones by name: every model of timm, ours among them."""

import difflib
from typing import Any

import timm
import torch
from torch import nn

from . import cnn, registry  # noqa: F401  (they register our models)


def create_backbone(
    name: str,
    *,
    num_classes: int,
    in_chans: int,
    image_size: int,
    pretrained: bool = False,
    options: dict[str, Any] | None = None,
) -> nn.Module:
    """Make a model for images of one size.

    Args:
        name: timm's name; ours begin with vit_suite_.
        num_classes: Classes of its head.
        in_chans: Channels of the images (timm sums or repeats pretrained first convolutions).
        image_size: Side of the images; models without a fixed size do not need it and are not told.
        pretrained: Load trained weights from where timm knows them, usually over the network.
        options: Further arguments of the model; ours take patch_size None for `fitting_patch`.

    Raises:
        ValueError: There is no such model, it has no such argument, or no trained weights.
        ConnectionError: The trained weights cannot be loaded, most often for want of a network.
    """
    architecture = name.removeprefix("timm/").removeprefix("hf-hub:timm/").split(".")[0]
    if not timm.is_model(architecture):
        near = difflib.get_close_matches(architecture, timm.list_models(), n=3, cutoff=0.5)
        hint = f"; near: {', '.join(near)}" if near else ""
        raise ValueError(f"model_name: expected a model that timm knows (timm.list_models()), got {name!r}{hint}")
    if pretrained and not timm.models.is_model_pretrained(name):
        raise ValueError(f"pretrained: timm knows no trained weights for {name!r}; expected false, got true")
    arguments: dict[str, Any] = {"num_classes": num_classes, "in_chans": in_chans, **(options or {})}
    if name.startswith("vit_suite_") and "patch_size" in arguments and arguments["patch_size"] is None:
        arguments["patch_size"] = fitting_patch(image_size)
    try:
        return _create(name, pretrained, image_size, arguments)
    except TypeError as error:
        raise ValueError(f"model_options: expected options of {name}, got: {error}") from error
    except (OSError, RuntimeError) as error:
        if not pretrained:
            raise
        raise ConnectionError(
            f"pretrained: the trained weights of {name} could not be loaded ({type(error).__name__}: {error}); they "
            "come over the network from huggingface.co; expected a network or a filled cache (HF_HOME), or "
            "pretrained: false"
        ) from error


def _create(name: str, pretrained: bool, image_size: int, arguments: dict[str, Any]) -> nn.Module:
    """Tell the model the size of the images if it takes that."""
    try:
        return timm.create_model(name, pretrained=pretrained, img_size=image_size, **arguments)
    except TypeError as error:
        if "img_size" not in str(error):
            raise
    return timm.create_model(name, pretrained=pretrained, **arguments)


def fitting_patch(image_size: int) -> int:
    """The patch that cuts an image into about 8 x 8 patches.

    The largest power of 2 that divides the side and is at most side / 7, within 2 .. 16: 8 gives 2, 28 and 32 give 4,
    64 gives 8, from 112 on 16.

    Args:
        image_size: Side in pixels.

    Raises:
        ValueError: The side is odd or below 4: no patch divides it.
    """
    fitting = [p for p in (2, 4, 8, 16) if image_size % p == 0 and p <= max(2, image_size / 7)]
    if not fitting or image_size < 4:
        raise ValueError(f"image_size: expected an even side of at least 4 pixels, got {image_size}")
    return fitting[-1]


def pretrained_moments(model: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of each channel that a model's weights were trained with.

    Shapes:
        answer: two of (C,)
    """
    cfg: Any = model.pretrained_cfg
    return torch.tensor(cfg["mean"]), torch.tensor(cfg["std"])
