"""What stands on a residual branch: layer scale, drop path and the MLP."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


class LayerScale(nn.Module):
    """A learned factor per feature on a residual branch: out = gamma * x.

    Args:
        dim: features.
        initial: the value that every gamma starts from; small (1e-5) makes deep stacks start near the identity.

    Shapes:
        x: (..., dim); out: as x.

    References:
        Touvron et al., Going deeper with image transformers, ICCV 2021, section 2.
    """

    def __init__(self, dim: int, initial: float = 1e-5) -> None:
        super().__init__()
        self.initial = float(initial)
        self.gamma = nn.Parameter(torch.full((dim,), self.initial))

    def forward(self, x: Tensor) -> Tensor:
        """Scale every feature of x."""
        return x * self.gamma

    def extra_repr(self) -> str:
        """Features and initial value."""
        return f"{self.gamma.numel()}, initial={self.initial:g}"


class DropPath(nn.Module):
    """Drop a whole residual branch per item, in training: out_b = x_b * z_b / (1 - p), z_b ~ Bernoulli(1 - p).

    Args:
        p: the probability that an item's branch is dropped, in [0, 1).

    Shapes:
        x: (B, ...); out: as x.

    Raises:
        ValueError: p lies outside [0, 1).

    References:
        Huang et al., Deep networks with stochastic depth, ECCV 2016.
    """

    def __init__(self, p: float = 0.0) -> None:
        super().__init__()
        if not 0.0 <= p < 1.0:
            raise ValueError(f"drop_path: expected a probability in [0, 1), got {p}")
        self.p = float(p)

    def forward(self, x: Tensor) -> Tensor:
        """Drop items of x; the identity in evaluation and for p = 0."""
        if self.p == 0.0 or not self.training:
            return x
        kept = torch.rand(x.shape[:1] + (1,) * (x.dim() - 1), device=x.device) >= self.p
        return x * (kept.to(x.dtype) / (1.0 - self.p))

    def extra_repr(self) -> str:
        """The probability."""
        return f"p={self.p:g}"


class MLP(nn.Module):
    """The position-wise network of a block.

        plain: out = W2 act(W1 x + b1) + b2
        gated: out = W2 (act(W1 x + b1) * (V x + c)) + b2

    The gated form (GEGLU with nn.GELU, SwiGLU with nn.SiLU) has 2/3 of the hidden units, so both have the same number
    of weights to within rounding. W1 and V stand in one matrix, `expand`; its first half is W1.

    Args:
        dim: features in and out.
        ratio: hidden units per feature of the plain form.
        gated: take the gated form.
        dropout: probability on the hidden units and on the output, in training.
        activation: makes the activation module.
        bias: have b1, c and b2.

    Shapes:
        x: (..., dim); out: (..., dim).

    References:
        Shazeer, GLU variants improve transformer, 2020, equations 5 and 6.
    """

    def __init__(
        self,
        dim: int,
        ratio: float = 4.0,
        *,
        gated: bool = False,
        dropout: float = 0.0,
        activation: Callable[[], nn.Module] = nn.GELU,
        bias: bool = True,
    ) -> None:
        super().__init__()
        hidden = round(dim * ratio * (2 / 3 if gated else 1))
        if hidden < 1:
            raise ValueError(f"mlp_ratio: expected at least one hidden unit, got {ratio} x {dim} features")
        self.gated = gated
        self.expand = nn.Linear(dim, 2 * hidden if gated else hidden, bias=bias)
        self.activation = activation()
        self.dropout = nn.Dropout(dropout)
        self.contract = nn.Linear(hidden, dim, bias=bias)
        for layer in (self.expand, self.contract):
            nn.init.xavier_uniform_(layer.weight)
            if bias:
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the network to every row of x."""
        if self.gated:
            gate, value = self.expand(x).chunk(2, dim=-1)
            hidden = self.activation(gate) * value
        else:
            hidden = self.activation(self.expand(x))
        out: Tensor = self.dropout(self.contract(self.dropout(hidden)))
        return out
