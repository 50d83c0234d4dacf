"""Both strands of a batch, and a convolution along them, for models that treat them alike."""

import torch
from torch import Tensor, nn

from core.layers import zero_rows

from ..sequences.alphabet import reverse_complement_one_hot


def both_strands(x: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
    """Each sequence and its reverse complement, one after the other, padding 0.

    Args:
        x: One-hot rows; those behind a sequence's length are not looked at, NaN neither.
        lengths: Bases of each item; None where none is padded.

    Shapes:
        x: (B, L, 4)
        lengths: (B,) int64
        answer: (2 B, L, 4), items 2 b and 2 b + 1 the strands of item b; (2 B, L) bool, True at bases, or None

    Raises:
        ValueError: The shapes do not fit.
    """
    if x.ndim != 3 or x.shape[2] != 4:
        raise ValueError(f"x: expected (B, L, 4), got {tuple(x.shape)}")
    keep = None
    if lengths is not None:
        if lengths.shape != x.shape[:1]:
            raise ValueError(f"lengths: expected ({len(x)},), got {tuple(lengths.shape)}")
        lengths = lengths.to(x.device)
        keep = torch.arange(x.shape[1], device=x.device) < lengths[:, None]
        x = zero_rows(x, keep)
    strands = torch.stack([x, reverse_complement_one_hot(x, lengths)], dim=1).flatten(0, 1)
    return strands, None if keep is None else keep.repeat_interleave(2, dim=0)


def turned(values: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Values per base of one strand at the bases of the other: the places before the padding in reverse.

    Args:
        values: Numbers per base, 0 in the padding.
        lengths: Bases of each item; None where none is padded.

    Shapes:
        values: (B, .., L)
    """
    if lengths is None:
        return values.flip(-1)
    place = torch.arange(values.shape[-1], device=values.device)
    other = lengths.to(values.device)[:, None] - 1 - place
    other = torch.where(other >= 0, other, place)
    return values.gather(-1, other.reshape(len(values), *[1] * (values.ndim - 2), -1).expand_as(values))


def convolve(x: Tensor, convolution: nn.Conv1d) -> Tensor:
    """A convolution over bases that keeps the length, by one matrix product with all windows.

    The same numbers as `convolution` on the transposed input, up to rounding; on a CPU and with few input channels in
    about half its time.

    Args:
        x: Features per base.
        convolution: Of stride 1 and an odd width, without groups or dilation; its padding is not asked.

    Shapes:
        x: (B, L, C); answer: (B, L, convolution.out_channels)
    """
    (width,) = convolution.kernel_size
    windows = nn.functional.pad(x, (0, 0, width // 2, width // 2)).unfold(1, width, 1).flatten(2)
    return nn.functional.linear(windows, convolution.weight.flatten(1), convolution.bias)
