r"""A classifier of DNA whose pooling heads are motif detectors.

Both strands s (0 as given, 1 the reverse complement, read in its own direction) pass one convolutional stem and one
encoder, which keep a feature vector z_sl for every base. Each head h then looks for its own best places on both
strands at once,

.. math::
    a_{hsl} = \text{softmax}_{sl}(u_h \cdot z_{sl} / \sqrt{D}), \qquad
    c_{hs} = \sum_l a_{hsl}\, w_h \cdot z_{sl}, \qquad
    \text{logit} = b + \sum_{hs} c_{hs}

so that a logit is the sum of what the heads add, by construction: `MotifDetector.look` answers a and c.

**Symmetry.** The reverse complement exchanges the two strands, and the softmax and the sum run over both: a sequence
and its reverse complement get the same logit up to the rounding of sums taken in another order.

**Padding.** A sequence gets the same logit alone and in a batch of longer ones, up to rounding; what stands in the
padding, NaN too, has no influence.

References:
    Alipanahi et al. 2015, Nature Biotechnology 33:831 (a convolution that detects motifs, both strands). Ilse et al.,
    Attention-based deep multiple instance learning, ICML 2018 (attention as a pooling). Shrikumar et al. 2017,
    bioRxiv 103663 (models symmetric under the reverse complement).
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

import core
from core import masks
from core.layers import Encoder, Rotary

from .strands import both_strands, convolve, turned


class Look(NamedTuple):
    """What the heads of a detector attend to, and what each adds to the logit.

    Strand 0 is the given one, strand 1 its reverse complement. Positions are those of the given strand for both: a head
    that reads the reverse complement at its place l attends to the base L - 1 - l of the given strand.

    Shapes:
        logits: (B,), the bias and the sum of `contribution` over strands and heads
        attention: (B, 2, H, L), for each head summing to 1 over strands and positions; 0 in the padding
        contribution: (B, 2, H)
    """

    logits: Tensor
    attention: Tensor
    contribution: Tensor


class TopSite(NamedTuple):
    """The place that weighs most in each sequence: the peak of the head and strand that add most to the logit.

    Shapes:
        position: (B,) int64, on the given strand
        strand: (B,) int64, 0 as given, 1 the reverse complement
        head: (B,) int64
        weight: (B,), the head's attention at the peak
    """

    position: Tensor
    strand: Tensor
    head: Tensor
    weight: Tensor


def top_site(look: Look) -> TopSite:
    """The peak of the head and strand with the largest contribution, in each sequence.

    Args:
        look: What `MotifDetector.look` answers.
    """
    heads = look.contribution.shape[2]
    best = look.contribution.flatten(1).argmax(1)
    strand, head = best // heads, best % heads
    row = look.attention[torch.arange(len(best), device=best.device), strand, head]
    weight, position = row.max(1)
    return TopSite(position, strand, head, weight)


class MotifDetector(nn.Module):
    """Stem, encoder and pooling heads; see the module for what they compute.

    Args:
        features: D, features per base.
        filters: Of the stem's convolution.
        width: Of the stem's convolution in base pairs, odd.
        depth: Encoder blocks; 0 leaves the stem alone.
        encoder_heads: Self-attention heads of a block, with rotary positions.
        head_dim: Features of each of them, even.
        mlp_ratio: Hidden units of a block's MLP per feature.
        heads: H, pooling heads.
        dropout: Probability on the features that the stem hands to the encoder.
        layer_scale: Initial factor on the encoder's branches; None for none. A small one (0.1) lets the heads of a
            deeper encoder learn on the stem first.
        backend: Passed to `core.attend`.

    Shapes:
        x: (B, L, 4) one-hot rows or probabilities of A, C, G, T
        lengths: (B,) int64
        answer: (B,)

    Raises:
        ValueError: A size does not fit.
    """

    def __init__(
        self,
        features: int = 48,
        filters: int = 128,
        width: int = 13,
        depth: int = 1,
        encoder_heads: int = 1,
        head_dim: int = 16,
        mlp_ratio: float = 2.0,
        heads: int = 6,
        dropout: float = 0.0,
        layer_scale: float | None = None,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        if width < 1 or width % 2 == 0:
            raise ValueError(f"width: expected a positive odd number of base pairs, got {width}")
        for name, value in (("features", features), ("filters", filters), ("heads", heads)):
            if value < 1:
                raise ValueError(f"{name}: expected at least 1, got {value}")
        self.features, self.heads, self.width, self.backend = features, heads, width, backend
        self.convolution = nn.Conv1d(4, filters, width, padding=width // 2)
        self.projection = nn.Linear(filters, features)
        self.norm = nn.LayerNorm(features)
        self.dropout = nn.Dropout(dropout)
        self.encoder = Encoder(
            features,
            depth,
            encoder_heads,
            mlp_ratio=mlp_ratio,
            layer_scale=layer_scale,
            head_dim=head_dim,
            rotary=Rotary(head_dim),
            backend=backend,
        )
        self.queries = nn.Parameter(torch.randn(heads, features))
        self.values = nn.Parameter(torch.randn(heads, features) * features**-0.5)
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Logits of sequences.

        Args:
            x: One-hot rows; those behind a sequence's length are not looked at.
            lengths: Bases of each item; None where none is padded.
        """
        z, keep = self.encode(x, lengths)
        query, key, mask = self._pooling(z, keep)
        pooled = core.attend(query, key, key, mask=mask, backend=self.backend)[:, 0]
        return self.bias + (pooled * self.values).sum((1, 2))

    def look(self, x: Tensor, lengths: Tensor | None = None) -> Look:
        """Logits with the attention and the contribution of every head.

        Args:
            x: See `forward`.
            lengths: See `forward`.
        """
        z, keep = self.encode(x, lengths)
        query, key, mask = self._pooling(z, keep)
        answer = core.attend(query, key, key, mask=mask, backend=self.backend, need=("weights",))
        assert answer.weights is not None
        attention = answer.weights[:, 0].unflatten(2, (2, x.shape[1])).transpose(1, 2)  # each strand its own way
        value = torch.einsum("bsld,hd->bshl", z.unflatten(1, (2, x.shape[1])), self.values)
        contribution = (attention * value).sum(3)
        attention = torch.stack([attention[:, 0], turned(attention[:, 1], lengths)], dim=1)
        return Look(self.bias + contribution.sum((1, 2)), attention, contribution)

    def encode(self, x: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Features of every base of both strands, and which of them are no padding (None: all).

        Args:
            x: See `forward`.
            lengths: See `forward`.

        Shapes:
            answer: (B, 2 L, D), the given strand and then its reverse complement in its own direction; (B, 2 L) bool
        """
        strands, keep = both_strands(x, lengths)
        hidden = convolve(strands, self.convolution)
        z = self.dropout(self.norm(self.projection(nn.functional.relu(hidden))))
        z = self.encoder(z, mask=None if keep is None else masks.Padding(keep))
        joined = z.reshape(len(x), 2 * x.shape[1], self.features)
        return joined, None if keep is None else keep.reshape(len(x), 2 * x.shape[1])

    def _pooling(self, z: Tensor, keep: Tensor | None) -> tuple[Tensor, Tensor, masks.Padding | None]:
        """Queries, keys (which are the values, too) and mask of the heads' attention to the features."""
        query = self.queries[None, None].expand(len(z), 1, -1, -1)  # the heads are the queries of one key head
        return query, z[:, None], None if keep is None else masks.Padding(keep)

    def no_weight_decay(self) -> set[str]:
        """The heads' queries: their length is how sharply they attend."""
        return {"queries"}
