"""A task that encodes samples: all of a data module's once, those of other batches batch by batch."""

from abc import ABC
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from core.layers import evaluating

from ..events.batches import EventBatch, unpad
from ..events.samples import EventSamples
from ..events.summary import SummaryFeatures
from ..events.vocabulary import Vocabulary
from .data.base import EventDataModule
from .model.model import EventModel, EventOutput
from .model.summary_branch import summary_columns
from .model.tokens import EncodedEvents, TokenBatch, Tokenizer
from .model.values import NormalScores
from .recalibrated import RecalibratedTask


class Encoded(NamedTuple):
    """A set of samples as the model takes them: tokens, and summary columns (N, 3, F) or None."""

    tokens: EncodedEvents
    summary: Tensor | None


class EncodingTask(RecalibratedTask, ABC):
    """What `EventClassificationTask` does about its inputs; its constructor and `build` set what stands here."""

    model: EventModel
    tokenizer: Tokenizer
    scores: NormalScores
    summary_scores: NormalScores | None
    vocabulary: Vocabulary | None = None
    features: SummaryFeatures | None = None
    _encoded: tuple[EventSamples, Encoded] | None = None

    def forget_encoded(self) -> None:
        """Encode a data module's samples anew when they are next asked for."""
        self._encoded = None

    def samples_of(self, batches: Sequence[EventBatch]) -> EventSamples:
        """The samples of batches in the model's vocabulary.

        Raises:
            TypeError: Something is no batch of the task's.
        """
        assert self.outcome is not None and self.vocabulary is not None
        for batch in batches:
            self.check_batch(batch)
        names = () if self.outcome.kind == "time_to_event" else self.outcome.names
        vocabulary = self.vocabulary
        return unpad(batches, vocabulary.codes, vocabulary.static_names, kind=self.outcome.kind, target_names=names)

    def encode(self, samples: EventSamples) -> Encoded:
        """Samples in the model's vocabulary, as the model takes them.

        Raises:
            ValueError: Their codes or static columns are not the model's, in its order.
        """
        assert self.vocabulary is not None
        _check_names("codes", self.vocabulary.codes, samples.codes)
        _check_names("static_names", self.vocabulary.static_names, samples.static_names)
        tokens = self.tokenizer.encode(samples, self.scores)
        if self.features is None or self.summary_scores is None:
            return Encoded(tokens, None)
        table = self.features(samples)
        if not self.tokenizer.values:  # counts alone: of the summary only what holds no value
            table = np.where([name.endswith((":count", ":since_last")) for name in self.features.names], table, np.nan)
        return Encoded(tokens, summary_columns(self.summary_scores, table))

    def forward(self, encoded: Encoded, index: Tensor) -> EventOutput:
        """Logits of the samples at these places."""
        tokens = self.tokens_of(encoded, index)
        return self.model(tokens, None if encoded.summary is None else encoded.summary[index.cpu()].to(self.device))

    def tokens_of(self, encoded: Encoded, index: Tensor) -> TokenBatch:
        """Tokens of the samples at these places, on the model's device."""
        tokens = encoded.tokens.batch(index.cpu())
        return TokenBatch(*(column.to(self.device) for column in tokens))

    def encoded(self, batch: EventBatch) -> tuple[Encoded, Tensor]:
        """Where a batch's samples are encoded, and at which places.

        Those of our data modules are encoded as a whole when they are first asked for, with the weights that are loaded
        then; a batch from elsewhere is encoded alone.
        """
        data = self.data_module
        if not isinstance(data, EventDataModule):
            return self.encode(self.samples_of([batch])), torch.arange(len(batch.index))
        assert data.whole is not None
        if self._encoded is None or self._encoded[0] is not data.whole:
            self._encoded = (data.whole, self.encode(data.whole))
        return self._encoded[1], batch.index.cpu()

    @torch.no_grad()
    def logits_of(self, samples: EventSamples, batch_size: int = 512) -> EventOutput:
        """Logits of any samples in the model's vocabulary, in evaluation mode, see `encode`."""
        encoded = self.encode(samples)
        with evaluating(self):
            outs = [self(encoded, index) for index in torch.arange(len(samples)).split(batch_size)]
        columns = zip(*outs, strict=True)
        joined = [None if column[0] is None else torch.cat(column).cpu() for column in columns]
        assert joined[0] is not None
        return EventOutput(joined[0], *joined[1:])


def _check_names(argument: str, known: Sequence[str], found: Sequence[str]) -> None:
    """Compare names and their order, which say what the columns are."""
    if tuple(known) == tuple(found):
        return
    for k, (ours, theirs) in enumerate(zip(known, found, strict=False)):
        if ours != theirs:
            raise ValueError(f"{argument}: expected {ours!r} at place {k}, as the model learned, got {theirs!r}")
    raise ValueError(f"{argument}: expected {len(known)}, as the model learned, got {len(found)}")
