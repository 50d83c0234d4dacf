r"""A vision transformer on core's layers, with the interface that timm gives its models.

.. math::
    z_0 = [c;\ \text{stem}(x)] + P, \qquad z_l = \text{block}_l(z_{l-1}), \qquad
    y = W\, \text{pool}(\text{norm}(z_L)) + b

with the class token c and the learned table P of positions, interpolated where the image has another size.

References:
    Dosovitskiy et al.: An image is worth 16x16 words, ICLR 2021, section 3.1, equations 1 to 4.
"""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from timm.layers import trunc_normal_
from timm.models import register_notrace_function
from timm.models._features import feature_take_indices
from timm.models._manipulate import checkpoint_seq
from torch import nn

from core import AttentionOutput
from core.layers import AttentionPooling

from .blocks import Block, GridPositions, norm_layer
from .options import SCORES, check_pool, pair
from .stems import STEMS, check_images

register_notrace_function(check_images)


class VisionTransformer(nn.Module):
    """Patches to tokens, tokens through blocks, one vector to classes.

    Args:
        img_size: Side of the images for which the table of positions is made (other sizes interpolate it), or
            (height, width); multiples of the patch size.
        patch_size: Side of a patch, the total stride of the stem.
        in_chans: Channels.
        num_classes: Classes; 0 leaves the head out and answers the pooled features.
        global_pool: "token" (class token), "avg" (mean of the patch tokens), "map" (one learned query attends to all
            tokens) or "" (none: the head acts on every token).
        embed_dim: Features per token.
        depth: Blocks.
        num_heads: Heads.
        mlp_ratio: Hidden units of the MLP per feature.
        class_token: Have a class token; always with "token", usually not with the others.
        stem: "patch", "overlap" or "convolution", see `stems`.
        qkv_bias: Have biases on queries, keys and values.
        qk_norm: Normalise queries and keys per head.
        query_norm_limit: Norm to which each head's longer queries are shortened; None for none.
        key_norm_limit: The same for the keys.
        score: "dot" or "cosine": how queries and keys are compared.
        scale: Factor of the score; None is (features per head) ** -0.5 for "dot" and 1 for "cosine".
        gated_mlp: GEGLU instead of the plain MLP.
        init_values: Initial layer scale; None for none.
        drop_rate: Dropout before the head.
        pos_drop_rate: Dropout after adding the positions.
        proj_drop_rate: Dropout on the blocks' branches.
        attn_drop_rate: Dropout on attention weights.
        drop_path_rate: Probability to drop the last block's branches; rises linearly from 0 at the first.
        backend: core's backend, "auto" or a name.

    Shapes:
        images: (B, in_chans, H, W)
        answer: (B, num_classes)

    Raises:
        ValueError: An argument is out of range; the message names it.
    """

    def __init__(
        self,
        img_size: int | Sequence[int] = 224,
        patch_size: int = 16,
        in_chans: int = 3,
        num_classes: int = 1000,
        global_pool: str = "token",
        embed_dim: int = 768,
        depth: int = 12,
        num_heads: int = 12,
        mlp_ratio: float = 4.0,
        class_token: bool = True,
        stem: str = "patch",
        qkv_bias: bool = True,
        qk_norm: bool = False,
        query_norm_limit: float | None = None,
        key_norm_limit: float | None = None,
        score: str = "dot",
        scale: float | None = None,
        gated_mlp: bool = False,
        init_values: float | None = None,
        drop_rate: float = 0.0,
        pos_drop_rate: float = 0.0,
        proj_drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        check_pool(global_pool, class_token)
        if stem not in STEMS:
            raise ValueError(f"stem: expected one of {', '.join(STEMS)}, got {stem!r}")
        if score not in SCORES:
            raise ValueError(f"score: expected one of {', '.join(SCORES)}, got {score!r}")
        compared: dict[str, Any] = {
            "qk_norm": qk_norm,
            "query_norm_limit": query_norm_limit,
            "key_norm_limit": key_norm_limit,
            "score": SCORES[score](),
            "scale": scale,
            "backend": backend,
        }
        self.num_classes, self.in_chans, self.global_pool = num_classes, in_chans, global_pool
        self.num_features = self.head_hidden_size = self.embed_dim = embed_dim
        self.num_heads = num_heads
        self.has_class_token = class_token
        self.num_prefix_tokens = int(class_token)
        self.dynamic_img_size = True
        self.grad_checkpointing = False
        self.patch_embed = STEMS[stem](patch_size, in_chans, embed_dim)
        self.patch_size = patch_size
        self.img_size = pair(img_size)
        if any(side < patch_size or side % patch_size for side in self.img_size):
            raise ValueError(f"img_size: expected positive multiples of the patch size {patch_size}, got {img_size}")
        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dim)) if class_token else None
        grid = (self.img_size[0] // patch_size, self.img_size[1] // patch_size)
        self.positions = GridPositions(grid, embed_dim, prefix=self.num_prefix_tokens)
        self.pos_drop = nn.Dropout(pos_drop_rate)
        self.blocks = nn.Sequential(
            *(
                Block(
                    embed_dim,
                    num_heads,
                    mlp_ratio=mlp_ratio,
                    gated_mlp=gated_mlp,
                    dropout=proj_drop_rate,
                    attention_dropout=attn_drop_rate,
                    drop_path=drop_path_rate * layer / max(depth - 1, 1),
                    layer_scale=init_values,
                    projection_bias=qkv_bias,
                    norm_layer=norm_layer,
                    **compared,
                )
                for layer in range(depth)
            )
        )
        self.feature_info = [
            {"module": f"blocks.{layer}", "num_chs": embed_dim, "reduction": patch_size} for layer in range(depth)
        ]
        self.norm = norm_layer(embed_dim)
        pooled = {**compared, "qk_norm": False}
        self.attn_pool = AttentionPooling(embed_dim, num_heads, **pooled) if global_pool == "map" else None
        self.head_drop = nn.Dropout(drop_rate)
        self.head = nn.Linear(embed_dim, num_classes) if num_classes > 0 else nn.Identity()
        self.init_weights()

    @torch.jit.ignore
    def init_weights(self) -> None:
        """Linear weights normal with standard deviation .02 (cut at 2), biases 0; class token normal, 1e-6."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        if self.cls_token is not None:
            nn.init.normal_(self.cls_token, std=1e-6)

    @torch.jit.ignore
    def no_weight_decay(self) -> set[str]:
        """Parameters that weight decay must leave alone."""
        names = {"positions.table"}
        if self.cls_token is not None:
            names.add("cls_token")
        if self.attn_pool is not None:
            names.add("attn_pool.queries")
        return names

    @torch.jit.ignore
    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Regular expressions that sort parameters by depth (for layer-wise learning rates)."""
        return {
            "stem": r"^cls_token|positions|patch_embed",
            "blocks": [(r"^blocks\.(\d+)", None), (r"^norm|attn_pool", (99999,))],
        }

    @torch.jit.ignore
    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute activations in backward instead of keeping them."""
        self.grad_checkpointing = enable

    @torch.jit.ignore
    def get_classifier(self) -> nn.Module:
        """The head."""
        return self.head

    @torch.jit.ignore
    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Put a new head on, and another pooling if named.

        Args:
            num_classes: Classes of the new head, 0 for none.
            global_pool: As in the class; "map" only where it was built with it.
        """
        if global_pool is not None:
            check_pool(global_pool, self.has_class_token)
            if global_pool == "map" and self.attn_pool is None:
                raise ValueError("global_pool: expected a model built with 'map', got one without attention pooling")
            if global_pool != "map":
                self.attn_pool = None
            self.global_pool = global_pool
        self.num_classes = num_classes
        like = self.positions.table
        head = nn.Linear(self.embed_dim, num_classes) if num_classes > 0 else nn.Identity()
        self.head = head.to(device=like.device, dtype=like.dtype).train(self.training)

    @torch.jit.ignore
    def set_input_size(self, img_size: int | Sequence[int]) -> None:
        """Make the table of positions one for another image size (a new parameter: before the optimiser)."""
        height, width = pair(img_size)
        if height % self.patch_size or width % self.patch_size:
            raise ValueError(f"img_size: expected multiples of the patch size {self.patch_size}, got {img_size}")
        self.positions.resize_((height // self.patch_size, width // self.patch_size))
        self.img_size = (height, width)

    def _embed(self, x: torch.Tensor) -> torch.Tensor:
        """Images (B, C, H, W) to tokens (B, prefix + N, D) with positions."""
        height, width = x.shape[2] // self.patch_size, x.shape[3] // self.patch_size
        x = self.patch_embed(x)
        if self.cls_token is not None:
            x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], dim=1)
        return self.pos_drop(self.positions(x, (height, width)))

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        """Normalised tokens of the last block, (B, prefix + N, D)."""
        x = self._embed(x)
        if self.grad_checkpointing and not torch.jit.is_scripting():  # type: ignore[attr-defined]
            x = checkpoint_seq(self.blocks, x)
        else:
            x = self.blocks(x)
        return self.norm(x)

    def pool(self, x: torch.Tensor) -> torch.Tensor:
        """One vector from the tokens, (B, D); the tokens themselves without pooling."""
        if self.attn_pool is not None:
            return self.attn_pool(x)
        if self.global_pool == "token":
            return x[:, 0]
        if self.global_pool == "avg":
            return x[:, self.num_prefix_tokens :].mean(dim=1)
        return x

    def forward_head(self, x: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        """Logits of the tokens, (B, num_classes); with `pre_logits` what the head would see."""
        x = self.head_drop(self.pool(x))
        return x if pre_logits else self.head(x)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of the images, (B, num_classes)."""
        return self.forward_head(self.forward_features(x))

    @torch.jit.ignore
    def attention(self, x: torch.Tensor, need: Sequence[str] = ("weights",)) -> tuple[AttentionOutput, ...]:
        """What each block's attention answers: weights (B, heads, prefix + N, prefix + N), entropy, lse.

        Args:
            x: Images, (B, C, H, W).
            need: Names of answers, as `core.attend` takes them.
        """
        x = self._embed(x)
        answers = []
        for block in self.blocks:
            answer = block(x, need=tuple(need))
            x = answer.out
            answers.append(answer)
        return tuple(answers)

    @torch.jit.ignore
    def forward_intermediates(
        self,
        x: torch.Tensor,
        indices: int | Sequence[int] | None = None,
        return_prefix_tokens: bool = False,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> Any:
        """Features of several blocks, as timm defines it.

        Args:
            x: Images, (B, C, H, W).
            indices: Which blocks: the last n for an int, all for None.
            return_prefix_tokens: Answer pairs (patch tokens, class tokens).
            norm: Normalise each with the final norm.
            stop_early: Leave out the blocks after the last wanted one.
            output_fmt: "NCHW" for maps, "NLC" for tokens.
            intermediates_only: Answer the list alone, without the final features.

        Returns:
            (final features, list of intermediates), or the list alone.
        """
        if output_fmt not in ("NCHW", "NLC"):
            raise ValueError(f"output_fmt: expected 'NCHW' or 'NLC', got {output_fmt!r}")
        wanted, last = feature_take_indices(len(self.blocks), indices)
        height, width = x.shape[2] // self.patch_size, x.shape[3] // self.patch_size
        x = self._embed(x)
        taken = []
        for layer, block in enumerate(self.blocks):
            if stop_early and layer > last:
                break
            x = checkpoint_seq([block], x) if self.grad_checkpointing else block(x)
            if layer in wanted:
                taken.append(self.norm(x) if norm else x)
        prefixes = [y[:, : self.num_prefix_tokens] for y in taken]
        features = [y[:, self.num_prefix_tokens :] for y in taken]
        if output_fmt == "NCHW":
            features = [y.transpose(1, 2).unflatten(2, (height, width)).contiguous() for y in features]
        answers = list(zip(features, prefixes, strict=True)) if return_prefix_tokens else features
        return answers if intermediates_only else (self.norm(x), answers)

    @torch.jit.ignore
    def prune_intermediate_layers(
        self, indices: int | Sequence[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Cut off what the named blocks do not need; answers their numbers."""
        wanted, last = feature_take_indices(len(self.blocks), indices)
        self.blocks = self.blocks[: last + 1]
        if prune_norm:
            self.norm = nn.Identity()
        if prune_head:
            self.reset_classifier(0, "")
        return wanted

    def __prepare_scriptable__(self) -> "VisionTransformer":
        """A shallow copy for TorchScript, so that this model keeps its own blocks."""
        if self.attn_pool is not None:
            raise ValueError("TorchScript: expected global_pool 'token', 'avg' or '', got 'map'")
        twin = copy.copy(self)
        twin._modules = dict(self._modules)
        twin.blocks = nn.Sequential(*(block.__prepare_scriptable__() for block in self.blocks))  # type: ignore[operator]
        return twin
