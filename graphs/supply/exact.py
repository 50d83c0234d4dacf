r"""Supply chains as attention, exactly: D layers are the Leontief series cut after D hops.

.. math::
    x^{(0)} = f, \quad
    x^{(k+1)}_i = f_i + r_i \sum_{j} \operatorname{softmax}_j(\ln a_{ij})\, x^{(k)}_j, \quad r_i = \sum_j a_{ij}
    \;\Rightarrow\; x^{(D)} = \sum_{k=0}^{D} A^k f

The logits are ln a_ij on the edges; softmax divides by the row's sum r_i, the gate multiplies by it again, and the
input enters every layer anew. The gate is the exponential of the softmax's own log-sum-exp. Nothing is learned here.
"""

from torch import Tensor

import core
from core import biases, masks

from .economy import FlowEdges


def propagate(edges: FlowEdges, shock: Tensor, hops: int) -> Tensor:
    """sum_{k=0}^{D} A^k f by D layers of attention, for as many shocks at once as there are columns.

    Args:
        edges: As `Economy.edges` answers them; with flow "demand" shocks are final demand and the answer is total
            output, with "cost" they are value added per unit and the answer is prices.
        shock: f.
        hops: D; 0 answers the shock itself.

    Shapes:
        shock: (n,) or (n, m)
        answer: as shock

    Raises:
        ValueError: hops is negative, or an edge leads to a missing node.
    """
    if hops < 0:
        raise ValueError(f"hops: expected at least 0, got {hops}")
    if shock.dim() not in (1, 2):
        raise ValueError(f"shock: expected (n,) or (n, m), got {tuple(shock.shape)}")
    columns = shock if shock.dim() == 2 else shock[:, None]
    state = columns
    for _ in range(hops):
        state = columns + hop(edges, state)
    return state if shock.dim() == 2 else state[:, 0]


def hop(edges: FlowEdges, state: Tensor) -> Tensor:
    """A x by one attention: weights a_ij / r_i, times the gate r_i.

    Shapes:
        state: (n, m)
        answer: (n, m)
    """
    n = len(state)
    nothing = state.new_zeros(1, 1, n, 1)
    answer = core.attend(
        nothing,
        nothing,
        state[None, None],
        mask=masks.Edges(edges.index),
        bias=biases.EdgeBias(edges.index, edges.coefficient.to(state.dtype).log()),
        need=("lse",),
    )
    assert answer.lse is not None
    gate = answer.lse[0, 0].exp()  # r_i; 0 for a sector that sells to nobody
    return gate[:, None] * answer.out[0, 0]
