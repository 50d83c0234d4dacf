r"""Measured values as a network takes them: normal scores by the quantiles of training, and their embedding.

.. math:: z = \Phi^{-1}(F_c(v)), \qquad e_c(z) = \sum_k w_k(z) E_{c,k}

F_c is the distribution function of code c in the training data, linear between its quantiles; w_k are the two weights
of linear interpolation between the knots next to z.

References:
    Gorishniy et al.: On embeddings for numerical features in tabular deep learning, NeurIPS 2022 (piecewise linear and
    periodic embeddings). Conover: Practical nonparametric statistics, 3rd ed. 1999, section 5.10 (normal scores).
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

KNOTS = (-2.6, -1.3, -0.6, 0.0, 0.6, 1.3, 2.6)
"""Normal scores at which piecewise linear functions of a value bend."""


class NormalScores(nn.Module):
    """Normal scores of values, by the quantiles of the data that it was fitted on.

        z = Phi^-1(clip(F(v), tail, 1 - tail))

    Where several quantiles are equal, F is the middle of its jump. A feature without data, and every missing value, has
    score 0; whether it is missing is for the caller to say. The quantiles are buffers: they go into the checkpoint.

    Args:
        features: How many there are (codes, statics, summaries).
        points: Quantiles kept of each, evenly spaced in probability, the extremes among them.
        tail: Probability at which scores are cut: .005 cuts them at 2.58 standard deviations.
    """

    quantiles: Tensor
    known: Tensor

    def __init__(self, features: int, points: int = 101, tail: float = 0.005) -> None:
        super().__init__()
        if points < 2:
            raise ValueError(f"points: expected at least 2, got {points}")
        if not 0 < tail < 0.5:
            raise ValueError(f"tail: expected 0 < tail < .5, got {tail}")
        self.features, self.points, self.tail = features, points, tail
        self.register_buffer("quantiles", torch.zeros(features, points, dtype=torch.float64))
        self.register_buffer("known", torch.zeros(features, dtype=torch.bool))

    def fit(self, values: np.ndarray, feature: np.ndarray) -> "NormalScores":
        """Take the quantiles of each feature from training data.

        Args:
            values: Numbers; NaN is left out.
            feature: Which feature each is of.

        Shapes:
            values, feature: (E,)
        """
        at = torch.linspace(0, 1, self.points, dtype=torch.float64).numpy()
        for k, own in _by_feature(feature, self.features):
            given = values[own].astype(np.float64)
            given = given[~np.isnan(given)]
            self.known[k] = len(given) > 0
            if len(given):
                self.quantiles[k] = torch.from_numpy(np.quantile(given, at))
        return self

    def fit_columns(self, table: np.ndarray) -> "NormalScores":
        """The same for a table (N, features)."""
        return self.fit(table.ravel(), np.tile(np.arange(self.features), len(table)))

    def score(self, values: np.ndarray, feature: np.ndarray) -> np.ndarray:
        """Normal scores (E,) of values (E,), each of the feature named beside it."""
        scores = np.zeros(len(values), dtype=np.float32)
        at = np.linspace(0, 1, self.points)
        quantiles, known = self.quantiles.cpu().numpy(), self.known.cpu().numpy()
        for k, own in _by_feature(feature, self.features):
            given = values[own].astype(np.float64)
            there = ~np.isnan(given)
            if not known[k] or not there.any():
                continue
            row, v = quantiles[k], given[there]
            below = np.interp(v, row, at)
            above = 1 - np.interp(-v, -row[::-1], at)
            p = np.clip((below + above) / 2, self.tail, 1 - self.tail)
            scores[own[there]] = torch.special.ndtri(torch.from_numpy(p)).numpy()
        return scores

    def score_columns(self, table: np.ndarray) -> np.ndarray:
        """Normal scores of a table (N, features)."""
        feature = np.tile(np.arange(self.features), len(table))
        return self.score(table.ravel(), feature).reshape(table.shape)

    def standardise_columns(self, table: np.ndarray) -> np.ndarray:
        """Distances of a table's values (N, features) from the mean in standard deviations; 0 where there is none.

        Values are cut at the second and the last but one quantile, as outliers of a laboratory reach far; mean and
        standard deviation are those of the quantiles so cut.
        """
        quantiles = self.quantiles.cpu().numpy()
        low, high = quantiles[:, 1], quantiles[:, -2]
        inner = quantiles.clip(low[:, None], high[:, None])
        spread = inner.std(axis=1)
        distance = (table.clip(low, high) - inner.mean(axis=1)) / np.where(spread > 0, spread, 1.0)
        there = ~np.isnan(table) & self.known.cpu().numpy()
        return np.where(there, distance, 0.0).astype(np.float32)

    def extra_repr(self) -> str:
        """Features and quantiles."""
        return f"features={self.features}, points={self.points}, fitted={int(self.known.sum())}"


def _by_feature(feature: np.ndarray, features: int) -> list[tuple[int, np.ndarray]]:
    """For each feature that occurs, the places where it does."""
    order = np.argsort(feature, kind="stable")
    ends = np.searchsorted(feature[order], np.arange(features + 1))
    return [(k, order[ends[k] : ends[k + 1]]) for k in range(features) if ends[k + 1] > ends[k]]


def check_knots(knots: Sequence[float]) -> Tensor:
    """Knots as float32; ValueError unless there are two or more in ascending order."""
    if len(knots) < 2 or any(b <= a for a, b in pairwise(knots)):
        raise ValueError(f"knots: expected at least two numbers in ascending order, got {list(knots)}")
    return torch.tensor(knots, dtype=torch.float32)


class PiecewiseLinearEmbedding(nn.Module):
    """Tokens as sums over their entries: x_t = sum over entries e of t of E[c_e](z_e) + log(1 + n_e) C[c_e].

    E[c](z) is linear between the knots and constant beyond the last ones; an entry without a value has a row of its
    own. n is how many events the entry stands for.

    Args:
        codes: Size of the vocabulary.
        dim: Features of a token.
        knots: Scores at which the embedding bends, ascending.
    """

    knots: Tensor

    def __init__(self, codes: int, dim: int, knots: Sequence[float] = KNOTS) -> None:
        super().__init__()
        self.codes, self.dim = codes, dim
        self.register_buffer("knots", check_knots(knots), persistent=False)
        self.rows = len(knots) + 2  # of a code: its knots, "no value", the count
        self.table = nn.Parameter(torch.empty(codes * self.rows, dim))
        nn.init.normal_(self.table, std=0.2)
        with torch.no_grad():
            self.table.unflatten(0, (codes, self.rows))[:, -1] = 0

    def no_weight_decay(self) -> set[str]:
        """The table is an embedding."""
        return {"table"}

    def forward(self, code: Tensor, score: Tensor, has_value: Tensor, count: Tensor, starts: Tensor) -> Tensor:
        """Embed tokens.

        Args:
            code: Of each entry; the entries of a token stand together.
            score: Normal score of each entry.
            has_value: Whether the entry has one.
            count: Events that the entry stands for; 0 takes the entry out.
            starts: Where the entries of each token begin.

        Shapes:
            code, score, has_value, count: (E,); starts: (T,); out: (T, dim).
        """
        z = score.clamp(self.knots[0], self.knots[-1])
        left = torch.bucketize(z, self.knots[1:-1])
        share = (z - self.knots[left]) / (self.knots[left + 1] - self.knots[left])
        there = (count > 0).to(z.dtype)
        base, last = code * self.rows, self.rows - 1
        rows = torch.stack([base + torch.where(has_value, left, last - 1), base + left + 1, base + last], 1)
        upper = torch.where(has_value, share, torch.zeros_like(share))
        weights = torch.stack([(1 - upper) * there, upper * there, count.log1p()], 1)
        return F.embedding_bag(rows.flatten(), self.table, starts * 3, mode="sum", per_sample_weights=weights.flatten())


class FourierEmbedding(nn.Module):
    """Tokens as sums over their entries: x_t = sum over e of B[c_e] + S[c_e] * W phi(z_e) + log(1 + n_e) C[c_e].

    phi(z) = (z, cos 2 pi f_1 z, sin 2 pi f_1 z, ...) with fixed frequencies; an entry without a value has phi = 0 and a
    row of its own. The arguments of `forward` are those of `PiecewiseLinearEmbedding`.

    Args:
        codes: Size of the vocabulary.
        dim: Features of a token.
        frequencies: How many; they double from .0625 per standard deviation on.
    """

    frequencies: Tensor

    def __init__(self, codes: int, dim: int, frequencies: int = 4) -> None:
        super().__init__()
        if frequencies < 1:
            raise ValueError(f"frequencies: expected at least 1, got {frequencies}")
        self.codes, self.dim = codes, dim
        self.register_buffer("frequencies", 0.0625 * 2.0 ** torch.arange(frequencies), persistent=False)
        self.code = nn.Embedding(3 * codes, dim)  # with a value, without one, count
        self.scale = nn.Embedding(codes, dim)
        self.project = nn.Linear(2 * frequencies + 1, dim, bias=False)
        nn.init.normal_(self.code.weight, std=0.2)
        nn.init.ones_(self.scale.weight)
        with torch.no_grad():
            self.code.weight[2 * codes :] = 0

    def forward(self, code: Tensor, score: Tensor, has_value: Tensor, count: Tensor, starts: Tensor) -> Tensor:
        """Embed tokens, see `PiecewiseLinearEmbedding.forward`."""
        angle = 2 * math.pi * score[:, None] * self.frequencies
        phi = torch.cat([score[:, None], angle.cos(), angle.sin()], 1) * has_value[:, None].to(score.dtype)
        entry = self.code(code + torch.where(has_value, 0, self.codes)) + self.scale(code) * self.project(phi)
        entry = entry * (count > 0).to(entry.dtype)[:, None]
        entry = entry + count.log1p()[:, None] * self.code(code + 2 * self.codes)
        token = torch.bucketize(torch.arange(len(code), device=code.device), starts, right=True) - 1
        return entry.new_zeros(len(starts), self.dim).index_add(0, token, entry)


EMBEDDINGS = {"piecewise": PiecewiseLinearEmbedding, "fourier": FourierEmbedding}
