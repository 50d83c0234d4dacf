"""What the query attends to, and whether that explains the prediction: `core.analysis.faithfulness` on event models.

The units are the tokens of a sample. The log-odds are those of the events' branch: the summary features hold the same
measurements, and would stand in for a token that is left out.
"""

from collections.abc import Sequence
from typing import Unpack

import numpy as np
import torch
from torch import Tensor, nn

from core.analysis import FaithfulnessReport
from core.analysis.faithfulness import Positions, SearchOptions, faithfulness

from ..events.samples import EventSamples
from .figures import Timeline
from .model.model import EventModel
from .model.tokens import TokenBatch
from .task import EventClassificationTask


class EventsBranch(nn.Module):
    """Log-odds of the events' branch from embedded tokens, with tokens left out.

    Args:
        model: With attention.
        batch: The samples; their tokens may be left out, the query stays.
    """

    time: Tensor
    keep: Tensor

    def __init__(self, model: EventModel, batch: TokenBatch) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("time", batch.time, persistent=False)
        self.register_buffer("keep", batch.keep, persistent=False)

    @property
    def tokens(self) -> Tensor:
        """Which positions are tokens and not the query or padding, (B, L)."""
        tokens = self.keep.clone()
        tokens[:, -1] = False
        return tokens

    def forward(self, x: Tensor, keep: Tensor | None = None) -> Tensor:
        """Logits (B, K) of embedded tokens (B, L, dim), without those where `keep` (B, L) is False."""
        there = self.keep.clone() if keep is None else keep & self.keep
        there[:, -1] = True
        states, _ = self.model.encode(x, self.time, there)
        return self.model.event_head(self.model.dropout(self.model.event_state(states, there)))


def attention_faithfulness(
    task: EventClassificationTask,
    samples: EventSamples,
    *,
    other_seeds: Sequence[EventClassificationTask] = (),
    seed: int = 0,
    **options: Unpack[SearchOptions],
) -> FaithfulnessReport:
    """Ask whether the attention of the query in the last block explains the events' branch.

    Args:
        task: Trained, with attention and a binary outcome.
        samples: Not trained on; those without an event are left out.
        other_seeds: Tasks of the same recipe.
        seed: Of every draw.
        options: Of `core.analysis.faithfulness`.

    Raises:
        ValueError: The model is a GRU.
    """
    if task.model.backbone != "attention":
        raise ValueError(f"task: expected a model with attention, got {task.model.backbone}")
    samples = samples.select(samples.lengths > 0)
    batch = task.encode(samples).tokens.batch(np.arange(len(samples)))
    branch = EventsBranch(task.model, batch).eval()
    with torch.no_grad():
        x = task.model.embed_tokens(batch)
    return faithfulness(
        branch,
        x,
        Positions(baseline="mask", valid=branch.tokens),
        call=lambda model, inputs, keep: model(inputs, keep),
        row=x.shape[1] - 1,
        other_seeds=[EventsBranch(other.model, batch).eval() for other in other_seeds],
        seed=seed,
        **options,
    )


@torch.no_grad()
def timeline(task: EventClassificationTask, samples: EventSamples, n: int, codes: Sequence[str]) -> Timeline:
    """Sample n as the query of a model with a binary outcome sees it.

    Args:
        task: Trained, with attention.
        samples: In the model's vocabulary.
        n: Which one; it has an event.
        codes: The rows of the picture; events of others are not drawn.
    """
    one = samples.select([n])
    encoded = task.encode(one)
    batch = encoded.tokens.batch(np.array([0]))
    branch = EventsBranch(task.model, batch).eval()
    x = task.model.embed_tokens(batch)
    _, layers = task.model.encode(x, batch.time, batch.keep, need=("weights",))
    asked = layers[-1].weights
    assert asked is not None  # as they were asked for
    weights = asked[0, :, -1, :-1]
    whole = branch(x)[0, 0]
    T = x.shape[1] - 1
    left_out = ~torch.eye(T + 1, dtype=torch.bool)[:T]
    each = EventsBranch(task.model, batch._replace(time=batch.time.expand(T, -1), keep=batch.keep.expand(T, -1)))
    effect = whole - each.eval()(x.expand(T, -1, -1), left_out)[:, 0]
    rows = {samples.codes.index(code): row for row, code in enumerate(codes)}
    shown = np.isin(batch.event_code.numpy(), list(rows))
    probability = float(task.probabilities(task(encoded, torch.tensor([0])).logits)[0])
    return Timeline(
        name=one.ids()[0],
        probability=probability,
        target=float(one.target[0]),
        time=batch.time[0, :-1].numpy(),
        width=np.array([task.tokenizer.widths[scale] for scale in batch.scale[:-1].tolist()], dtype=np.float64),
        attention=weights.numpy(),
        effect=effect.numpy(),
        events=batch.event_time.numpy()[shown],
        code=np.array([rows[int(code)] for code in batch.event_code.numpy()[shown]], dtype=np.int64),
        score=np.where(batch.event_has_value, batch.event_score, np.nan)[shown],
        codes=tuple(codes),
    )


def most_frequent(samples: EventSamples, n: int, most: int = 16) -> list[str]:
    """The codes that sample n has most often, in the order of the vocabulary."""
    part = samples.code[samples.offsets[n] : samples.offsets[n + 1]]
    counts = np.bincount(part, minlength=len(samples.codes))
    chosen = [code for code in np.argsort(-counts, kind="stable")[:most] if counts[code]]
    return [samples.codes[code] for code in sorted(chosen)]
