r"""A convolutional network of the detector's outline, to compare with: the same stem, both strands, no attention.

.. math:: z_0 = \text{norm}(W\, \text{ReLU}(K * x)), \qquad
          z_l = z_{l-1} + W_l\, \text{GELU}(K_l * \text{norm}(z_{l-1})), \qquad
          \text{logit} = b + w \cdot \max_{s, l} \text{norm}(z_{sl})

with the maximum over both strands and all bases, feature by feature. With the default sizes its number of parameters
differs from that of the default `MotifDetector` by less than 1%.
"""

import torch
from torch import Tensor, nn

from core.layers import zero_rows

from .strands import both_strands, convolve


class MotifCNN(nn.Module):
    """Stem, residual convolutions, the maximum over both strands, a linear head.

    Padding is exact and the reverse complement has the same logit, as in `MotifDetector`.

    Args:
        features: Features per base.
        filters: Of the stem's convolution.
        width: Of the stem's convolution in base pairs, odd.
        depth: Residual blocks.
        block_width: Of their convolutions in base pairs, odd.
        hidden: Features inside a block.
        dropout: Probability on the features that the stem hands to the blocks.

    Shapes:
        x: (B, L, 4) one-hot rows or probabilities of A, C, G, T
        lengths: (B,) int64
        answer: (B,)

    Raises:
        ValueError: A width is even.
    """

    def __init__(
        self,
        features: int = 48,
        filters: int = 128,
        width: int = 13,
        depth: int = 2,
        block_width: int = 5,
        hidden: int = 22,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        for name, value in (("width", width), ("block_width", block_width)):
            if value < 1 or value % 2 == 0:
                raise ValueError(f"{name}: expected a positive odd number of base pairs, got {value}")
        self.convolution = nn.Conv1d(4, filters, width, padding=width // 2)
        self.projection = nn.Linear(filters, features)
        self.stem_norm = nn.LayerNorm(features)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(ConvolutionBlock(features, hidden, block_width) for _ in range(depth))
        self.norm = nn.LayerNorm(features)
        self.head = nn.Linear(features, 1)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Logits of sequences.

        Args:
            x: One-hot rows; those behind a sequence's length are not looked at.
            lengths: Bases of each item; None where none is padded.
        """
        strands, keep = both_strands(x, lengths)
        hidden = convolve(strands, self.convolution)
        z = self.dropout(self.stem_norm(self.projection(nn.functional.relu(hidden))))
        for block in self.blocks:
            z = block(z, keep)
        z = self.norm(z)
        if keep is not None:
            z = z.masked_fill(~keep[:, :, None], -torch.inf)
        logits: Tensor = self.head(z.unflatten(0, (len(x), 2)).amax((1, 2))).squeeze(1)
        return logits


class ConvolutionBlock(nn.Module):
    """One residual step: norm, convolution over bases, GELU, a linear map of each base.

    Shapes:
        x: (B, L, D); keep: (B, L) bool or None; answer: (B, L, D)
    """

    def __init__(self, features: int, hidden: int, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(features)
        self.convolution = nn.Conv1d(features, hidden, width, padding=width // 2)
        self.contract = nn.Linear(hidden, features)

    def forward(self, x: Tensor, keep: Tensor | None) -> Tensor:
        """Apply the block."""
        y = zero_rows(self.norm(x), keep)
        added: Tensor = self.contract(nn.functional.gelu(convolve(y, self.convolution)))
        return x + added
