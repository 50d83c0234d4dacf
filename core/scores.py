"""How alike a query and a key are, before scale, bias and temperature."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor


@dataclass(frozen=True)
class Dot:
    """score(q, k) = q . k. The scale defaults to D ** -0.5.

    References:
        Vaswani et al.: Attention Is All You Need. NeurIPS 2017, section 3.2.1.
    """

    has_offset: ClassVar[bool] = False

    def default_scale(self, D: int) -> float:
        """Answer the scale used where none is given, for head size D."""
        return 1.0 / math.sqrt(D)

    def prepare(self, x: Tensor) -> Tensor:
        """Answer the features whose inner product is the score (up to `key_bias` and `query_bias`)."""
        return x

    def offset(self, x: Tensor) -> Tensor | None:
        """Answer the part of the score that belongs to one side alone, (...,); None where it is 0."""
        return None


@dataclass(frozen=True)
class Cosine:
    """score(q, k) = (q . k) / (max(|q|, eps) max(|k|, eps)). The scale defaults to 1; 10 to 20 is usual.

    Args:
        eps: Norm below which a vector counts as zero; its score falls to 0 and its gradient stays bounded by 1 / eps.

    References:
        Henry et al.: Query-Key Normalization for Transformers. Findings of EMNLP 2020.
    """

    eps: float = 1e-6

    has_offset: ClassVar[bool] = False

    def default_scale(self, D: int) -> float:
        """Answer the scale used where none is given, for head size D."""
        return 1.0

    def prepare(self, x: Tensor) -> Tensor:
        """Answer x over its norm."""
        return torch.nn.functional.normalize(x, dim=-1, eps=self.eps)

    def offset(self, x: Tensor) -> Tensor | None:
        """Answer the part of the score that belongs to one side alone, (...,); None where it is 0."""
        return None


@dataclass(frozen=True)
class Gaussian:
    """score(q, k) = -|q - k|^2 / 2. The scale defaults to 1.

    With temperature h^2 the weights are those of Nadaraya-Watson regression with a Gaussian kernel of bandwidth h. With
    keys of one norm they equal those of Dot with scale 1.

    References:
        Tsai et al.: Transformer Dissection. EMNLP 2019, section 3.
    """

    has_offset: ClassVar[bool] = True

    def default_scale(self, D: int) -> float:
        """Answer the scale used where none is given, for head size D."""
        return 1.0

    def prepare(self, x: Tensor) -> Tensor:
        """Answer x itself: -|q - k|^2 / 2 = q . k - |q|^2 / 2 - |k|^2 / 2."""
        return x

    def offset(self, x: Tensor) -> Tensor | None:
        """Answer -|x|^2 / 2, the part of the score that belongs to one side alone, (...,)."""
        return -0.5 * x.square().sum(dim=-1)


Score = Dot | Cosine | Gaussian
