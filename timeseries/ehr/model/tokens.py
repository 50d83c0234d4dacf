"""From events to tokens: (code, value, time) triplets, averaged per code within what makes a token, missingness kept.

A token is a set of entries (code, normal score, count) at one time. Statics are the entries of the last token, the
query at the prediction time; a code or a static that was not measured has no entry. Times are hours relative to the
prediction time, so never positive.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor

from ...events.samples import EventSamples
from .values import NormalScores

Unit = Literal["bin", "code_bin", "timestamp", "event"]


class TokenBatch(NamedTuple):
    """Tokens of B samples, padded to a common length; the query stands last.

    Shapes:
        time: (B, L) hours relative to the prediction time, 0 where padded and at the query
        keep: (B, L), True where there is a token; the query's column is True throughout
        slot: (T,) of each of the T tokens its place in the padded batch, b L + l
        scale: (T,) which width of bins it is of, 0, 1, ...; one more for the query
        starts: (T,) where its entries begin
        code, score, has_value, count: (E,) entries; code of static s is (number of codes) + s
        event_time, event_code, event_score, event_has_value: (M,) the single events, for `pretrain`
        event_item: (M,) the sample that each event is of
    """

    time: Tensor
    keep: Tensor
    slot: Tensor
    scale: Tensor
    starts: Tensor
    code: Tensor
    score: Tensor
    has_value: Tensor
    count: Tensor  # type: ignore[assignment]  # tuple has a method of this name
    event_time: Tensor
    event_code: Tensor
    event_score: Tensor
    event_has_value: Tensor
    event_item: Tensor


class Ragged(NamedTuple):
    """Rows of several lengths: row n of every column is offsets[n] : offsets[n + 1]."""

    offsets: np.ndarray
    columns: tuple[np.ndarray, ...]

    def rows(self, index: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
        """The lengths of some rows, and their columns one row after the other."""
        lengths = np.diff(self.offsets)[index]
        starts = np.cumsum(lengths) - lengths
        places = np.arange(lengths.sum()) + np.repeat(self.offsets[index] - starts, lengths)
        return lengths, [column[places] for column in self.columns]


@dataclass(frozen=True, eq=False)
class EncodedEvents:
    """Tokens of a set of samples, made once and gathered batch by batch.

    Args:
        tokens: Per sample: the time of each token (the query's last), its scale and the number of its entries.
        entries: Per sample: code, score, has_value, count of the entries of its tokens, in their order.
        events: Per sample: time, code, score, has_value of the single events.
    """

    tokens: Ragged
    entries: Ragged
    events: Ragged

    def __len__(self) -> int:
        return len(self.tokens.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each sample, the query among them, (N,)."""
        return np.diff(self.tokens.offsets)

    def batch(self, index: np.ndarray | Tensor) -> TokenBatch:
        """The tokens of some samples, padded.

        Args:
            index: Which samples, in any order.

        Shapes:
            index: (B,)
        """
        index = np.asarray(index, dtype=np.int64)
        lengths, (time, scale, sizes) = self.tokens.rows(index)
        _, (code, score, has_value, count) = self.entries.rows(index)
        events, (event_time, event_code, event_score, event_has_value) = self.events.rows(index)
        B, L = len(index), int(lengths.max(initial=1))
        column = np.arange(len(time)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        last = column == np.repeat(lengths, lengths) - 1
        slot = np.repeat(np.arange(B) * L, lengths) + np.where(last, L - 1, column)
        padded, keep = np.zeros(B * L, dtype=np.float32), np.zeros(B * L, dtype=bool)
        padded[slot], keep[slot] = time, True
        arrays = (
            padded.reshape(B, L), keep.reshape(B, L), slot, scale, np.cumsum(sizes) - sizes, code, score, has_value,
            count,
            event_time, event_code, event_score, event_has_value, np.repeat(np.arange(B), events),
        )  # fmt: skip
        return TokenBatch(*map(torch.from_numpy, arrays))


class Tokenizer:
    """Makes tokens of samples.

    Args:
        unit: What makes a token:
            "bin": all events of `hours` hours, averaged per code (one token a bin);
            "code_bin": the events of one code within `hours` hours, averaged (one token per code and bin);
            "timestamp": all events of one time, averaged per code;
            "event": one event.
        hours: Width of a bin, or several widths: tokens of each. Bins end at the prediction time and before it in
            steps of their width; a bin holds its end, and its token stands at its end, so that no token knows what
            comes after its time.
        values: False drops the values: which codes were measured when, and how often, is all that is left.
        shuffle: A seed: deal the times of each sample's events out anew among them, an ablation. None leaves them.

    Raises:
        ValueError: An unknown unit, or hours that are not positive.
    """

    def __init__(
        self,
        unit: Unit = "bin",
        hours: float | Sequence[float] = 4.0,
        *,
        values: bool = True,
        shuffle: int | None = None,
    ) -> None:
        if unit not in get_args(Unit):
            raise ValueError(f"unit: expected one of {', '.join(get_args(Unit))}, got {unit!r}")
        widths = (hours,) if isinstance(hours, (int, float)) else tuple(hours)
        if not widths or not all(width > 0 for width in widths):
            raise ValueError(f"hours: expected a positive width, or several, got {hours}")
        self.unit, self.values, self.shuffle = unit, values, shuffle
        self.widths = widths if unit in ("bin", "code_bin") else widths[:1]

    def fit(self, samples: EventSamples, scores: NormalScores | None = None) -> NormalScores:
        """Quantiles of every code and static in the training samples (and in no others)."""
        statics = len(samples.static_names)
        scores = scores or NormalScores(len(samples.codes) + statics)
        feature = np.tile(len(samples.codes) + np.arange(statics), len(samples))
        values = np.concatenate([samples.value, samples.static.ravel()])
        return scores.fit(values, np.concatenate([samples.code, feature]))

    def encode(self, samples: EventSamples, scores: NormalScores) -> EncodedEvents:
        """Tokens of every sample.

        Args:
            samples: Any samples with the codes and statics of `scores`.
            scores: Fitted on training data.

        Raises:
            ValueError: Another number of codes and statics.
        """
        features = len(samples.codes) + len(samples.static_names)
        if scores.features != features:
            raise ValueError(
                f"samples: expected {scores.features} codes and statics, as in training, got {len(samples.codes)} + "
                f"{len(samples.static_names)}"
            )
        owner = samples.owners()
        time = (samples.time - samples.prediction_time[owner]).astype(np.float64)
        if self.shuffle is not None:
            time = _shuffled(time, owner, self.shuffle)
        score = scores.score(samples.value, samples.code)
        has_value = ~np.isnan(samples.value)
        if not self.values:
            score, has_value = np.zeros_like(score), np.zeros_like(has_value)
        if self.shuffle is not None:
            order = np.lexsort((time, owner))
            columns = (time[order], samples.code[order], score[order], has_value[order])
        else:
            columns = (time, samples.code, score, has_value)
        events = Ragged(samples.offsets, (columns[0].astype(np.float32), columns[1].astype(np.int64), *columns[2:]))
        parts = [self._tokens(scale, owner, *columns) for scale in range(len(self.widths))]
        row, feature, static = _static_entries(samples, scores)
        n, ones = len(samples), np.ones(len(row))
        query = _Tokens(np.arange(n), np.zeros(n), np.full(n, len(self.widths)))
        parts.append((query, _Entries(row, feature, static, ones > 0, ones)))
        return EncodedEvents(*_joined(parts, n), events)

    def _tokens(
        self,
        scale: int,
        owner: np.ndarray,
        time: np.ndarray,
        code: np.ndarray,
        score: np.ndarray,
        has_value: np.ndarray,
    ) -> tuple["_Tokens", "_Entries"]:
        """Group events into entries and entries into tokens."""
        width = self.widths[scale]
        end = time if self.unit in ("timestamp", "event") else -np.floor(-time / width) * width
        end = end + 0.0  # no negative zero
        single = np.arange(len(time)) if self.unit == "event" else np.zeros(len(time), dtype=np.int64)
        within = code if self.unit == "code_bin" else single
        order = np.lexsort((code, within, end, owner))
        owner, end, within, code = owner[order], end[order], within[order], code[order]
        score, has_value = np.where(has_value, score, 0.0)[order], has_value[order]
        new_token = _changes(owner, end, within)
        new_entry = new_token | _changes(code)
        token, entry = np.cumsum(new_token) - 1, np.cumsum(new_entry) - 1
        E = int(new_entry.sum())
        count = np.bincount(entry, minlength=E)
        valued = np.bincount(entry, weights=has_value, minlength=E)
        mean = np.bincount(entry, weights=score, minlength=E) / np.maximum(valued, 1)
        tokens = _Tokens(owner[new_token], end[new_token], np.full(new_token.sum(), scale))
        return tokens, _Entries(token[new_entry], code[new_entry], mean, valued > 0, count)


class _Tokens(NamedTuple):
    owner: np.ndarray
    time: np.ndarray
    scale: np.ndarray


class _Entries(NamedTuple):
    token: np.ndarray
    code: np.ndarray
    score: np.ndarray
    has_value: np.ndarray
    count: np.ndarray  # type: ignore[assignment]  # tuple has a method of this name


def _static_entries(samples: EventSamples, scores: NormalScores) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sample, code and score of every static that is known."""
    row, column = np.nonzero(~np.isnan(samples.static))
    feature = len(samples.codes) + column
    return row, feature, scores.score(samples.static[row, column], feature)


def _joined(parts: Sequence[tuple[_Tokens, _Entries]], n: int) -> tuple[Ragged, Ragged]:
    """The tokens of all parts in the order of their times, those of the last part (the query) last in each sample."""
    tokens = _Tokens(*map(np.concatenate, zip(*(part for part, _ in parts), strict=True)))
    firsts = np.cumsum([0] + [len(part.owner) for part, _ in parts])
    shifted = [e._replace(token=e.token + first) for (_, e), first in zip(parts, firsts, strict=False)]
    entries = _Entries(*map(np.concatenate, zip(*shifted, strict=True)))
    order = np.lexsort((tokens.scale, tokens.time, tokens.owner))
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    of_token = place[entries.token]
    by_token = np.argsort(of_token, kind="stable")
    sizes = np.bincount(of_token, minlength=len(order)).astype(np.int64)
    token_rows = _offsets(np.bincount(tokens.owner, minlength=n))
    entry_rows = _offsets(np.bincount(tokens.owner[entries.token], minlength=n))
    columns = (
        entries.code.astype(np.int64),
        entries.score.astype(np.float32),
        entries.has_value,
        entries.count.astype(np.float32),
    )
    return (
        Ragged(token_rows, (tokens.time[order].astype(np.float32), tokens.scale[order].astype(np.int64), sizes)),
        Ragged(entry_rows, tuple(column[by_token] for column in columns)),
    )


def _offsets(lengths: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def _changes(*columns: np.ndarray) -> np.ndarray:
    """True where a row differs from the one before it, and at the first."""
    new = np.ones(len(columns[0]), dtype=bool)
    new[1:] = np.any([column[1:] != column[:-1] for column in columns], axis=0)
    return new


def _shuffled(time: np.ndarray, owner: np.ndarray, seed: int) -> np.ndarray:
    """The times of each sample's events, dealt out anew among them."""
    mixed = np.lexsort((np.random.default_rng(seed).random(len(time)), owner))
    return time[mixed]
