"""Every layer and every pooling path, in one form: a module and a way to run it on padded or unpadded input.

`run(module, batch)` answers a tensor; `batch.keep` is None where nothing is padded.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from core import biases, masks, scores
from core.fusion import GatedFusion
from core.layers import (
    AttentionPooling,
    ClassTokenPooling,
    Encoder,
    MeanPooling,
    MultiheadAttention,
    Rotary,
    TimeDecayBias,
    TorchMultiheadAttention,
    TransformerBlock,
)
from core.positions import LearnedPositions, SinusoidalPositions

DIM, HEADS = 8, 2


class Batch(NamedTuple):
    """Two sequences, the times of the first, and which rows of each are valid."""

    x: Tensor
    y: Tensor
    times: Tensor
    keep: Tensor | None
    keep_y: Tensor | None

    @property
    def padding(self) -> masks.Padding | None:
        return None if self.keep is None else masks.Padding(self.keep)

    @property
    def padding_y(self) -> masks.Padding | None:
        return None if self.keep_y is None else masks.Padding(self.keep_y)

    @property
    def padding_xy(self) -> masks.Padding | None:
        return None if self.keep_y is None else masks.Padding(self.keep_y, queries=self.keep)


class Case(NamedTuple):
    """A layer under test. `rows`: the output has the rows of x."""

    make: Callable[[], nn.Module]
    run: Callable[[nn.Module, Batch], Tensor]
    rows: bool = True


def both(pattern: masks.Mask, padding: masks.Padding | None) -> masks.Mask:
    return pattern if padding is None else pattern & padding


def self_attention(**options) -> Case:
    return Case(lambda: MultiheadAttention(DIM, HEADS, **options), lambda m, b: m(b.x, mask=b.padding))


def block(**options) -> Case:
    return Case(lambda: TransformerBlock(DIM, HEADS, **options), lambda m, b: m(b.x, mask=b.padding))


def run_cross_block(m: nn.Module, b: Batch) -> Tensor:
    return m(b.x, b.y, mask=b.padding, context_mask=b.padding_y)


class Decayed(nn.Module):
    """Attention with a learned decay over times."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = MultiheadAttention(DIM, HEADS)
        self.decay = TimeDecayBias(HEADS, [1.0, 3.0])

    def forward(self, x: Tensor, times: Tensor, mask: masks.Mask | None) -> Tensor:
        return self.attention(x, mask=mask, bias=self.decay(times))


class EncoderAndPool(nn.Module):
    """What a classifier does."""

    def __init__(self, pool: nn.Module) -> None:
        super().__init__()
        self.positions = SinusoidalPositions(DIM)
        self.encoder = Encoder(DIM, 2, HEADS)
        self.pool = pool

    def forward(self, x: Tensor, mask: masks.Mask | None) -> Tensor:
        return self.pool(self.encoder(self.positions(x, mask=mask), mask=mask), mask=mask)


class KeysOnly(nn.Module):
    """torch's signature, whose padding mask speaks of keys alone: the queries come from clean rows."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = TorchMultiheadAttention(DIM, HEADS, batch_first=True)

    def forward(self, x: Tensor, y: Tensor, keep_x: Tensor | None, keep_y: Tensor | None, need: bool) -> Tensor:
        x = x if keep_x is None else x.masked_fill(~keep_x[..., None], 0)
        blocked = None if keep_y is None else ~keep_y
        out, _ = self.attention(x, y, y, key_padding_mask=blocked, need_weights=need)
        return out if keep_x is None else out.masked_fill(~keep_x[..., None], 0)


def run_rotary(m: nn.Module, b: Batch) -> Tensor:
    return m(b.x, mask=b.padding, positions=b.times)


def pooled(make: Callable[[], nn.Module]) -> Case:
    return Case(make, lambda m, b: m(b.x, mask=b.padding), rows=False)


def in_encoder(make: Callable[[], nn.Module]) -> Case:
    return Case(lambda: EncoderAndPool(make()), lambda m, b: m(b.x, b.padding), rows=False)


def first_source(b: Batch) -> Tensor:
    return b.x.flip(-1)


CASES: dict[str, Case] = {
    "self": self_attention(),
    "self reference": self_attention(backend="reference"),
    "self without biases": self_attention(projection_bias=False, output_bias=False),
    "self grouped, normed": self_attention(kv_heads=1, qk_norm=True),
    "self cosine": self_attention(score=scores.Cosine(), scale=5.0),
    "self gaussian": self_attention(score=scores.Gaussian(), temperature=2.0),
    "self rotary at times": Case(
        lambda: MultiheadAttention(DIM, HEADS, rotary=Rotary(DIM // HEADS), qk_norm=True), run_rotary
    ),
    "self causal": Case(
        lambda: MultiheadAttention(DIM, HEADS), lambda m, b: m(b.x, mask=both(masks.Causal(), b.padding))
    ),
    "self window": Case(
        lambda: MultiheadAttention(DIM, HEADS), lambda m, b: m(b.x, mask=both(masks.Window(1, 2), b.padding))
    ),
    "self relative": Case(
        lambda: MultiheadAttention(DIM, HEADS),
        lambda m, b: m(b.x, mask=b.padding, bias=biases.Alibi(torch.tensor([0.5, 0.1]))),
    ),
    "self need": Case(
        lambda: MultiheadAttention(DIM, HEADS),
        lambda m, b: m(b.x, mask=b.padding, need=("entropy", "lse", "weights")).out,
    ),
    "self time decay": Case(Decayed, lambda m, b: m(b.x, b.times, b.padding)),
    "cross": Case(lambda: MultiheadAttention(DIM, HEADS), lambda m, b: m(b.x, b.y, mask=b.padding_xy)),
    "cross, two widths": Case(
        lambda: MultiheadAttention(DIM, HEADS, key_dim=DIM, value_dim=2),
        lambda m, b: m(b.x, b.y, b.y[..., :2], mask=b.padding_xy),
    ),
    "cross, torch's": Case(KeysOnly, lambda m, b: m(b.x, b.y, b.keep, b.keep_y, False)),
    "cross, torch's weights": Case(KeysOnly, lambda m, b: m(b.x, b.y, b.keep, b.keep_y, True)),
    "block pre": block(),
    "block post": block(norm="post"),
    "block gated, scaled": block(gated_mlp=True, layer_scale=0.5),
    "block checkpoint": block(checkpoint=True),
    "block cross pre": Case(lambda: TransformerBlock(DIM, HEADS, cross=True), run_cross_block),
    "block cross post": Case(lambda: TransformerBlock(DIM, HEADS, cross=True, norm="post"), run_cross_block),
    "encoder": Case(lambda: Encoder(DIM, 2, HEADS), lambda m, b: m(b.x, mask=b.padding)),
    "encoder post, causal": Case(
        lambda: Encoder(DIM, 2, HEADS, norm="post", final_norm=False),
        lambda m, b: m(b.x, mask=both(masks.Causal(), b.padding)),
    ),
    "encoder rotary": Case(lambda: Encoder(DIM, 2, HEADS, rotary=Rotary(DIM // HEADS)), run_rotary),
    "encoder need": Case(
        lambda: Encoder(DIM, 2, HEADS), lambda m, b: m(b.x, mask=b.padding, need=("entropy",)).out
    ),
    "sinusoidal at times": Case(
        lambda: SinusoidalPositions(DIM), lambda m, b: m(b.x, b.times, mask=b.padding)
    ),
    "class token": pooled(ClassTokenPooling),
    "mean": pooled(MeanPooling),
    "mean without the first": pooled(lambda: MeanPooling(skip=1)),
    "attention pooling": pooled(lambda: AttentionPooling(DIM, HEADS)),
    "attention pooling, three": pooled(lambda: AttentionPooling(DIM, HEADS, queries=3, qk_norm=True)),
    "encoder, class token": in_encoder(ClassTokenPooling),
    "encoder, mean": in_encoder(MeanPooling),
    "encoder, attention pooling": in_encoder(lambda: AttentionPooling(DIM)),
    "fusion of two": Case(
        lambda: GatedFusion(DIM), lambda m, b: m(b.x, first_source(b), mask=b.padding)
    ),
    "fusion of three, per token": Case(
        lambda: GatedFusion(DIM, 3, per="token", source_dims=(DIM, 2, DIM)),
        lambda m, b: m(b.x, b.x[..., 1:3], first_source(b), mask=b.padding),
    ),
}  # fmt: skip

# Lengths of the unpadded comparison are not fixed, so the table is read at another size there: checked by fill alone.
FILL_ONLY: dict[str, Case] = {
    "learned positions": Case(lambda: LearnedPositions(6, DIM), lambda m, b: m(b.x, mask=b.padding)),
}
