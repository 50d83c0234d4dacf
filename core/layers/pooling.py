"""From a sequence to one vector: class token, mean, attention. Padding is left out exactly."""

from collections.abc import Collection

import torch
from torch import Tensor, nn

from ..engine import AttentionOutput
from ..masks import Mask, Padding
from ..scores import Score
from .attention import MultiheadAttention
from .padding import valid_rows, zero_rows


class ClassTokenPooling(nn.Module):
    """Take one row: out_b = x_b,index; 0 where that row is padding.

    Args:
        index: the row; negative ones count from the end of the padded sequence.

    Shapes:
        x: (B, L, dim); out: (B, dim).

    Raises:
        ValueError: x has no such row, or mask is more than padding.
    """

    def __init__(self, index: int = 0) -> None:
        super().__init__()
        self.index = index

    def forward(self, x: Tensor, *, mask: Mask | None = None) -> Tensor:
        """Pool x; mask is a `masks.Padding` or None."""
        keep = valid_rows(mask, x)
        if not -x.shape[1] <= self.index < x.shape[1]:
            raise ValueError(f"x: expected a sequence with the row {self.index}, got {tuple(x.shape)}")
        return zero_rows(x[:, self.index], None if keep is None else keep[:, self.index])

    def extra_repr(self) -> str:
        """The row."""
        return f"index={self.index}"


class MeanPooling(nn.Module):
    """The mean of the valid rows: out_b = sum_l keep_bl x_bl / sum_l keep_bl; 0 where no row is left.

    Args:
        skip: rows at the front that are left out, such as class tokens.

    Shapes:
        x: (B, L, dim); out: (B, dim).

    Raises:
        ValueError: mask is more than padding, or of another size.
    """

    def __init__(self, skip: int = 0) -> None:
        super().__init__()
        if skip < 0:
            raise ValueError(f"skip: expected at least 0 rows, got {skip}")
        self.skip = skip

    def forward(self, x: Tensor, *, mask: Mask | None = None) -> Tensor:
        """Pool x; mask is a `masks.Padding` or None."""
        keep = valid_rows(mask, x)
        x = x[:, self.skip :]
        if keep is None:
            return x.sum(1) / max(x.shape[1], 1)
        keep = keep[:, self.skip :]
        return zero_rows(x, keep).sum(1) / keep.sum(1, keepdim=True).clamp(min=1).to(x.dtype)

    def extra_repr(self) -> str:
        """The rows left out."""
        return f"skip={self.skip}"


class AttentionPooling(nn.Module):
    """Learned queries attend to the valid rows: out_bn = MultiheadAttention(query_n, x_b, x_b).

    Args:
        dim: features.
        heads: query heads.
        queries: learned queries.
        dropout: probability on the attention weights, in training.
        qk_norm: LayerNorm on every head's queries and keys.
        query_norm_limit: as in MultiheadAttention.
        key_norm_limit: as in MultiheadAttention.
        score: as in MultiheadAttention.
        scale: as in MultiheadAttention.
        projection_bias: have biases on queries, keys and values.
        backend: passed to `attend`.

    Shapes:
        x: (B, L, dim); out: (B, dim) for one query, else (B, queries, dim); an item with no valid row gets 0.

    Raises:
        ValueError: mask is more than padding, or of another size.

    References:
        Lee et al., Set transformer, ICML 2019, section 3.2 (there with a feed-forward layer besides).
    """

    def __init__(
        self,
        dim: int,
        heads: int = 1,
        *,
        queries: int = 1,
        dropout: float = 0.0,
        qk_norm: bool = False,
        query_norm_limit: float | None = None,
        key_norm_limit: float | None = None,
        score: Score | None = None,
        scale: float | None = None,
        projection_bias: bool = True,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        if queries < 1:
            raise ValueError(f"queries: expected at least 1, got {queries}")
        self.queries = nn.Parameter(torch.empty(queries, dim))
        nn.init.normal_(self.queries)
        self.attention = MultiheadAttention(
            dim,
            heads,
            dropout=dropout,
            qk_norm=qk_norm,
            query_norm_limit=query_norm_limit,
            key_norm_limit=key_norm_limit,
            score=score,
            scale=scale,
            projection_bias=projection_bias,
            backend=backend,
        )

    def forward(self, x: Tensor, *, mask: Mask | None = None, need: Collection[str] = ()) -> Tensor | AttentionOutput:
        """Pool x.

        Args:
            x: the sequence.
            mask: a `masks.Padding` or None.
            need: extra answers, as `attend` takes them; its weights are (B, heads, queries, L).
        """
        keep = valid_rows(mask, x)
        fence = None
        if keep is not None:
            some = keep.any(1, keepdim=True).expand(-1, self.queries.shape[0])
            fence = Padding(keep, queries=some)
        elif x.shape[1] == 0:
            fence = Padding(
                x.new_ones(x.shape[:2], dtype=torch.bool), queries=x.new_zeros(x.shape[0], len(self.queries)) > 0
            )
        query = self.queries.expand(x.shape[0], -1, -1)
        answer = self.attention(query, x, mask=fence, need=need)
        out = answer.out if isinstance(answer, AttentionOutput) else answer
        out = out.squeeze(1) if self.queries.shape[0] == 1 else out
        return answer._replace(out=out) if isinstance(answer, AttentionOutput) else out
