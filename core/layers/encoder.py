"""A stack of transformer blocks."""

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple, TypeVar, Unpack

from torch import Tensor, nn

from ..biases import Bias
from ..engine.problem import AttentionOutput
from ..masks import Mask
from .block import BlockOutput, TransformerBlock
from .options import BlockOptions
from .padding import fences, zero_rows

T = TypeVar("T")


class EncoderOutput(NamedTuple):
    """The encoder's output and every block's answer, whose out is that block's output before the final norm."""

    out: Tensor
    layers: tuple[AttentionOutput | BlockOutput, ...]


class Encoder(nn.Module):
    """`depth` transformer blocks and a final norm.

        x <- block_l(x) for l = 1 .. depth;  out = norm(x)

    Args:
        dim: features.
        depth: blocks.
        heads: query heads.
        final_norm: normalise the output; post-norm blocks have done so already, so then it is usually off.
        drop_path: probability of the last block; it rises linearly from 0 at the first.
        norm_layer: makes a normalisation of `dim` features that acts on single rows.
        block_options: what else TransformerBlock takes, see `BlockOptions`; a rotary is shared by the blocks.

    Shapes:
        x: (B, L, dim); context: (B, Lc, context_dim); out: (B, L, dim).

    Raises:
        ValueError: depth < 0.
        TypeError: an option that TransformerBlock does not take.
    """

    def __init__(
        self,
        dim: int,
        depth: int,
        heads: int,
        *,
        final_norm: bool = True,
        drop_path: float = 0.0,
        norm_layer: Callable[[int], nn.Module] = nn.LayerNorm,
        **block_options: Unpack[BlockOptions],
    ) -> None:
        super().__init__()
        if depth < 0:
            raise ValueError(f"depth: expected at least 0 blocks, got {depth}")
        self.blocks = nn.ModuleList(
            TransformerBlock(
                dim, heads, drop_path=drop_path * layer / max(depth - 1, 1), norm_layer=norm_layer, **block_options
            )
            for layer in range(depth)
        )
        self.norm = norm_layer(dim) if final_norm else nn.Identity()

    def forward(
        self,
        x: Tensor,
        context: Tensor | None = None,
        *,
        mask: Mask | None = None,
        bias: Bias | Sequence[Bias | None] | None = None,
        context_mask: Mask | None = None,
        context_bias: Bias | Sequence[Bias | None] | None = None,
        need: Collection[str] = (),
        positions: Tensor | None = None,
    ) -> Tensor | EncoderOutput:
        """Apply the blocks in turn.

        Args:
            x: the sequence.
            context: what cross-attention reads, the same in every block.
            mask: within x; its Padding rules out rows, which come out exactly 0.
            bias: on the self-attention's logits: one for all blocks, or a sequence with one for each.
            context_mask: from x to context.
            context_bias: on the cross-attention's logits: one for all blocks, or a sequence with one for each.
            need: extra answers, as `attend` takes them; with any, the answer is an EncoderOutput.
            positions: for the rotary. Default: 0, 1, 2, ...

        Shapes:
            x: (B, L, dim); context: (B, Lc, context_dim); out: (B, L, dim).

        Raises:
            ValueError: a sequence of biases that is not as long as there are blocks.
        """
        fence = fences(mask, x, x)
        x = zero_rows(x, fence.rows())
        layers: list[AttentionOutput | BlockOutput] = []
        own = _per_block("bias", bias, len(self.blocks))
        other = _per_block("context_bias", context_bias, len(self.blocks))
        for block, block_bias, block_context_bias in zip(self.blocks, own, other, strict=True):
            answer = block(
                x,
                context,
                mask=fence.mask,
                bias=block_bias,
                context_mask=context_mask,
                context_bias=block_context_bias,
                need=need,
                positions=positions,
            )
            if isinstance(answer, Tensor):
                x = answer
            else:
                x = answer.out
                layers.append(answer)
        out = zero_rows(self.norm(x), fence.rows())
        return EncoderOutput(out, tuple(layers)) if need else out


def _per_block(name: str, value: T | Sequence[T | None] | None, depth: int) -> list[T | None]:
    """One value for every block."""
    if not isinstance(value, (list, tuple)):
        return [value] * depth  # type: ignore[list-item]
    if len(value) != depth:
        raise ValueError(f"{name}: expected one for each of {depth} blocks, got {len(value)}")
    return list(value)
