"""The hybrid block: attention for what stands anywhere, a convolution for what stands near."""

from collections.abc import Callable, Collection
from typing import Unpack

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..biases import Bias
from ..engine.problem import AttentionOutput
from ..masks import And, Causal, Dilated, Mask, Window
from .attention import MultiheadAttention
from .options import AttentionOptions
from .padding import fences, zero_rows
from .residual import MLP, DropPath, LayerScale


class LocalConvolution(nn.Module):
    """Gate, convolve every feature over time, normalise, mix the features.

        g = (W1 x + b1) * sigmoid(V x + c)
        h_ij = sum_k w_jk g_(i + k - s)j + u_j,  k = 0 .. n - 1,  s = (n - 1) / 2, where causal s = n - 1
        out = W2 act(norm(h)) + b2

    for a kernel of n = kernel_size tokens. Beyond both ends g counts as 0, and so does every padded row that the mask
    names, whatever stands there: a padded sequence answers what it would without its padding. The norm acts on single
    rows, where the paper has batch normalisation, which would mix items and padding.

    Args:
        dim: features.
        kernel_size: width of the convolution in tokens; odd, unless causal.
        causal: look back alone; row i then reads rows i - kernel_size + 1 .. i.
        dropout: probability on the output, in training.
        activation: makes the activation.
        norm_layer: makes a normalisation of `dim` features that acts on single rows.

    Shapes:
        x: (B, L, dim); out: (B, L, dim).

    Raises:
        ValueError: kernel_size is not positive, or even without causal; x has other features.

    References:
        Gulati et al., Conformer, Interspeech 2020, section 2.2 (there with batch normalisation).
    """

    def __init__(
        self,
        dim: int,
        kernel_size: int = 31,
        *,
        causal: bool = False,
        dropout: float = 0.0,
        activation: Callable[[], nn.Module] = nn.SiLU,
        norm_layer: Callable[[int], nn.Module] = nn.LayerNorm,
    ) -> None:
        super().__init__()
        if kernel_size < 1 or (kernel_size % 2 == 0 and not causal):
            expected = "at least 1" if causal else "an odd number (or causal=True)"
            raise ValueError(f"kernel_size: expected {expected}, got {kernel_size}")
        self.dim, self.kernel_size, self.causal = dim, kernel_size, causal
        self.expand = nn.Linear(dim, 2 * dim)
        self.depthwise = nn.Conv1d(dim, dim, kernel_size, groups=dim)
        self.norm = norm_layer(dim)
        self.activation = activation()
        self.contract = nn.Linear(dim, dim)
        self.dropout = nn.Dropout(dropout)
        for layer in (self.expand, self.contract):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, *, mask: Mask | None = None) -> Tensor:
        """Apply the convolution.

        Args:
            x: the sequence.
            mask: its Padding rules out rows, which come out 0; a pattern in it does not bind a convolution.
        """
        if x.dim() != 3 or x.shape[-1] != self.dim:
            raise ValueError(f"x: expected (B, L, {self.dim}), got {tuple(x.shape)}")
        keep = fences(mask, x, x).rows()
        if x.shape[1] == 0:
            return x
        gated = zero_rows(F.glu(self.expand(zero_rows(x, keep)), dim=-1), keep)
        back = self.kernel_size - 1 if self.causal else self.kernel_size // 2
        ahead = self.kernel_size - 1 - back
        near = self.depthwise(F.pad(gated.transpose(1, 2), (back, ahead))).transpose(1, 2)
        out = self.dropout(self.contract(self.activation(self.norm(near))))
        return zero_rows(out, keep)

    def extra_repr(self) -> str:
        """What the children do not show."""
        return f"{self.dim}, kernel_size={self.kernel_size}, causal={self.causal}"


class HybridBlock(nn.Module):
    """The Conformer's block: global attention and a local convolution between two half-steps of an MLP.

        x <- x + 1/2 mlp(norm(x))
        x <- x + attention(norm(x))
        x <- x + convolution(norm(x))
        x <- x + 1/2 mlp'(norm(x))
        out = norm(x)

    each branch through drop path, and times a learned gamma with layer scale. Padded rows of x, named by the mask's
    Padding, are exactly 0 after every branch and on the output, and nothing that stands in them changes anything. A
    pattern in the mask binds the attention alone: `Segments` and `NotAfter` do not cut the convolution, and a mask that
    goes by index and forbids what comes later (`Causal`, `Window(n, 0)`) asks for causal=True.

    Args:
        dim: features.
        heads: query heads; None leaves the attention out.
        kernel_size: width of the convolution in tokens, odd unless causal; None leaves the convolution out.
        causal: the convolution looks back alone. The attention gets its `masks.Causal()` in forward.
        mlp_ratio: hidden units of either MLP per feature.
        dropout: probability on the branches' outputs and the MLPs' hidden units.
        attention_dropout: probability on the attention weights.
        drop_path: probability to drop a branch, per item.
        layer_scale: initial gamma; None for none.
        checkpoint: recompute the block in backward instead of keeping its activations; outputs and gradients are the
            same, dropout included.
        activation: makes the activation of MLPs and convolution.
        norm_layer: makes a normalisation of `dim` features that acts on single rows.
        attention_options: everything else that MultiheadAttention takes, see `AttentionOptions`.

    Shapes:
        x: (B, L, dim); out: (B, L, dim).

    Raises:
        ValueError: sizes that do not fit; arguments for the attention where heads is None; a mask that forbids later
            tokens where the convolution looks ahead.

    References:
        Gulati et al., Conformer, Interspeech 2020, section 2.4 (there with relative positions in the attention: give a
        rotary or a bias).
    """

    def __init__(
        self,
        dim: int,
        heads: int | None,
        kernel_size: int | None = 31,
        *,
        causal: bool = False,
        mlp_ratio: float = 4.0,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        drop_path: float = 0.0,
        layer_scale: float | None = None,
        checkpoint: bool = False,
        activation: Callable[[], nn.Module] = nn.SiLU,
        norm_layer: Callable[[int], nn.Module] = nn.LayerNorm,
        **attention_options: Unpack[AttentionOptions],
    ) -> None:
        super().__init__()
        if heads is None and (attention_options or attention_dropout):
            named = ", ".join([*attention_options, *(["attention_dropout"] if attention_dropout else [])])
            raise ValueError(f"heads: expected a number where options of the attention are given ({named}), got None")
        self.causal = causal
        self.checkpoint = checkpoint

        def scaling() -> nn.Module:
            return nn.Identity() if layer_scale is None else LayerScale(dim, layer_scale)

        def mlp() -> MLP:
            return MLP(dim, mlp_ratio, dropout=dropout, activation=activation)

        self.first_norm, self.first_mlp, self.first_scale = norm_layer(dim), mlp(), scaling()
        self.attention = self.convolution = None
        if heads is not None:
            self.attention_norm, self.attention_scale = norm_layer(dim), scaling()
            self.attention = MultiheadAttention(dim, heads, dropout=attention_dropout, **attention_options)
        if kernel_size is not None:
            self.convolution_norm, self.convolution_scale = norm_layer(dim), scaling()
            self.convolution = LocalConvolution(
                dim, kernel_size, causal=causal, activation=activation, norm_layer=norm_layer
            )
        self.second_norm, self.second_mlp, self.second_scale = norm_layer(dim), mlp(), scaling()
        self.norm = norm_layer(dim)
        self.dropout = nn.Dropout(dropout)
        self.drop_path = DropPath(drop_path)

    def forward(
        self,
        x: Tensor,
        *,
        mask: Mask | None = None,
        bias: Bias | None = None,
        need: Collection[str] = (),
        positions: Tensor | None = None,
    ) -> Tensor | AttentionOutput:
        """Apply the block.

        Args:
            x: the sequence.
            mask: who may attend to whom; its Padding rules out rows of x, for all branches.
            bias: on the attention's logits.
            need: extra answers, as `attend` takes them; with any, the answer is an AttentionOutput whose out is the
                block's.
            positions: for the rotary. Default: 0, 1, 2, ...

        Shapes:
            x: (B, L, dim); out: (B, L, dim).
        """
        if self.attention is None and (bias is not None or need or positions is not None):
            given = {"bias": bias is not None, "need": bool(need), "positions": positions is not None}
            named = ", ".join(name for name, there in given.items() if there)
            raise ValueError(f"bias, need, positions: expected none, as heads=None: no attention, got {named}")
        ahead = self.convolution is not None and not self.causal and self.convolution.kernel_size > 1
        if ahead and _looks_back(mask):
            raise ValueError(
                "causal: expected True with a mask that forbids later tokens, which the convolution would read, got "
                f"False and {type(mask).__name__}"
            )
        inputs = (x, mask, bias, need, positions)
        if self.checkpoint and torch.is_grad_enabled():
            out, answer = checkpoint(self._forward, *inputs, use_reentrant=False)
        else:
            out, answer = self._forward(*inputs)
        return out if answer is None else answer._replace(out=out)

    def extra_repr(self) -> str:
        """What the children do not show."""
        return f"causal={self.causal}, checkpoint={self.checkpoint}"

    def _forward(
        self, x: Tensor, mask: Mask | None, bias: Bias | None, need: Collection[str], positions: Tensor | None
    ) -> tuple[Tensor, AttentionOutput | None]:
        fence = fences(mask, x, x)
        keep = fence.rows()
        answer: AttentionOutput | None = None
        x = zero_rows(x, keep)
        half = zero_rows(self.first_mlp(self.first_norm(x)), keep)
        x = x + self.drop_path(self.first_scale(0.5 * half))
        if self.attention is not None:
            y = self.attention(self.attention_norm(x), mask=fence.mask, bias=bias, need=need, positions=positions)
            if isinstance(y, AttentionOutput):
                answer, y = y, y.out
            x = x + self.drop_path(self.attention_scale(self.dropout(y)))
        if self.convolution is not None:
            y = self.convolution(self.convolution_norm(x), mask=fence.mask)
            x = x + self.drop_path(self.convolution_scale(self.dropout(y)))
        half = zero_rows(self.second_mlp(self.second_norm(x)), keep)
        x = x + self.drop_path(self.second_scale(0.5 * half))
        return zero_rows(self.norm(x), keep), answer


def _looks_back(mask: Mask | None) -> bool:
    """Whether a mask forbids later tokens by their index, alone or in a conjunction."""
    if isinstance(mask, And):
        return any(_looks_back(part) for part in mask.parts)
    return isinstance(mask, Causal) or (isinstance(mask, Window | Dilated) and mask.right <= 0)
