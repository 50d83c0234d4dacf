r"""Learning from the events themselves: what will be measured in the next hours, and with what result.

.. math:: L = \text{mean}_{(t, c) \in M} (\hat z_{tc} - z_{tc})^2 + \text{mean}_{t, c} \text{BCE}(\hat m_{tc}, m_{tc})

z_tc is the mean normal score of code c in the `hours` after token t, m_tc whether c occurs there at all, M the pairs
where a value does. A token knows the events up to its time and its window begins after it, so that nothing leaks; the
query has no window.

References:
    Tipirneni and Reddy: Self-supervised transformer for sparse and irregularly sampled multivariate clinical time
    series (STraTS), TKDD 2022, section 3.4 (forecasting a masked window).
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.training import read_checkpoint, warmup_cosine_factor

from ...events.vocabulary import Vocabulary
from .model import EventModel
from .tokens import TokenBatch

ENCODER = ("embed", "token_norm", "scale", "time", "encoder", "decay")
"""The parts of `EventModel` that pretraining trains."""


class NextWindow(NamedTuple):
    """What follows each token.

    Shapes:
        score, has_value, present: (B, L, codes); valid: (B, L), the tokens that have a window
    """

    score: Tensor
    has_value: Tensor
    present: Tensor
    valid: Tensor


def next_window(batch: TokenBatch, hours: float, codes: int) -> NextWindow:
    """The events of (t, t + hours] after each token at time t.

    Args:
        batch: Tokens and single events.
        hours: Length of the window.
        codes: Size of the vocabulary without statics; codes beyond it are left out.
    """
    B, L = batch.keep.shape
    valid = batch.keep & (batch.time < 0)
    mine = torch.zeros(B, L, codes, device=batch.time.device)
    total, present = mine.clone(), mine.clone()
    after = batch.event_time[:, None] - batch.time[batch.event_item]  # (M, L)
    event, token = ((after > 0) & (after <= hours) & valid[batch.event_item]).nonzero(as_tuple=True)
    event, token = _only(event, token, batch.event_code[event] < codes)
    place = (batch.event_item[event] * L + token) * codes + batch.event_code[event]
    valued = batch.event_has_value[event].to(total.dtype)
    total.view(-1).index_add_(0, place, batch.event_score[event] * valued)
    mine.view(-1).index_add_(0, place, valued)
    present.view(-1).index_fill_(0, place, 1.0)
    return NextWindow(total / mine.clamp(min=1), mine > 0, present, valid)


def _only(event: Tensor, token: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
    return event[chosen], token[chosen]


class Forecast(nn.Module):
    """The head that predicts the next window from the state of a token, and its loss.

    Args:
        dim: Features of a state.
        codes: Codes to predict.
        hours: Length of the window.
    """

    def __init__(self, dim: int, codes: int, hours: float) -> None:
        super().__init__()
        if not hours > 0:
            raise ValueError(f"hours: expected a positive length, got {hours}")
        self.codes, self.hours = codes, hours
        self.head = nn.Linear(dim, 2 * codes)

    def forward(self, model: EventModel, batch: TokenBatch) -> tuple[Tensor, int]:
        """The loss, and the number of tokens that it is a mean over (0: there was nothing to predict)."""
        target = next_window(batch, self.hours, self.codes)
        states, _ = model.encode(model.embed_tokens(batch), batch.time, batch.keep)
        score, present = self.head(states[target.valid]).chunk(2, dim=1)
        if len(score) == 0:
            return states.sum() * 0, 0
        occurs = F.binary_cross_entropy_with_logits(present, target.present[target.valid])
        known = target.has_value[target.valid]
        if not known.any():
            return occurs, len(score)
        error = (score - target.score[target.valid])[known].square().mean()
        return occurs + error, len(score)


def idle_parameters(model: EventModel, forecast: Forecast, pretraining: bool) -> Iterator[nn.Parameter]:
    """The parameters that a phase does not use: the model's heads in the pretraining, the forecast's after it."""
    if not pretraining:
        yield from forecast.parameters()
        return
    for name, parameter in model.named_parameters():
        if name.split(".")[0] not in ENCODER:
            yield parameter


def two_hills(step: int, *, first: int, total: int, warm: tuple[int, int], ratio: float, floor: float) -> float:
    """Factor of the learning rate: warm-up and cosine for the pretraining, and once more for what comes after it.

    Args:
        step: Now, 0 .. total - 1.
        first: Steps of the pretraining.
        total: Steps altogether.
        warm: Steps of each of the two warm-ups.
        ratio: Height of the first hill; the second one's is 1.
        floor: Where the second one ends.
    """
    if step < first:
        return ratio * warmup_cosine_factor(step, first, warm[0], 0.0)
    return warmup_cosine_factor(step - first, total - first, warm[1], floor)


def take_encoder(model: EventModel, path: str, vocabulary: Vocabulary) -> None:
    """Take the tokens' embedding, the decay and the encoder from a checkpoint of `EventClassificationTask`.

    Args:
        model: Whose heads stay as they are.
        path: Of the checkpoint.
        vocabulary: Of the model.

    Raises:
        ValueError: The checkpoint is of another vocabulary or architecture.
    """
    checkpoint = read_checkpoint(path)
    stored = checkpoint.get("hyper_parameters", {})
    theirs = stored.get("codes"), stored.get("static_names")
    if theirs != (list(vocabulary.codes), list(vocabulary.static_names)):
        raise ValueError(
            f"pretrained: expected a checkpoint with the codes and statics of the data, got another: {path}"
        )
    found = {k.removeprefix("model."): v for k, v in checkpoint["state_dict"].items() if k.startswith("model.")}
    own = model.state_dict()
    for name in (name for name in own if name.split(".")[0] in ENCODER):
        if name not in found or found[name].shape != own[name].shape:
            raise ValueError(f"pretrained: expected {name} of shape {tuple(own[name].shape)} in {path}")
        own[name] = found[name]
    model.load_state_dict(own)
