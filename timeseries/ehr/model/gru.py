r"""A gated recurrent unit over tokens: what attention over events is compared with.

.. math:: h_t = \text{GRU}(x_t, h_{t-1}), \qquad y_t = W h_t

It reads the tokens in the order of their times, the query last, so that row t knows what came up to t.

References:
    Cho et al.: Learning phrase representations using RNN encoder-decoder, EMNLP 2014, section 2.3.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


class GRUEncoder(nn.Module):
    """GRU layers in place of attention blocks.

    Args:
        dim: Features of tokens, in and out.
        depth: Layers.
        hidden: Units of a layer.
        dropout: Between layers and on the output.

    Shapes:
        x: (B, L, dim); keep: (B, L), True where there is a token; out: (B, L, dim), 0 where there is none.
    """

    def __init__(self, dim: int, depth: int, hidden: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.recurrent = nn.GRU(dim, hidden, depth, batch_first=True, dropout=dropout if depth > 1 else 0.0)
        self.project = nn.Linear(hidden, dim)
        self.norm = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, keep: Tensor) -> Tensor:
        """Read the tokens; gaps in `keep` are skipped. Every item has a token."""
        order = torch.argsort((~keep).to(torch.uint8), dim=1, stable=True)
        place = order[..., None].expand_as(x)
        packed = pack_padded_sequence(x.gather(1, place), keep.sum(1).cpu(), batch_first=True, enforce_sorted=False)
        states, _ = pad_packed_sequence(self.recurrent(packed)[0], batch_first=True, total_length=x.shape[1])
        out = self.norm(self.project(self.dropout(states)))
        return torch.zeros_like(x).scatter(1, place, out).masked_fill(~keep[..., None], 0)


def width_for(parameters: int, dim: int, depth: int) -> int:
    """The hidden units with which `GRUEncoder` has about as many parameters.

        parameters(h) = 3 h (dim + h + 2) + (depth - 1) 3 h (2 h + 2) + (h + 1) dim + 2 dim

    Args:
        parameters: To be matched.
        dim: Features of tokens.
        depth: Layers.
    """
    square = 3 + 6 * (depth - 1)
    linear = 3 * (dim + 2) + 6 * (depth - 1) + dim
    constant = 3 * dim - parameters
    return max(1, round((-linear + math.sqrt(max(0.0, linear**2 - 4 * square * constant))) / (2 * square)))
