r"""Learned propagation: attention layers that carry a shock one hop each, linear in the shock.

.. math::
    x^{(0)} = u f, \quad
    x^{(k+1)}_i = s^{(k)} \odot u f_i
        + \sum_h W_h\, g_h(z_i) \sum_j \operatorname{softmax}_j\big(e_h(\ln a_{ij}, z_i, z_j)\big) V_h x^{(k)}_j,
    \quad y = w^\top x^{(D)}

Logits e and gates g are learned functions of the table: of ln a_ij on the edge, and of what each node knows of its own
edges, z = (ln row sum, ln column sum, ln 1 + degrees). The values carry the shock through matrices without bias, so
the answer to a sum of shocks is the sum of the answers, and a node more than D hops away from a shock answers exactly
0, whatever was learned. With `positive` weights a positive shock never has a negative answer.

A branch of global attention would break that guarantee: see `docs/supply-chains.md`.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import core
from core import biases, masks

from .economy import FlowEdges

NODE_FEATURES = 4


class Positive(nn.Module):
    """A matrix of positive (softplus) or free weights, without bias."""

    def __init__(self, inputs: int, outputs: int, positive: bool) -> None:
        super().__init__()
        self.positive = positive
        scale = 1 / inputs
        start = torch.full((outputs, inputs), scale) * torch.empty(outputs, inputs).uniform_(0.5, 1.5)
        self.raw = nn.Parameter(torch.log(torch.expm1(start)) if positive else start)

    @property
    def weight(self) -> Tensor:
        """The matrix, (outputs, inputs)."""
        return F.softplus(self.raw) if self.positive else self.raw

    def forward(self, x: Tensor) -> Tensor:
        """Answer x W'."""
        return F.linear(x, self.weight)


class LogFunction(nn.Module):
    """A linear map plus a small network with bounded units: beyond the data it goes on as the linear map does."""

    def __init__(self, inputs: int, outputs: int, hidden: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        self.first, self.second = nn.Linear(inputs, hidden), nn.Linear(hidden, outputs)
        nn.init.normal_(self.linear.weight, std=0.1)
        nn.init.zeros_(self.linear.bias)
        nn.init.normal_(self.second.weight, std=0.01)
        nn.init.zeros_(self.second.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) -> (..., outputs)."""
        return self.linear(x) + self.second(torch.tanh(self.first(x)))


class PropagationLayer(nn.Module):
    """One hop (the sum over heads of the equation above).

    Args:
        channels: Numbers that a node holds for each shock.
        heads: Attention heads.
        hidden: Units of the networks of logits and gates.
        positive: Keep the weights on the values positive.

    Shapes:
        x: (n, m, channels), m shocks
        index: (2, E), key above query
        log_coefficient: (E,)
        nodes: (n, 4)
        answer: (n, m, channels)
    """

    def __init__(self, channels: int, heads: int, hidden: int, positive: bool) -> None:
        super().__init__()
        self.channels, self.heads = channels, heads
        self.logit = LogFunction(1 + 2 * NODE_FEATURES, heads, hidden)
        self.gate = LogFunction(NODE_FEATURES, heads, hidden)
        self.value = Positive(channels, heads * channels, positive)
        self.join = Positive(heads * channels, channels, positive)

    def logits(self, index: Tensor, log_coefficient: Tensor, nodes: Tensor) -> Tensor:
        """Attention logits of the edges, (E, heads)."""
        return self.logit(torch.cat([log_coefficient[:, None], nodes[index[0]], nodes[index[1]]], dim=1))

    def forward(self, x: Tensor, index: Tensor, log_coefficient: Tensor, nodes: Tensor) -> Tensor:
        """What arrives from the neighbours."""
        n, m, channels = x.shape
        value = self.value(x).view(n, m, self.heads, channels).permute(2, 0, 1, 3).reshape(1, self.heads, n, -1)
        nothing = x.new_zeros(1, self.heads, n, 1)
        bias = biases.EdgeBias(index, self.logits(index, log_coefficient, nodes))
        out = core.attend(nothing, nothing, value, mask=masks.Edges(index), bias=bias)
        gated = out[0] * self.gate(nodes).exp().T[:, :, None]
        return self.join(gated.view(self.heads, n, m, channels).permute(1, 2, 0, 3).reshape(n, m, -1))


class Propagation(nn.Module):
    """D hops of learned propagation; see the equation at the top of this file.

    Args:
        hops: D, layers; what lies further away is not seen.
        heads: Attention heads in each layer.
        channels: Numbers that a node holds for each shock.
        hidden: Units of the networks of logits and gates.
        positive: Keep the weights on the values positive: needed where answers are compared on a log scale.
        shared: One layer used D times; else D layers.

    Shapes:
        edges: indices (2, E), key above query; a_ij (E,)
        shock: (n, m)
        answer: (n, m)

    Raises:
        ValueError: A size is below 1, or a shape does not fit.
    """

    def __init__(
        self,
        hops: int,
        heads: int = 2,
        channels: int = 4,
        hidden: int = 16,
        positive: bool = True,
        shared: bool = False,
    ) -> None:
        super().__init__()
        for name, value in (("hops", hops), ("heads", heads), ("channels", channels), ("hidden", hidden)):
            if value < 1:
                raise ValueError(f"{name}: expected at least 1, got {value}")
        self.hops = hops
        layers = [PropagationLayer(channels, heads, hidden, positive) for _ in range(1 if shared else hops)]
        self.layers = nn.ModuleList(layers)
        self.enter = Positive(1, channels, positive)
        self.again = nn.ModuleList(Positive(1, channels, positive) for _ in layers)
        self.leave = Positive(channels, 1, positive)

    def forward(self, edges: FlowEdges, shock: Tensor) -> Tensor:
        """The answer of every node to every shock."""
        if shock.dim() != 2:
            raise ValueError(f"shock: expected (n, m), got {tuple(shock.shape)}")
        index, nodes = edges.index, node_features(edges, len(shock)).to(shock.dtype)
        log_coefficient = edges.coefficient.log().to(shock.dtype)
        x = self.enter(shock[..., None])
        for hop in range(self.hops):
            k = hop % len(self.layers)
            x = self.again[k](shock[..., None]) + self.layers[k](x, index, log_coefficient, nodes)
        return self.leave(x)[..., 0]

    def no_weight_decay(self) -> set[str]:
        """Every parameter: decay would pull exponents and gains away from what the table needs."""
        return {name for name, _ in self.named_parameters()}


def node_features(edges: FlowEdges, n: int) -> Tensor:
    """What a node knows of its own edges: ln row sum, ln column sum, ln(1 + in-degree), ln(1 + out-degree), (n, 4).

    Row sums are over edges that arrive, column sums over edges that leave; ln of an empty sum is put at 0.
    """
    source, target = edges.index
    ones = torch.ones_like(edges.coefficient)
    zero = edges.coefficient.new_zeros(n)
    sums = [zero.index_add(0, at, edges.coefficient) for at in (target, source)]
    counts = [zero.index_add(0, at, ones) for at in (target, source)]
    logs = [torch.where(total > 0, total, 1.0).log() for total in sums]
    return torch.stack([*logs, *(count.log1p() for count in counts)], dim=1)
