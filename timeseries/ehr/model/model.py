r"""The outcome model: tokens of events, attention that decays with time, a query at the prediction time.

.. math:: e = \text{Encoder}(x_1, \dots, x_T, q)_q, \quad g = \sigma(W [e; u] + c), \quad z = v \cdot (g e + (1 - g) u)

x_t are the tokens, q the query with the statics in it, u is what `SummaryBranch` answers. A token sees what is not
after it (`masks.NotAfter`); the weights fall with the time between (`core.TimeDecayBias`).
"""

import math
from collections.abc import Collection, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

import core
from core import AttentionOutput, EncoderOutput, masks

from .gru import GRUEncoder, width_for
from .summary_branch import SummaryBranch
from .tokens import TokenBatch
from .values import EMBEDDINGS

Backbone = Literal["attention", "gru"]
Fusion = Literal["gate", "concat"]
Pooling = Literal["query", "mean", "attention"]


class EventOutput(NamedTuple):
    """Logits of the whole model and of its two branches.

    Shapes:
        logits, events, summary: (B, K); the branches are None where there is one branch only
        gates: (B, dim), the share of the events' branch in each feature, or None
        auxiliary: (B, R, A), further outcomes by each of the R that are not None of the first three; None for none
    """

    logits: Tensor
    events: Tensor | None = None
    summary: Tensor | None = None
    gates: Tensor | None = None
    auxiliary: Tensor | None = None


class EventModel(nn.Module):
    """Predict K logits from the events of a sample and, if there are any, its summary features.

    Args:
        codes: Codes and statics together, the rows of the embedding.
        outputs: K.
        summaries: Summary features; 0 for events alone.
        scales: Widths of bins that tokens are of, see `Tokenizer`.
        auxiliaries: A, further outcomes that are learned beside (`auxiliary`).
        dim: Features of a token.
        depth: Blocks.
        heads: Of attention.
        mlp_ratio: Hidden units of a block's MLP per feature.
        dropout: On tokens, branches and heads.
        attention_dropout: On attention weights.
        code_dropout: Probability that an entry (a code in a token) is left out, in training.
        embedding: Of values, "piecewise" or "fourier".
        half_lives: Shortest and longest initial half-life in hours, spread over the heads; None for no decay. They are
            also the scales of the time features.
        kernel: Of the decay, "exponential" or "logarithmic".
        learn_half_lives: Train them.
        time_scales: Shortest and longest scale of the time features in hours.
        backbone: "attention", or "gru" of about as many parameters.
        pooling: "query", or the query beside the "mean" or an "attention" pooling over the events.
        fusion: Of events and summary: "gate" (`core.GatedFusion`) or "concat".
        summary_hidden: Hidden units of the summary's MLP.
        summary_dropout: On summary features and hidden units.

    Raises:
        ValueError: An option is unknown.
    """

    def __init__(
        self,
        codes: int,
        outputs: int,
        summaries: int = 0,
        scales: int = 1,
        auxiliaries: int = 0,
        *,
        dim: int = 64,
        depth: int = 2,
        heads: int = 4,
        mlp_ratio: float = 2.0,
        dropout: float = 0.3,
        attention_dropout: float = 0.0,
        code_dropout: float = 0.0,
        embedding: str = "piecewise",
        half_lives: Sequence[float] | None = (1.0, 48.0),
        kernel: Literal["exponential", "logarithmic"] = "exponential",
        learn_half_lives: bool = True,
        time_scales: Sequence[float] = (1.0, 48.0),
        backbone: Backbone = "attention",
        pooling: Pooling = "query",
        fusion: Fusion = "gate",
        summary_hidden: int = 64,
        summary_dropout: float = 0.3,
    ) -> None:
        super().__init__()
        self.fading: Tensor
        _one_of("embedding", embedding, EMBEDDINGS)
        _one_of("backbone", backbone, ("attention", "gru"))
        _one_of("pooling", pooling, ("query", "mean", "attention"))
        _one_of("fusion", fusion, ("gate", "concat"))
        self.backbone, self.heads, self.dim, self.summaries = backbone, heads, dim, summaries
        self.embed = EMBEDDINGS[embedding](codes, dim)
        self.token_norm = nn.LayerNorm(dim)
        self.scale = nn.Embedding(scales + 1, dim)  # of tokens by their width, and of the query
        nn.init.normal_(self.scale.weight, std=0.02)
        self.register_buffer("fading", torch.tensor(_spread("time_scales", time_scales, 8)))
        self.time = nn.Linear(8, dim)
        self.code_dropout, self.dropout = code_dropout, nn.Dropout(dropout)
        attention = core.Encoder(
            dim, depth, heads, mlp_ratio=mlp_ratio, dropout=dropout, attention_dropout=attention_dropout
        )
        self.decay: nn.ModuleList | None = None
        if backbone == "gru":
            parameters = sum(parameter.numel() for parameter in attention.parameters())
            self.encoder: nn.Module = GRUEncoder(dim, depth, width_for(parameters, dim, depth), dropout)
        else:
            self.encoder = attention
            if half_lives is not None:
                spread = _spread("half_lives", half_lives, heads)
                self.decay = nn.ModuleList(
                    core.TimeDecayBias(heads, spread, learn_half_lives, kernel) for _ in range(depth)
                )
        self.pool: nn.Module | None = None
        if pooling != "query":
            self.pool = core.MeanPooling() if pooling == "mean" else core.AttentionPooling(dim, heads)
        self.state = nn.Linear(2 * dim, dim) if self.pool is not None else nn.Identity()
        self.outputs, columns = outputs, outputs + auxiliaries
        self.event_head = nn.Linear(dim, columns)
        if summaries:
            self.summarise = SummaryBranch(summaries, dim, summary_hidden, summary_dropout)
            self.event_projection = nn.Linear(dim, dim)
            self.summary_head = nn.Linear(dim, columns)
            self.fuse = core.GatedFusion(dim) if fusion == "gate" else nn.Linear(2 * dim, dim)
            self.head = nn.Linear(dim, columns)

    @property
    def half_lives(self) -> Tensor | None:
        """In hours, (depth, heads); None without decay."""
        if self.decay is None:
            return None
        each: list[Any] = [bias.half_lives for bias in self.decay]
        return torch.stack(each).detach()

    def embed_tokens(self, batch: TokenBatch) -> Tensor:
        """Tokens and the query before the encoder, (B, L, dim); 0 where padded."""
        count = batch.count
        if self.training and self.code_dropout > 0:
            count = count * (torch.rand_like(count) >= self.code_dropout)
        token = self.embed(batch.code, batch.score, batch.has_value, count, batch.starts)
        token = self.token_norm(token) + self.scale(batch.scale)
        x = token.new_zeros(batch.keep.numel(), self.dim).index_copy(0, batch.slot, token)
        faded = torch.exp2(batch.time[..., None] / self.fading)  # 1 at the prediction time, 1/2 a time scale before it
        return (x.unflatten(0, batch.keep.shape) + self.time(faded)).masked_fill(~batch.keep[..., None], 0)

    def encode(
        self, x: Tensor, time: Tensor, keep: Tensor, need: Collection[str] = ()
    ) -> tuple[Tensor, tuple[AttentionOutput, ...]]:
        """States of all tokens, and what `need` asks of the attention of each block.

        Shapes:
            x: (B, L, dim); time: (B, L) hours; keep: (B, L); out: (B, L, dim), row t knowing nothing after t.
        """
        if self.backbone == "gru":
            if need:
                raise ValueError(f"need: expected nothing, as a GRU has no attention, got {sorted(need)}")
            return self.encoder(self.dropout(x), keep), ()
        bias = None if self.decay is None else [decay(time) for decay in self.decay]
        mask = masks.NotAfter(time) & masks.Padding(keep, queries=keep)
        answer = self.encoder(self.dropout(x), mask=mask, bias=bias, need=need)
        return (answer.out, answer.layers) if isinstance(answer, EncoderOutput) else (answer, ())  # type: ignore[return-value]  # self-attention alone

    def event_state(self, states: Tensor, keep: Tensor) -> Tensor:
        """The state of the query, with the pooled tokens where there is a pooling: (B, dim)."""
        if self.pool is None:
            return states[:, -1]
        return self.state(torch.cat([states[:, -1], self.pool(states, mask=masks.Padding(keep))], 1))

    def read(self, states: Tensor, keep: Tensor, summary: Tensor | None = None) -> EventOutput:
        """Logits from the states of the tokens.

        Args:
            states: Answer of `encode`.
            keep: Where there is a token.
            summary: The summary features, see `summary_columns`.

        Shapes:
            states: (B, L, dim); keep: (B, L); summary: (B, 3, summaries).
        """
        event = self.event_state(states, keep)
        events = self.event_head(self.dropout(event))
        if not self.summaries:
            return self._parted(events)
        if summary is None:
            raise ValueError(f"summary: expected (B, 3, {self.summaries}), got None")
        other, event = self.summarise(summary), self.event_projection(event)
        gates = None
        if isinstance(self.fuse, core.GatedFusion):
            fused = self.fuse(event, other, need=("gates",))
            mixed, gates = fused.out, fused.gates[:, 0]
        else:
            mixed = self.fuse(torch.cat([event, other], 1))
        return self._parted(self.head(self.dropout(mixed)), events, self.summary_head(self.dropout(other)), gates=gates)

    def _parted(self, *heads: Tensor, gates: Tensor | None = None) -> EventOutput:
        """The target's logits of every head, and those of the further outcomes."""
        logits, *branches = (head[:, : self.outputs] for head in heads)
        events, summary = branches or (None, None)
        further = torch.stack([head[:, self.outputs :] for head in heads], dim=1)
        return EventOutput(logits, events, summary, gates, further if further.shape[2] else None)

    def forward(self, batch: TokenBatch, summary: Tensor | None = None) -> EventOutput:
        """Logits of a batch."""
        states, _ = self.encode(self.embed_tokens(batch), batch.time, batch.keep)
        return self.read(states, batch.keep, summary)


def _one_of(name: str, value: str, known: Collection[str]) -> None:
    if value not in known:
        raise ValueError(f"{name}: expected one of {', '.join(known)}, got {value!r}")


def _spread(name: str, values: Sequence[float], n: int) -> list[float]:
    """Spread n numbers from the first to the second value, evenly on a log scale (one: their geometric mean)."""
    if len(values) != 2 or not 0 < values[0] <= values[1] < math.inf:
        raise ValueError(f"{name}: expected two positive numbers in ascending order, got {list(values)}")
    low, high = math.log(values[0]), math.log(values[1])
    return [math.exp(low + (high - low) * (k / (n - 1) if n > 1 else 0.5)) for k in range(n)]
