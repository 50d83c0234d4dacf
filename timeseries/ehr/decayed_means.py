r"""A model that can be read: per head a fading mean of what a few codes measure.

.. math:: w_{hj} \propto \exp(u_{h c_j}) \, 2^{-(T - t_j) / \tau_h}, \qquad
   z = b + \sum_h a_h \sum_j w_{hj} v_j

The weights of head h say which codes it reads (u) and how fast they fade (its half-life tau_h); both are learned. One
softmax over all events, computed by `core.attend` with `core.TimeDecayBias`. Where the outcome depends on fading means,
the half-lives are those of the data.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import core
from core import masks

from ..events.samples import EventSamples


class PaddedEvents(NamedTuple):
    """Events of all samples, padded.

    Shapes:
        time (N, L) hours, 0 at the prediction time and below before it; code (N, L); value (N, L), 0 where there is
        none; length (N,)
    """

    time: Tensor
    code: Tensor
    value: Tensor
    length: Tensor


class DecayedMeans(nn.Module):
    """Logits from fading means, see the module's docstring.

    Args:
        codes: Size of the vocabulary.
        half_lives: Of each head, in hours, to start from.
        seed: Of the first preferences u.
    """

    def __init__(self, codes: int, half_lives: list[float], seed: int = 0) -> None:
        super().__init__()
        heads, generator = len(half_lives), torch.Generator().manual_seed(seed)
        self.preference = nn.Parameter(0.5 * torch.randn(heads, codes, generator=generator))
        self.decay = core.TimeDecayBias(heads, half_lives)
        self.weight = nn.Parameter(torch.ones(heads))
        self.bias = nn.Parameter(torch.zeros(()))

    def means(self, events: PaddedEvents) -> Tensor:
        """The fading mean of each head, (N, heads)."""
        N, L = events.time.shape
        heads = len(self.weight)
        key = self.preference.T[events.code].transpose(1, 2)[..., None]  # one feature: q k = u
        query = key.new_ones(N, heads, 1, 1)
        bias = self.decay(events.time.new_zeros(N, 1), events.time)
        value = events.value[:, None, :, None].expand(N, heads, L, 1)
        mask = masks.Padding(events.length)
        return core.attend(query, key, value, mask=mask, bias=bias, scale=1.0)[..., 0, 0]

    def forward(self, events: PaddedEvents) -> Tensor:
        """Logits (N,)."""
        return self.means(events) @ self.weight + self.bias

    @property
    def reads(self) -> Tensor:
        """Share of each code in a head's weights at equal age, (heads, codes)."""
        return self.preference.detach().softmax(1)


def padded(samples: EventSamples) -> PaddedEvents:
    """Events of all samples, padded to the longest."""
    lengths = samples.lengths
    place = np.repeat(np.arange(len(samples)), lengths), np.arange(len(samples.time))
    column = place[1] - np.repeat(samples.offsets[:-1], lengths)
    shape = (len(samples), max(int(lengths.max(initial=1)), 1))
    time, code = np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=np.int64)
    value = np.zeros(shape, dtype=np.float32)
    time[place[0], column] = samples.time - samples.prediction_time[place[0]]
    code[place[0], column] = samples.code
    value[place[0], column] = np.nan_to_num(samples.value)
    return PaddedEvents(*map(torch.from_numpy, (time, code, value, lengths)))


def fit_decayed_means(
    samples: EventSamples,
    half_lives: list[float],
    *,
    epochs: int = 30,
    batch_size: int = 500,
    lr: float = 0.05,
    seed: int = 0,
) -> DecayedMeans:
    """Fit by maximum likelihood on binary targets, with Adam and a cosine.

    Args:
        samples: Training samples with a binary outcome.
        half_lives: Of each head, in hours, to start from.
        epochs: Passes over the samples.
        batch_size: Samples a step.
        lr: Peak learning rate.
        seed: Of the start and the order.

    Raises:
        ValueError: The outcome is not binary.
    """
    if samples.kind != "binary":
        raise ValueError(f"samples: expected a binary outcome, got {samples.kind}")
    events, target = padded(samples), torch.from_numpy(samples.target)
    model = DecayedMeans(len(samples.codes), half_lives, seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    steps = epochs * -(-len(samples) // batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        for index in torch.randperm(len(samples), generator=generator).split(batch_size):
            logits = model(PaddedEvents(*(column[index] for column in events)))
            loss = F.binary_cross_entropy_with_logits(logits, target[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model


def matched(model: DecayedMeans, codes: list[int]) -> list[float]:
    """The half-life in hours of the head that reads each of these codes most."""
    half_lives = model.decay.half_lives.tolist()
    return [half_lives[int(model.reads[:, code].argmax())] for code in codes]
