"""Multi-head attention: self, cross, grouped queries."""

from collections.abc import Collection
from typing import Self

import torch
from torch import Tensor, nn

from .. import scores
from ..attend import attend
from ..biases import Bias
from ..engine import AttentionOutput
from ..masks import Mask
from .limits import checked_limit, limit_norms
from .padding import Fences, fences, zero_rows
from .rotary import Rotary


class MultiheadAttention(nn.Module):
    """Project, attend per head, project back; batch first.

        q = Wq x + bq,  k = Wk y + bk,  v = Wv z + bv
        out = Wo concat_h(softmax((scale * score(q_h, k_h) + bias) / temperature) v_h) + bo

    Padding is carried by the mask: `masks.Padding(lengths) & ...`. In self-attention it rules out rows of queries as
    well as keys. Padded rows are 0 before the first projection, after every projection and on the output, so nothing
    that stands in them, NaN included, changes an output or a gradient. A query that no key is left for gets bo.

    Args:
        dim: features of the queries and of the output.
        heads: query heads.
        kv_heads: key and value heads, a divisor of `heads`; query head h reads key head h // (heads / kv_heads).
            Default: heads.
        head_dim: features per head. Default: dim / heads.
        key_dim: features of `key`. Default: dim.
        value_dim: features of `value`. Default: key_dim.
        projection_bias: have bq, bk and bv.
        output_bias: have bo.
        qk_norm: LayerNorm over the features of every head's queries and keys, shared by the heads.
        query_norm_limit: norm to which a head's longer queries are shortened: q <- q * min(1, limit / |q|). Default:
            none.
        key_norm_limit: the same for the keys. With both, no input can make a key take more of a query's attention than
            `core.robust.capture_bound` says. Default: none.
        dropout: probability on the attention weights, in training only.
        score: how queries and keys are compared. Default: `scores.Dot()`.
        scale: factor on the score. Default: head_dim ** -0.5 for Dot, else 1.
        temperature: divides the logits, biases included.
        rotary: rotates queries and keys by their positions.
        backend: passed to `attend`.

    Shapes:
        query: (B, Lq, dim); key: (B, Lk, key_dim); value: (B, Lk, value_dim); out: (B, Lq, dim).

    Raises:
        ValueError: sizes that do not divide, inputs of another shape, or norms limited that the score ignores.

    References:
        Vaswani et al., Attention is all you need, NeurIPS 2017, section 3.2.2. Ainslie et al., GQA, EMNLP 2023, section
        2.2. Dehghani et al., Scaling vision transformers to 22 billion parameters, ICML 2023, section 2 (qk_norm).
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        kv_heads: int | None = None,
        head_dim: int | None = None,
        key_dim: int | None = None,
        value_dim: int | None = None,
        projection_bias: bool = True,
        output_bias: bool = True,
        qk_norm: bool = False,
        query_norm_limit: float | None = None,
        key_norm_limit: float | None = None,
        dropout: float = 0.0,
        score: scores.Score | None = None,
        scale: float | None = None,
        temperature: float = 1.0,
        rotary: Rotary | None = None,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        kv_heads = heads if kv_heads is None else kv_heads
        if heads < 1 or kv_heads < 1 or heads % kv_heads:
            raise ValueError(f"kv_heads: expected a positive divisor of heads = {heads}, got {kv_heads}")
        if head_dim is None and dim % heads:
            raise ValueError(f"heads: expected a divisor of dim = {dim} (or head_dim given), got {heads}")
        if not 0.0 <= dropout < 1.0:
            raise ValueError(f"dropout: expected a probability in [0, 1), got {dropout}")
        self.dim = dim
        self.heads = heads
        self.kv_heads = kv_heads
        self.head_dim = dim // heads if head_dim is None else head_dim
        self.key_dim = dim if key_dim is None else key_dim
        self.value_dim = self.key_dim if value_dim is None else value_dim
        if rotary is not None and rotary.dim != self.head_dim:
            raise ValueError(f"rotary: expected one for head_dim = {self.head_dim}, got one for {rotary.dim}")
        self.dropout = float(dropout)
        self.score = scores.Dot() if score is None else score
        self.query_norm_limit = checked_limit("query_norm_limit", query_norm_limit)
        self.key_norm_limit = checked_limit("key_norm_limit", key_norm_limit)
        if isinstance(self.score, scores.Cosine) and (self.query_norm_limit or self.key_norm_limit):
            raise ValueError(
                "query_norm_limit, key_norm_limit: expected None with Cosine scores, which ignore norms, got "
                f"{query_norm_limit} and {key_norm_limit}"
            )
        self.scale = scale
        self.temperature = temperature
        self.backend = backend
        self.q_proj = nn.Linear(dim, heads * self.head_dim, bias=projection_bias)
        self.k_proj = nn.Linear(self.key_dim, kv_heads * self.head_dim, bias=projection_bias)
        self.v_proj = nn.Linear(self.value_dim, kv_heads * self.head_dim, bias=projection_bias)
        self.out_proj = nn.Linear(heads * self.head_dim, dim, bias=output_bias)
        self.q_norm = nn.LayerNorm(self.head_dim) if qk_norm else nn.Identity()
        self.k_norm = nn.LayerNorm(self.head_dim) if qk_norm else nn.Identity()
        self.rotary = rotary
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Xavier-uniform weights, biases 0."""
        for layer in (self.q_proj, self.k_proj, self.v_proj, self.out_proj):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def forward(
        self,
        query: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        *,
        mask: Mask | None = None,
        bias: Bias | None = None,
        need: Collection[str] = (),
        positions: Tensor | None = None,
        key_positions: Tensor | None = None,
    ) -> Tensor | AttentionOutput:
        """Attend from query to key.

        Args:
            query: where the queries come from.
            key: where the keys come from. Default: query (self-attention).
            value: where the values come from. Default: key.
            mask: who may attend to whom; its Padding rules out rows.
            bias: added to the logits.
            need: extra answers, as `attend` takes them; with any, the answer is an AttentionOutput whose out is this
                layer's.
            positions: for the rotary; of the queries, and in self-attention of the keys. Default there: 0, 1, 2, ...
            key_positions: for the rotary; of the keys in cross-attention.

        Shapes:
            query: (B, Lq, dim); key: (B, Lk, key_dim); value: (B, Lk, value_dim); out: (B, Lq, dim).
            positions: (Lq,) or (B, Lq); one more axis for a rotary of several axes.
        """
        key, value = self._sources(query, key, value)
        fence = fences(mask, query, key)
        q, k, v = self._project(query, key, value, fence)
        q = limit_norms(self.q_norm(q), self.query_norm_limit)
        k = limit_norms(self.k_norm(k), self.key_norm_limit)
        if self.rotary is not None:
            q, k = self._rotate(q, k, query is key, fence, positions, key_positions)
        elif positions is not None or key_positions is not None:
            raise ValueError("positions: expected None without a rotary, got a tensor")
        answer = attend(
            zero_rows(q, fence.queries).transpose(1, 2),
            zero_rows(k, fence.keys).transpose(1, 2),
            zero_rows(v, fence.keys).transpose(1, 2),
            mask=fence.mask,
            bias=bias,
            score=self.score,
            scale=self.scale,
            temperature=self.temperature,
            dropout_p=self.dropout if self.training else 0.0,
            backend=self.backend,
            need=need,  # type: ignore[arg-type]  # attend checks the names
        )
        attended = answer.out if isinstance(answer, AttentionOutput) else answer
        out = zero_rows(self.out_proj(attended.transpose(1, 2).flatten(2)), fence.queries)
        return answer._replace(out=out) if isinstance(answer, AttentionOutput) else out

    @classmethod
    def from_torch(cls, mha: nn.MultiheadAttention, *, backend: str = "auto") -> Self:
        """A layer with the weights (copied), dropout, device, dtype and mode of a torch.nn.MultiheadAttention.

        The result is batch first whatever `mha.batch_first` says, and its masks are True where attention is allowed.

        Args:
            mha: torch's layer; kdim, vdim and bias are taken over.
            backend: passed to `attend`.

        Raises:
            ValueError: mha has bias_k and bias_v or add_zero_attn (take TorchMultiheadAttention for those).
        """
        if mha.bias_k is not None or mha.bias_v is not None or mha.add_zero_attn:
            raise ValueError(
                "mha: expected one without add_bias_kv and add_zero_attn, got "
                f"add_bias_kv={mha.bias_k is not None}, add_zero_attn={mha.add_zero_attn}: take TorchMultiheadAttention"
            )
        layer = cls(
            mha.embed_dim,
            mha.num_heads,
            key_dim=mha.kdim,
            value_dim=mha.vdim,
            projection_bias=mha.in_proj_bias is not None,
            output_bias=mha.out_proj.bias is not None,
            dropout=mha.dropout,
            backend=backend,
        ).to(device=mha.out_proj.weight.device, dtype=mha.out_proj.weight.dtype)
        weights: tuple[Tensor, ...] = (mha.q_proj_weight, mha.k_proj_weight, mha.v_proj_weight)
        if mha._qkv_same_embed_dim:
            weights = mha.in_proj_weight.chunk(3)
        projections = (layer.q_proj, layer.k_proj, layer.v_proj)
        with torch.no_grad():
            for projection, weight in zip(projections, weights, strict=True):
                projection.weight.copy_(weight)
            if mha.in_proj_bias is not None:
                for projection, bias in zip(projections, mha.in_proj_bias.chunk(3), strict=True):
                    projection.bias.copy_(bias)
            layer.out_proj.weight.copy_(mha.out_proj.weight)
            if mha.out_proj.bias is not None:
                layer.out_proj.bias.copy_(mha.out_proj.bias)
        return layer.train(mha.training)

    def extra_repr(self) -> str:
        """What the projections do not show."""
        parts = [f"heads={self.heads}", f"head_dim={self.head_dim}"]
        if self.kv_heads != self.heads:
            parts.append(f"kv_heads={self.kv_heads}")
        if self.dropout:
            parts.append(f"dropout={self.dropout:g}")
        for name in ("query_norm_limit", "key_norm_limit"):
            if getattr(self, name) is not None:
                parts.append(f"{name}={getattr(self, name):g}")
        return ", ".join([*parts, f"score={self.score}", f"backend={self.backend}"])

    def _sources(self, query: Tensor, key: Tensor | None, value: Tensor | None) -> tuple[Tensor, Tensor]:
        """Fill in key and value and check the shapes of all three."""
        if key is None and value is not None:
            raise ValueError("key: expected a tensor where value is given, got None")
        key = query if key is None else key
        value = key if value is None else value
        for name, x, features in (
            ("query", query, self.dim),
            ("key", key, self.key_dim),
            ("value", value, self.value_dim),
        ):
            if x.dim() != 3 or x.shape[-1] != features:
                raise ValueError(f"{name}: expected (B, L, {features}), got {tuple(x.shape)}")
        if key.shape[0] != query.shape[0]:
            raise ValueError(f"key: expected the batch of query, {query.shape[0]}, got {key.shape[0]}")
        if value.shape[:2] != key.shape[:2]:
            raise ValueError(f"value: expected (B, Lk) of key, {tuple(key.shape[:2])}, got {tuple(value.shape[:2])}")
        return key, value

    def _project(self, query: Tensor, key: Tensor, value: Tensor, fence: Fences) -> tuple[Tensor, Tensor, Tensor]:
        """Clean the inputs and project them, self-attention in one matrix product: (B, L, heads, head_dim) each."""
        if query is key and key is value and self._fusible():
            layers = (self.q_proj, self.k_proj, self.v_proj)
            weight = torch.cat([layer.weight for layer in layers])
            bias = None if layers[0].bias is None else torch.cat([layer.bias for layer in layers])
            joint = nn.functional.linear(zero_rows(query, fence.rows()), weight, bias)
            shared_width = self.kv_heads * self.head_dim
            q, k, v = joint.split_with_sizes([self.heads * self.head_dim, shared_width, shared_width], dim=-1)
        else:
            q = self.q_proj(zero_rows(query, fence.queries))
            cleaned = zero_rows(key, fence.keys)
            k = self.k_proj(cleaned)
            v = self.v_proj(cleaned if value is key else zero_rows(value, fence.keys))
        own, shared = (self.heads, self.head_dim), (self.kv_heads, self.head_dim)
        rows, sources = q.shape[:2], k.shape[:2]
        return q.view(*rows, *own), k.view(*sources, *shared), v.view(*sources, *shared)

    def _fusible(self) -> bool:
        """Whether one matrix product may stand for the three projections: plain Linear layers without hooks."""
        projections = (self.q_proj, self.k_proj, self.v_proj)
        biases = {layer.bias is None for layer in projections}
        return len(biases) == 1 and all(type(layer) is nn.Linear and not _hooked(layer) for layer in projections)

    def _rotate(
        self, q: Tensor, k: Tensor, same: bool, fence: Fences, positions: Tensor | None, key_positions: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Rotate queries and keys by their positions; padded rows count as position 0."""
        assert self.rotary is not None
        if not same and (positions is None or key_positions is None):
            raise ValueError("positions: expected positions and key_positions for rotary cross-attention, got None")
        key_positions = positions if same and key_positions is None else key_positions
        q = self.rotary(q.transpose(1, 2), positions, keep=fence.queries).transpose(1, 2)
        k = self.rotary(k.transpose(1, 2), key_positions, keep=fence.keys).transpose(1, 2)
        return q, k


def _hooked(layer: nn.Module) -> bool:
    """Whether calling the layer does more than its forward."""
    forward = layer._forward_hooks or layer._forward_pre_hooks
    return bool(forward or layer._backward_hooks or layer._backward_pre_hooks)
