"""torch.nn.MultiheadAttention's parameters, signature and mask polarity, on `attend`."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, pad

from .. import biases, masks
from ..attend import attend
from ..engine.problem import AttentionOutput
from .padding import zero_rows


class TorchMultiheadAttention(nn.MultiheadAttention):
    """Takes the place of torch.nn.MultiheadAttention.

    Constructor, state_dict, initial values, forward signature and mask polarity (True = blocked) are torch's, and so
    are outputs and gradients wherever a query has an allowed key. What differs:

    - A query with no allowed key gets out_proj.bias and weights 0, where torch gives NaN (or out_proj.bias, by its
    route).
    - Keys blocked for a whole item by a boolean key_padding_mask change nothing, not even with NaN in them.
    - attn_mask is applied as given; is_causal is only a hint, as torch documents it, and is never put in its place.
    - Masks of different types (boolean and float) may be mixed.
    - Dropout draws other random numbers than torch. The weights that need_weights answers are those that `attend`
    gives.
    - Nested tensors raise ValueError: pass padded tensors with key_padding_mask.

    Args:
        embed_dim: features of queries and output.
        num_heads: heads.
        dropout: probability on the attention weights, in training.
        bias: have in_proj_bias and out_proj.bias.
        add_bias_kv: append a learned key and value (bias_k, bias_v).
        add_zero_attn: append a key and value of zeros.
        kdim: features of the keys. Default: embed_dim.
        vdim: features of the values. Default: embed_dim.
        batch_first: (B, L, features) in place of (L, B, features).
        device: of the parameters.
        dtype: of the parameters.

    Shapes:
        query: (Lq, B, embed_dim), with batch_first (B, Lq, embed_dim), unbatched (Lq, embed_dim); key and value alike.
        key_padding_mask: (B, Lk) or (Lk,), bool or float. attn_mask: (Lq, Lk) or (B * num_heads, Lq, Lk), bool or
            float.
        weights: (B, Lq, Lk), with average_attn_weights=False (B, num_heads, Lq, Lk); unbatched without B.

    Raises:
        ValueError: an input or mask of another shape or type.
    """

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Attend from query to key; see torch.nn.MultiheadAttention.forward.

        Args:
            query: where the queries come from.
            key: where the keys come from.
            value: where the values come from.
            key_padding_mask: True blocks a key; a float is added to its logits.
            need_weights: answer the attention weights too.
            attn_mask: True blocks a pair; a float is added to its logit.
            average_attn_weights: average the answered weights over the heads.
            is_causal: says that attn_mask is causal; attn_mask is needed with it.
        """
        if any(x.is_nested for x in (query, key, value)):
            raise ValueError("query, key, value: expected padded tensors with key_padding_mask, got a nested tensor")
        if is_causal and attn_mask is None:
            raise ValueError("attn_mask: expected the causal mask where is_causal=True, got None")
        self_attention = query is key
        same_value = key is value
        unbatched = query.dim() == 2
        batch_axis = 0 if self.batch_first or unbatched else 1

        def batch_first(x: Tensor) -> Tensor:
            return x[None] if unbatched else x.transpose(0, batch_axis)

        self._check(query, key, value)
        query = batch_first(query)
        key = query if self_attention else batch_first(key)
        value = key if same_value else batch_first(value)
        if unbatched and key_padding_mask is not None:
            key_padding_mask = key_padding_mask[None]
        B, Lq, Lk = query.shape[0], query.shape[1], key.shape[1]
        mask, bias = self.structure(key_padding_mask, attn_mask, B, Lq, Lk)
        if key_padding_mask is not None and key_padding_mask.dtype == torch.bool:
            cleaned = zero_rows(key, ~key_padding_mask)
            value = cleaned if same_value else zero_rows(value, ~key_padding_mask)
            key = cleaned
        q, k, v = self.project(query, key, value)
        k, v = self.extend(k, v)
        need: tuple[Literal["weights"], ...] = ("weights",) if need_weights else ()
        answer: Tensor | AttentionOutput = attend(
            self.split_heads(q),
            self.split_heads(k),
            self.split_heads(v),
            mask=mask,
            bias=bias,
            dropout_p=self.dropout if self.training else 0.0,
            need=need,
        )
        attended = answer.out if isinstance(answer, AttentionOutput) else answer
        out = self.out_proj(attended.transpose(1, 2).flatten(2))
        out = out[0] if unbatched else out.transpose(0, batch_axis)
        if not isinstance(answer, AttentionOutput):
            return out, None
        weights = answer.weights
        assert weights is not None
        weights = weights.mean(1) if average_attn_weights else weights
        return out, weights[0] if unbatched else weights

    def _check(self, query: Tensor, key: Tensor, value: Tensor) -> None:
        """Check the shapes of the inputs, before any transposition."""
        for name, x, features in (
            ("query", query, self.embed_dim),
            ("key", key, self.kdim),
            ("value", value, self.vdim),
        ):
            if query.dim() not in (2, 3) or x.dim() != query.dim() or x.shape[-1] != features:
                axes = "(L, {})" if query.dim() == 2 else ("(B, L, {})" if self.batch_first else "(L, B, {})")
                raise ValueError(f"{name}: expected {axes.format(features)}, got {tuple(x.shape)}")
        if key.shape[:-1] != value.shape[:-1]:
            raise ValueError(f"value: expected {tuple(key.shape[:-1])} rows as key has, got {tuple(value.shape[:-1])}")
        batch = 0 if self.batch_first else 1
        if query.dim() == 3 and query.shape[batch] != key.shape[batch]:
            raise ValueError(f"key: expected the batch of query, {query.shape[batch]}, got {key.shape[batch]}")

    def structure(
        self, key_padding_mask: Tensor | None, attn_mask: Tensor | None, B: int, Lq: int, Lk: int
    ) -> tuple[masks.Mask | None, biases.Bias | None]:
        """Translate torch's masks: blocked becomes not allowed, floats become biases."""
        extra = (self.bias_k is not None) + self.add_zero_attn
        mask: masks.Mask | None = None
        bias: biases.Bias | None = None
        if key_padding_mask is not None:
            if key_padding_mask.shape != (B, Lk):
                raise ValueError(f"key_padding_mask: expected ({B}, {Lk}), got {tuple(key_padding_mask.shape)}")
            key_padding_mask = pad(key_padding_mask, (0, extra))
            if key_padding_mask.dtype == torch.bool:
                mask = masks.Padding(~key_padding_mask)
            else:
                bias = biases.KeyBias(_floating("key_padding_mask", key_padding_mask))
        if attn_mask is not None:
            if attn_mask.shape not in ((Lq, Lk), (B * self.num_heads, Lq, Lk)):
                expected = f"({Lq}, {Lk}) or ({B * self.num_heads}, {Lq}, {Lk})"
                raise ValueError(f"attn_mask: expected {expected}, got {tuple(attn_mask.shape)}")
            wide = pad(attn_mask, (0, extra))
            wide = wide[None, None] if wide.dim() == 2 else wide.reshape(B, self.num_heads, *wide.shape[1:])
            if attn_mask.dtype == torch.bool:
                pairs = masks.Dense(~wide)
                mask = pairs if mask is None else pairs & mask
            else:
                added = biases.Dense(_floating("attn_mask", wide))
                bias = added if bias is None else bias + added
        return mask, bias

    def project(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, (B, L, embed_dim) each; one matrix product where the inputs are one tensor."""
        weights: tuple[Tensor, ...] = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
        if self._qkv_same_embed_dim:
            if query is key and key is value:
                q, k, v = linear(query, self.in_proj_weight, self.in_proj_bias).chunk(3, dim=-1)
                return q, k, v
            weights = self.in_proj_weight.chunk(3)
        offsets = (None, None, None) if self.in_proj_bias is None else self.in_proj_bias.chunk(3)
        q, k, v = (
            linear(x, weight, offset) for x, weight, offset in zip((query, key, value), weights, offsets, strict=True)
        )
        return q, k, v

    def extend(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Append the learned key and value and the zeros, where the layer has them."""
        B = k.shape[0]
        if self.bias_k is not None and self.bias_v is not None:
            k = torch.cat([k, self.bias_k.expand(B, -1, -1)], dim=1)
            v = torch.cat([v, self.bias_v.expand(B, -1, -1)], dim=1)
        if self.add_zero_attn:
            k, v = pad(k, (0, 0, 0, 1)), pad(v, (0, 0, 0, 1))
        return k, v

    def split_heads(self, x: Tensor) -> Tensor:
        """Heads apart: (B, num_heads, L, head_dim)."""
        return x.reshape(*x.shape[:-1], self.num_heads, self.head_dim).transpose(1, 2)


def _floating(name: str, mask: Tensor) -> Tensor:
    if not mask.is_floating_point():
        raise ValueError(f"{name}: expected bool (True = blocked) or a float, got {mask.dtype}")
    return mask
