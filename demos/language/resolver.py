"""The model of demos/core_coreference.py: a text in, attention from the pronoun to two names and to "neither" out."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

import core
from core import biases, masks

from .gap import Item, sentence_numbers
from .words import TextEncoder, Vocabulary, pad

DIM, DEPTH, HEADS, POINTERS, DROPOUT = 64, 1, 4, 4, 0.3
REACH = 64  # words; the pointer's bias is the same for all names further away than this
KINDS = (3, 6, 5, 7)  # values of role, shape, count and sentence, see `marks`


class Batch(NamedTuple):
    """Texts as tensors: ids (B, L); marks 4 x (B, L); names (B, 2, L) bool; pronoun, answer (B,)."""

    ids: Tensor
    marks: tuple[Tensor, ...]
    names: Tensor
    pronoun: Tensor
    answer: Tensor


def marks(item: Item) -> list[list[int]]:
    """What is plain to see of each word besides the word.

    Its role (pronoun, name), its shape (capital in a sentence or at its start, digits, marks), how often a capitalised
    word occurs (up to 4), and how many sentences it stands from the pronoun's (-3 to 3).
    """
    words = item.words
    role = [0] * len(words)
    role[item.pronoun] = 1
    for i in (*item.names[0], *item.names[1]):
        role[i] = 2
    counts = Counter(word.lower() for word in words)
    count = [min(counts[word.lower()], 4) if word[0].isupper() else 0 for word in words]
    number = sentence_numbers(words)
    sentence = [min(max(place - number[item.pronoun], -3), 3) + 3 for place in number]
    return [role, [_shape(words, i) for i in range(len(words))], count, sentence]


def _shape(words: list[str], i: int) -> int:
    first = words[i][0]
    if not first.isalnum():
        return 1 if first in ".!?" else 2
    if first.isdigit():
        return 3
    if first.isupper():
        return 5 if i and words[i - 1] not in (".", "!", "?") else 4
    return 0


def encode(items: Sequence[Item], vocabulary: Vocabulary) -> Batch:
    """One batch."""
    ids = pad([vocabulary.ids(item.words) for item in items])
    names = torch.zeros(len(items), 2, ids.shape[1], dtype=torch.bool)
    for row, item in enumerate(items):
        for which in (0, 1):
            names[row, which, item.names[which]] = True
    columns = zip(*(marks(item) for item in items), strict=True)
    pronoun = torch.tensor([item.pronoun for item in items])
    return Batch(ids, tuple(pad(c) for c in columns), names, pronoun, torch.tensor([item.answer for item in items]))


class Resolver(nn.Module):
    """Encoder, then attention from the pronoun to "neither" and the names, with a bias by distance in words.

    The answers' probabilities are the weights, summed over each name's words and averaged over the pointer's heads.
    """

    def __init__(self, words: int) -> None:
        super().__init__()
        self.text = TextEncoder(words, DIM, DEPTH, HEADS, reach=24, dropout=DROPOUT)
        self.marks = nn.ModuleList(nn.Embedding(kinds, DIM) for kinds in KINDS)
        self.neither = nn.Parameter(0.1 * torch.randn(DIM))
        self.pointer = core.MultiheadAttention(DIM, POINTERS)
        self.by_distance = nn.Parameter(torch.zeros(POINTERS, 2 * REACH + 1))

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Probabilities of neither, A, B: (B, 3); weights of every head from the pronoun on A and B: (B, heads, 2)."""
        extra = sum(embedding(mark) for embedding, mark in zip(self.marks, batch.marks, strict=True))
        encoded = self.text(batch.ids, extra, need=() if self.training else ("weights",))
        out = encoded if self.training else encoded.out
        rows, length = torch.arange(len(out)), out.shape[1]
        keys = torch.cat([self.neither.expand(len(out), 1, -1), out], dim=1)
        offset = (torch.arange(length) - batch.pronoun[:, None]).clamp(-REACH, REACH) + REACH
        bias = nn.functional.pad(self.by_distance[:, offset].transpose(0, 1), (1, 0))[:, :, None]
        allowed = nn.functional.pad(batch.names.any(1), (1, 0), value=True)[:, None, None]
        weights = self.pointer(
            out[rows, batch.pronoun][:, None],
            keys,
            mask=masks.Dense(allowed),
            bias=biases.Dense(bias),
            need=("weights",),
        ).weights[:, :, 0]
        named = weights[:, :, 1:] @ batch.names.transpose(1, 2).to(weights)
        answer = torch.cat([weights[:, :, :1], named], dim=2).mean(1)
        if self.training:
            return answer, named
        own = torch.cat([layer.weights for layer in encoded.layers], dim=1)[rows, :, batch.pronoun]
        return answer, torch.cat([own @ batch.names.transpose(1, 2).to(own), named], dim=1)


def batches_of(items: Sequence[Item], vocabulary: Vocabulary, size: int = 32) -> list[Batch]:
    """Batches of texts in the given order."""
    return [encode(items[i : i + size], vocabulary) for i in range(0, len(items), size)]
