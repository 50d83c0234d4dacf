r"""Which pixels a unit in the middle depends on, and how much: the effective receptive field.

.. math::
    R(p) = \operatorname{E}_x \sum_c \left| \frac{\partial}{\partial x_{c,p}} \sum_k s_k\, y_k(\text{centre}) \right|

with y the features of one layer at the middle position and s random signs, over which R is averaged too (without them
features that cancel in the sum would hide each other). The theoretical receptive field is where R can differ from 0;
the effective one is where it does.

References:
    Luo, Li, Urtasun, Zemel: Understanding the effective receptive field in deep convolutional neural networks,
    NeurIPS 2016, section 2 and section 3.1 (our random signs stand for their one unit).
"""

from collections.abc import Callable, Sequence

import torch

Features = Callable[[torch.Tensor], Sequence[torch.Tensor]]


def effective_receptive_field(
    features: Features, images: torch.Tensor, *, draws: int = 8, seed: int = 0, batch_size: int = 64
) -> torch.Tensor:
    """R for every layer, scaled so that each sums to 1.

    Args:
        features: From images (B, C, H, W) to the maps of each layer, (B, D_l, h_l, w_l).
        images: What to average over.
        draws: How many vectors of signs to average over as well.
        seed: Of the signs.
        batch_size: Images at a time.

    Shapes:
        images: (n, C, H, W)
        answer: (layers, H, W)

    Raises:
        ValueError: A layer's middle depends on no pixel.
    """
    totals: list[torch.Tensor] = []
    for batch in images.split(batch_size):
        pixels = batch.detach().clone().requires_grad_()
        maps = features(pixels)
        for layer, values in enumerate(maps):
            middle = values[:, :, values.shape[2] // 2, values.shape[3] // 2]
            generator = torch.Generator().manual_seed(seed)
            signs = torch.randint(0, 2, (draws, middle.shape[1]), generator=generator).to(middle) * 2 - 1
            share = torch.zeros(images.shape[-2:], dtype=images.dtype)
            for one in signs:
                (gradient,) = torch.autograd.grad((middle * one).sum(), pixels, retain_graph=True)
                share += gradient.abs().sum(dim=(0, 1))
            if layer == len(totals):
                totals.append(share)
            else:
                totals[layer] += share
    fields = torch.stack(totals)
    sums = fields.sum((1, 2), keepdim=True)
    if not (sums > 0).all():
        raise ValueError("features: expected every layer's middle to depend on some pixel, got a gradient of 0")
    return fields / sums


def spread(field: torch.Tensor) -> torch.Tensor:
    r"""Root mean square distance from the field's own centre of mass, in pixels.

    .. math:: \sqrt{\textstyle\sum_p R(p)\, \lVert p - \bar p \rVert^2}, \qquad \bar p = \textstyle\sum_p R(p)\, p

    Args:
        field: Non-negative, sums to 1.

    Shapes:
        field: (..., H, W)
        answer: (...)
    """
    rows = torch.arange(field.shape[-2], dtype=field.dtype)[:, None]
    columns = torch.arange(field.shape[-1], dtype=field.dtype)[None, :]
    variance = torch.zeros(field.shape[:-2], dtype=field.dtype)
    for position in (rows, columns):
        mean = (field * position).sum((-2, -1), keepdim=True)
        variance = variance + (field * (position - mean).square()).sum((-2, -1))
    return variance.sqrt()
