r"""Further outcomes that training learns beside the target, so that the features serve more than its few positives.

.. math:: L = \sum_k \text{mean}_{n: a_{nk} \text{ known}} \ell_k(z_{nk}, a_{nk})

l_k is the cross-entropy where outcome k is 0 or 1 throughout the training samples, and half the squared error of the
standardised number else. Such outcomes may lie in the future of the target (a death after discharge, the length of the
stay): they are never inputs, and a prediction needs none of them.

References:
    Caruana, Baluja and Mitchell: Using the future to "sort out" the present: Rankprop and multitask learning for
    medical risk evaluation, NIPS 8 (1995).
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F


class AuxiliaryLoss(nn.Module):
    """The loss of A further outcomes, see the top of this file.

    Args:
        names: Of the outcomes, for messages.
    """

    binary: Tensor
    mean: Tensor
    deviation: Tensor

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self.names = tuple(names)
        self.register_buffer("binary", torch.zeros(len(self.names), dtype=torch.bool))
        self.register_buffer("mean", torch.zeros(len(self.names)))
        self.register_buffer("deviation", torch.ones(len(self.names)))

    def fit(self, table: np.ndarray) -> "AuxiliaryLoss":
        """See which outcomes are 0 and 1, and take mean and deviation of the others.

        Args:
            table: Of the training samples; NaN where unknown.

        Shapes:
            table: (N, A)

        Raises:
            ValueError: Another number of outcomes, or one that is known of no sample.
        """
        if table.ndim != 2 or table.shape[1] != len(self.names):
            raise ValueError(f"auxiliary: expected (N, {len(self.names)}), got {table.shape}")
        known = ~np.isnan(table)
        for name, some in zip(self.names, known.any(axis=0), strict=True):
            if not some:
                raise ValueError(f"auxiliary: expected an outcome of some training samples, got none of {name!r}")
        self.binary.copy_(torch.from_numpy((np.isin(table, (0, 1)) | ~known).all(axis=0)))
        spread = np.nanstd(table, axis=0)
        self.mean.copy_(torch.from_numpy(np.nanmean(table, axis=0)))
        self.deviation.copy_(torch.from_numpy(np.where(spread > 0, spread, 1.0)))
        return self

    def forward(self, logits: Tensor, table: Tensor) -> Tensor:
        """The loss of a batch; an outcome that is known of none of it adds nothing.

        Args:
            logits: Of the outcomes; for numbers, their standardised values.
            table: The outcomes; NaN where unknown.

        Shapes:
            logits, table: (B, A); answer: ()
        """
        known = ~table.isnan()
        truth = torch.where(known, table, 0.0)
        entropy = F.binary_cross_entropy_with_logits(logits, truth.clamp(0, 1), reduction="none")
        error = 0.5 * (logits - (truth - self.mean) / self.deviation).square()
        each = torch.where(self.binary, entropy, error) * known
        return (each.sum(0) / known.sum(0).clamp(min=1)).sum()
