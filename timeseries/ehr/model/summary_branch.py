r"""The summary features as a network takes them, and the branch that reads them.

.. math:: u = W_2 \, \text{GELU}(W_1 [\rho(z); z; s; m]), \qquad
   \rho_k(z) = (1 - m) \, \text{clip}\Big(\frac{z - a_k}{a_{k+1} - a_k}, 0, 1\Big)

z are the normal scores of the features, s their standardised values (which keep the distances that ranks lose), m is 1
where one is missing, and a_1 < a_2 < ... are knots: with rho a linear layer is piecewise linear in each feature.

References:
    Gorishniy et al.: On embeddings for numerical features in tabular deep learning, NeurIPS 2022, section 3.2.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from .values import KNOTS, NormalScores, check_knots


def summary_columns(scores: NormalScores, table: np.ndarray) -> Tensor:
    """Normal scores, standardised values and what is missing of a table, by quantiles that were fitted before.

    Shapes:
        table: (N, F), NaN where there is nothing; answer: (N, 3, F) float32
    """
    missing = np.isnan(table).astype(np.float32)
    return torch.from_numpy(np.stack([scores.score_columns(table), scores.standardise_columns(table), missing], 1))


class SummaryBranch(nn.Module):
    """A multilayer perceptron on piecewise linear features, see the top of this file.

    Args:
        summaries: How many features there are.
        dim: Of the answer.
        hidden: Units.
        dropout: On the features and the hidden units.
        knots: Scores a_k at which the features bend, ascending.
    """

    knots: Tensor

    def __init__(
        self, summaries: int, dim: int, hidden: int = 64, dropout: float = 0.3, knots: Sequence[float] = KNOTS
    ) -> None:
        super().__init__()
        self.summaries = summaries
        self.register_buffer("knots", check_knots(knots), persistent=False)
        self.mlp = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear((len(knots) + 2) * summaries, hidden),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, dim),
        )

    def forward(self, summary: Tensor) -> Tensor:
        """Read the features.

        Args:
            summary: Answer of `summary_columns`.

        Shapes:
            summary: (B, 3, F); out: (B, dim)

        Raises:
            ValueError: The shape is another.
        """
        if summary.ndim != 3 or summary.shape[1:] != (3, self.summaries):
            raise ValueError(f"summary: expected (B, 3, {self.summaries}), got {tuple(summary.shape)}")
        score, _, missing = summary.unbind(1)
        ramps = ((score[..., None] - self.knots[:-1]) / self.knots.diff()).clamp(0, 1) * (1 - missing[..., None])
        return self.mlp(torch.cat([ramps.flatten(1), summary.flatten(1)], 1))
