"""Whether tensors that were read are as large in the file as they say: a few bytes can claim any size by stride 0."""

from collections.abc import Iterable

import torch
from torch import Tensor

FREE = 1 << 20
"""Bytes that a tensor may claim beyond what is stored of it: small ones are often stored once and shown many times."""


def check_sizes(tensors: Iterable[tuple[str, Tensor]], path: object) -> None:
    """Refuse tensors that claim many more bytes than the file holds of them.

    Args:
        tensors: By their names.
        path: Of the file, for messages.

    Raises:
        ValueError: A tensor claims more; it is named, with both sizes.
    """
    for name, tensor in tensors:
        if tensor.layout != torch.strided or tensor.is_meta:
            continue
        claimed, stored = tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes()
        if claimed > stored + FREE:
            raise ValueError(
                f"{path}: {name}: expected {claimed:,} bytes, as its shape says, got {stored:,} in the file"
            )
