"""Two models built by hand: in one attention explains the output exactly, in the other it does not at all.

Both are the same module, an `AttentionPooling` whose pooled vector is brought to length 1 and then sharpened:

    w = softmax(a),  v = sum_u w_u g(t_u) e(t_u),  logits = sharpness * v / |v|

Token u carries its attention logit a_u and its type t_u, one of T, each once in an item; e(t) is the unit vector of the
type, and the class of the same number. Only the gains g differ:

- faithful: g = 1. Values have one length, so the output is a one-to-one function of the weights, and the token with the
  largest weight names the class.
- unfaithful: g(0) = 0, g(1) = g(2) = 1000, else 1. Type 0 is loud: it has by far the largest weight, and its value is
  projected to zero. Of types 1 and 2 one is present, with the smallest weight of all; it names the class.

Because v is brought to length 1, removing the loud token changes nothing at all, although the other weights then grow.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...layers import AttentionPooling
from ...masks import Padding

LOUD, DECISIVE = 0, (1, 2)


class PlantedModel(nn.Module):
    """The model of this file.

    Args:
        faithful: which of the two.
        types: T, at least 5.
        sharpness: length of the logits.

    Shapes:
        x: (B, L, 1 + T): the attention logit, then the type one-hot.
        keep: (B, L), bool; tokens that exist.
        out: (B, T).
    """

    def __init__(self, faithful: bool, types: int = 8, sharpness: float = 8.0) -> None:
        super().__init__()
        if types < 5:
            raise ValueError(f"types: expected at least 5, got {types}")
        self.faithful, self.types, self.sharpness = faithful, types, sharpness
        dim = 1 + types
        self.pool = AttentionPooling(dim)
        attention = self.pool.attention
        gains = torch.ones(types)
        if not faithful:
            gains[LOUD] = 0.0
            gains[list(DECISIVE)] = 1000.0
        with torch.no_grad():
            for layer in (attention.q_proj, attention.k_proj, attention.v_proj, attention.out_proj):
                layer.weight.zero_()
                layer.bias.zero_()
            self.pool.queries.zero_()
            attention.q_proj.bias[0] = dim**0.5  # undone by the scale of the dot product
            attention.k_proj.weight[0, 0] = 1.0
            attention.v_proj.weight[1:, 1:] = gains.diag()
            attention.out_proj.weight.copy_(torch.eye(dim))

    def forward(self, x: Tensor, keep: Tensor | None = None) -> Tensor:
        """Logits of the types."""
        pooled = self.pool(x, mask=None if keep is None else Padding(keep))[:, 1:]
        out: Tensor = self.sharpness * pooled / pooled.norm(dim=1, keepdim=True).clamp(min=1e-12)
        return out


def planted_items(model: PlantedModel, items: int, generator: torch.Generator) -> Tensor:
    """Items for the model, (B, L, 1 + T): L = T tokens for the faithful one, T - 1 for the other.

    Attention logits are normal with mean 0 and standard deviation 1; in the unfaithful model's items those of the
    fillers have .5, that of the loud token is 4 and that of the decisive one -2.

    Args:
        model: which items are made for.
        items: B.
        generator: draws types, order and logits.
    """
    T = model.types
    order = torch.rand(items, T, generator=generator).argsort(1)
    logits = torch.randn(items, T, generator=generator)
    if not model.faithful:
        logits = torch.where(order == LOUD, 4.0, logits / 2)
        absent = torch.tensor(DECISIVE)[torch.randint(2, (items,), generator=generator)]
        logits = torch.where((order == DECISIVE[0]) | (order == DECISIVE[1]), -2.0, logits)
        keep = order != absent[:, None]
        order, logits = order[keep].view(items, T - 1), logits[keep].view(items, T - 1)
    return torch.cat([logits[..., None], nn.functional.one_hot(order, T).float()], -1)


def call_planted(model: nn.Module, x: Tensor, keep: Tensor | None) -> Tensor:
    """How the tests call the model: the units that are left out are masked."""
    out: Tensor = model(x, keep)
    return out
