"""The transformer block: attention and an MLP on residual branches."""

from collections.abc import Callable, Collection
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..biases import Bias
from ..engine.problem import AttentionOutput
from ..masks import Mask
from ..scores import Score
from .attention import MultiheadAttention
from .padding import fences, with_queries, zero_rows
from .residual import MLP, DropPath, LayerScale
from .rotary import Rotary


class BlockOutput(NamedTuple):
    """A cross-attending block's output and the answers of both its attentions (whose out is the block's)."""

    out: Tensor
    own: AttentionOutput
    context: AttentionOutput


class TransformerBlock(nn.Module):
    """Self-attention, optional cross-attention, MLP; each on a residual branch.

        pre-norm:  x <- x + drop_path(gamma * f(norm(x)))
        post-norm: x <- norm(x + drop_path(gamma * f(x)))

    for f = attention(x), then (cross=True) attention(x, context), then mlp(x). gamma is 1 without layer scale. Padded
    rows of x, named by the mask's Padding, are exactly 0 after every branch and on the output. Where that Padding names
    queries of its own, a row that is a key or a query carries values, and one that is no query gets nothing from
    the attention.

    Args:
        dim: features.
        heads: query heads.
        mlp_ratio: hidden units of the MLP per feature (the gated MLP has 2/3 of them, hence as many weights).
        norm: normalise before the branch or after the sum.
        gated_mlp: GEGLU (SwiGLU with activation=nn.SiLU) in place of the plain MLP.
        dropout: probability on the branches' outputs and the MLP's hidden units.
        attention_dropout: probability on the attention weights.
        drop_path: probability to drop a branch, per item.
        layer_scale: initial gamma; None for none.
        projection_bias: have biases on queries, keys and values.
        qk_norm: LayerNorm on every head's queries and keys.
        cross: attend to a context after the self-attention.
        context_dim: features of the context. Default: dim.
        checkpoint: recompute the block in backward instead of keeping its activations; outputs and gradients are the
            same, dropout included.
        activation: makes the MLP's activation.
        norm_layer: makes a normalisation of `dim` features that acts on single rows.
        backend: passed to `attend`.
        rotary: rotates the self-attention's queries and keys.
        score: as in MultiheadAttention.
        kv_heads: as in MultiheadAttention.
        head_dim: as in MultiheadAttention.
        scale: as in MultiheadAttention.
        temperature: as in MultiheadAttention.
        query_norm_limit: as in MultiheadAttention.
        key_norm_limit: as in MultiheadAttention.

    Shapes:
        x: (B, L, dim); context: (B, Lc, context_dim); out: (B, L, dim).

    Raises:
        ValueError: unknown norm, or a context given to a block without cross-attention or missing in one with it.

    References:
        Vaswani et al., Attention is all you need, NeurIPS 2017, section 3.1 (post-norm). Xiong et al., On layer
        normalization in the transformer architecture, ICML 2020 (pre-norm).
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        mlp_ratio: float = 4.0,
        norm: Literal["pre", "post"] = "pre",
        gated_mlp: bool = False,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        drop_path: float = 0.0,
        layer_scale: float | None = None,
        projection_bias: bool = True,
        qk_norm: bool = False,
        cross: bool = False,
        context_dim: int | None = None,
        checkpoint: bool = False,
        activation: Callable[[], nn.Module] = nn.GELU,
        norm_layer: Callable[[int], nn.Module] = nn.LayerNorm,
        backend: str = "auto",
        rotary: Rotary | None = None,
        score: Score | None = None,
        kv_heads: int | None = None,
        head_dim: int | None = None,
        scale: float | None = None,
        temperature: float = 1.0,
        query_norm_limit: float | None = None,
        key_norm_limit: float | None = None,
    ) -> None:
        super().__init__()
        if norm not in ("pre", "post"):
            raise ValueError(f"norm: expected 'pre' or 'post', got {norm!r}")
        self.norm = norm
        self.checkpoint = checkpoint

        def attention(key_dim: int | None, turned: Rotary | None) -> MultiheadAttention:
            return MultiheadAttention(
                dim,
                heads,
                kv_heads=kv_heads,
                head_dim=head_dim,
                key_dim=key_dim,
                projection_bias=projection_bias,
                qk_norm=qk_norm,
                query_norm_limit=query_norm_limit,
                key_norm_limit=key_norm_limit,
                dropout=attention_dropout,
                score=score,
                scale=scale,
                temperature=temperature,
                rotary=turned,
                backend=backend,
            )

        def scaling() -> nn.Module:
            return nn.Identity() if layer_scale is None else LayerScale(dim, layer_scale)

        self.attention_norm = norm_layer(dim)
        self.attention = attention(None, rotary)
        self.attention_scale = scaling()
        self.cross_norm = norm_layer(dim) if cross else None
        self.cross_attention = attention(context_dim, None) if cross else None
        self.cross_scale = scaling() if cross else None
        self.mlp_norm = norm_layer(dim)
        self.mlp = MLP(dim, mlp_ratio, gated=gated_mlp, dropout=dropout, activation=activation)
        self.mlp_scale = scaling()
        self.dropout = nn.Dropout(dropout)
        self.drop_path = DropPath(drop_path)

    def forward(
        self,
        x: Tensor,
        context: Tensor | None = None,
        *,
        mask: Mask | None = None,
        bias: Bias | None = None,
        context_mask: Mask | None = None,
        context_bias: Bias | None = None,
        need: Collection[str] = (),
        positions: Tensor | None = None,
    ) -> Tensor | AttentionOutput | BlockOutput:
        """Apply the block.

        Args:
            x: the sequence.
            context: what the cross-attention reads.
            mask: within x; its Padding rules out rows of x.
            bias: on the self-attention's logits.
            context_mask: from x to context; its Padding rules out rows of context.
            context_bias: on the cross-attention's logits.
            need: extra answers, as `attend` takes them. With any, the answer is an AttentionOutput whose out is the
                block's output, or with cross-attention a BlockOutput with the answers of both.
            positions: for the rotary. Default: 0, 1, 2, ...

        Shapes:
            x: (B, L, dim); context: (B, Lc, context_dim); out: (B, L, dim).
        """
        if (context is None) == (self.cross_attention is not None):
            expected = "a tensor, as cross=True" if context is None else "None, as cross=False"
            raise ValueError(f"context: expected {expected}, got {'None' if context is None else tuple(context.shape)}")
        if self.cross_attention is None and not (context_mask is None and context_bias is None):
            given = " and ".join(n for n, x in (("a mask", context_mask), ("a bias", context_bias)) if x is not None)
            raise ValueError(f"context_mask, context_bias: expected None, as cross=False, got {given}")
        inputs = (x, context, mask, bias, context_mask, context_bias, need, positions)
        if self.checkpoint and torch.is_grad_enabled():
            out, own, other = checkpoint(self._forward, *inputs, use_reentrant=False)
        else:
            out, own, other = self._forward(*inputs)
        if own is None:
            return out
        own = own._replace(out=out)
        return own if other is None else BlockOutput(out, own, other._replace(out=out))

    def extra_repr(self) -> str:
        """What the children do not show."""
        return f"norm={self.norm}, checkpoint={self.checkpoint}"

    def _forward(
        self,
        x: Tensor,
        context: Tensor | None,
        mask: Mask | None,
        bias: Bias | None,
        context_mask: Mask | None,
        context_bias: Bias | None,
        need: Collection[str],
        positions: Tensor | None,
    ) -> tuple[Tensor, AttentionOutput | None, AttentionOutput | None]:
        fence = fences(mask, x, x)
        keep = fence.rows()
        x = zero_rows(x, keep)
        own = other = None

        y = self._before(self.attention_norm, x)
        answer = self.attention(y, mask=fence.mask, bias=bias, need=need, positions=positions)
        if isinstance(answer, AttentionOutput):
            own, answer = answer, answer.out
        x = self._after(self.attention_norm, x, self.attention_scale, answer, keep)

        if self.cross_attention is not None and self.cross_norm is not None and self.cross_scale is not None:
            assert context is not None
            y = self._before(self.cross_norm, x)
            context_mask = with_queries(context_mask, keep, context)
            answer = self.cross_attention(y, context, mask=context_mask, bias=context_bias, need=need)
            if isinstance(answer, AttentionOutput):
                other, answer = answer, answer.out
            x = self._after(self.cross_norm, x, self.cross_scale, answer, keep)

        y = self._before(self.mlp_norm, x)
        x = self._after(self.mlp_norm, x, self.mlp_scale, zero_rows(self.mlp(y), keep), keep, dropped=True)
        return x, own, other

    def _before(self, norm: nn.Module, x: Tensor) -> Tensor:
        """What goes into a branch."""
        y: Tensor = norm(x) if self.norm == "pre" else x
        return y

    def _after(
        self,
        norm: nn.Module,
        x: Tensor,
        scale: nn.Module,
        branch: Tensor,
        keep: Tensor | None,
        *,
        dropped: bool = False,
    ) -> Tensor:
        """Add a branch to the stream; `dropped` says that it has had its dropout."""
        branch = branch if dropped else self.dropout(branch)
        x = x + self.drop_path(scale(branch))
        return x if self.norm == "pre" else zero_rows(norm(x), keep)
